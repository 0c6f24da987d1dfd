"""Looks at everything that the settings name before anything starts, and says what to mend."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
import structlog

import indexer.errors
from bridge.bank.errors import BankAccessRefused, BankError
from bridge.bank.rest import RestBank
from bridge.calldata import DECIMALS
from bridge.custody.keystore import KeystoreCustody, KeystoreError
from daemon import migrations
from daemon.errors import StartError
from daemon.settings import Settings
from daemon.wiring import bank_settings, contract_of, rpc_of
from indexer import tables
from indexer.database import AWAY
from indexer.errors import DatabaseUnavailable, IndexerError, RpcError, RpcUnavailable
from indexer.rpc import Rpc

log = structlog.get_logger()

T = TypeVar("T")

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``fault`` is None where all is well."""

    name: str
    detail: str
    fault: str | None = None


async def wait_for(stop: asyncio.Event, attempt: Callable[[], Awaitable[T]]) -> T | None:
    """Repeat an attempt for as long as waiting can help; None if the stop comes first."""
    wait_s = FIRST_WAIT_S
    while not stop.is_set():
        try:
            return await attempt()
        except StartError as error:
            if not error.retryable:
                raise
            log.warning("waiting", why=str(error), again_in_s=wait_s)
        try:
            await asyncio.wait_for(stop.wait(), wait_s)
        except TimeoutError:
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
    return None


@contextmanager
def speaking_of_database(settings: Settings) -> Iterator[None]:
    """Every failure to reach Postgres as a :class:`StartError` that names the setting and the remedy."""
    url = settings.database.url.get_secret_value()
    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        raise StartError(
            "database.url: Postgres refuses this user or password; mend the URL"
        ) from None
    except asyncpg.InvalidCatalogNameError:
        raise StartError(
            "database.url: there is no such database; create it, then run `landbridge migrate`"
        ) from None
    except asyncpg.InsufficientPrivilegeError:
        raise StartError(
            "database.url: this role may not read the schema; use the role landbridge_daemon"
        ) from None
    except migrations.MigrationError as error:
        raise StartError(f"database.url: {error}") from None
    except ValueError:
        raise StartError(
            "database.url: not a Postgres URL; write postgresql://user:password@host:port/database"
        ) from None
    except indexer.errors.Fatal as error:
        raise StartError(f"database.url: {error}") from None
    except (*AWAY, DatabaseUnavailable) as error:
        raise StartError(
            f"database.url: Postgres at {_host(url)} does not answer "
            f"({type(error).__name__}); start it, or mend the URL",
            retryable=True,
        ) from None


async def check_database(settings: Settings) -> str:
    """Whether the database answers and its schema is what this program needs; raises :class:`StartError`."""
    with speaking_of_database(settings):
        connection = await asyncpg.connect(settings.database.url.get_secret_value(), timeout=10)
        try:
            await migrations.check(connection, migrations.load())
            contract = contract_of(settings)
            await tables.check(connection, contract.name, contract.events)
            name: str = await connection.fetchval("SELECT current_database()")
        finally:
            await connection.close(timeout=10)
    return f"database {name} is at this program's schema"


async def check_chain(rpc: Rpc, settings: Settings) -> str:
    """Whether the node answers for the right chain and has the token; raises :class:`StartError`."""
    try:
        await rpc.require_chain(settings.chain.id)
        await rpc.require_code(settings.token.contract, settings.token.address, settings.chain.id)
        decimals = int(await rpc.call("eth_call", [_decimals_call(settings), "latest"]), 16)
    except RpcUnavailable as error:
        raise StartError(
            f"chain.rpc_url: the node does not answer ({error}); start it, or mend the URL",
            retryable=True,
        ) from None
    except indexer.errors.Fatal as error:
        raise StartError(str(error)) from None
    except (RpcError, ValueError, TypeError):
        raise StartError(
            "token.address: the contract there has no decimals(); give the address of a DepositToken"
        ) from None
    except IndexerError as error:
        raise StartError(f"chain.rpc_url: {error}", retryable=True) from None
    if decimals != settings.token.decimals:
        raise StartError(
            f"token.decimals: the contract has {decimals}, the settings say {settings.token.decimals}; "
            "they and the currency's exponent must be equal"
        )
    return f"chain {settings.chain.id} answers, and the token is there"


async def check_bank(bank: RestBank) -> str:
    """Whether the bank answers and knows us; raises :class:`StartError`."""
    try:
        balance = await bank.balance()
    except BankAccessRefused:
        raise StartError(
            "bank.api_key: the bank refuses it; give the key of this account"
        ) from None
    except BankError as error:
        raise StartError(
            f"bank.base_url: the bank does not answer ({error}); the daemon would start and wait for it",
            retryable=True,
        ) from None
    return f"the bank answers; balance {balance.amount_minor} minor units at entry {balance.last_sequence}"


async def check_custody(settings: Settings) -> str:
    """Whether the keystore opens; raises :class:`StartError`."""
    try:
        custody = await KeystoreCustody.open(settings.custody.keystore, settings.custody.password)
    except KeystoreError as error:
        raise StartError(str(error)) from None
    return f"the keystore opens; its key is 0x{(await custody.identity()).hex()}"


async def check_all(settings: Settings) -> list[Finding]:
    """Every check, each on its own, so that all faults are told at once."""
    async with rpc_of(settings) as rpc, RestBank(bank_settings(settings)) as bank:
        checks: list[tuple[str, Awaitable[str]]] = [
            ("database", check_database(settings)),
            ("chain", check_chain(rpc, settings)),
            ("bank", check_bank(bank)),
            ("custody", check_custody(settings)),
        ]
        return [await _find(name, check) for name, check in checks]


async def _find(name: str, check: Awaitable[str]) -> Finding:
    try:
        return Finding(name, await check)
    except StartError as error:
        return Finding(name, "", str(error))


def _decimals_call(settings: Settings) -> dict[str, str]:
    return {"to": "0x" + settings.token.address.hex(), "data": "0x" + DECIMALS.hex()}


def _host(url: str) -> str:
    """Host and port only: the rest of a URL may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"
