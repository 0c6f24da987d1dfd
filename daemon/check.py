"""Looks at everything that the settings name before anything starts, and says what to mend."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg
from redis.exceptions import RedisError

import indexer.errors
from bridge import rotation
from bridge.bank.errors import BankAccessRefused, BankError
from bridge.bank.rest import RestBank
from bridge.calldata import DECIMALS
from bridge.custody.log import CustodyLog
from bridge.rotation import SignerStanding
from daemon.bridge_wiring import bank_settings
from daemon.database_check import check_database, speaking_of_database
from daemon.errors import StartError, of_chain
from daemon.probe import Report, probe
from daemon.setting_types import checksummed
from daemon.settings import Bridge, Settings
from daemon.signer_sections import Signer
from daemon.signers import open_signer
from daemon.wiring import FollowedChain, chains_of
from indexer.contract import Contract, strictest
from indexer.errors import (
    IndexerError,
    NoContractCode,
    NoProvider,
    RpcError,
    RpcUnavailable,
)
from indexer.stream.redis_stream import client_of

WRONG_CHAIN_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``fault`` is None where all is well. ``facts`` are for programs."""

    name: str
    detail: str
    fault: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


async def refuse_wrong_chains(chains: Sequence[FollowedChain]) -> None:
    """Raise :class:`StartError` if a node is of another chain than the settings say.

    A node that is away, or slow to answer, is none of it: its loops will find out.
    """

    async def look(chain: FollowedChain) -> None:
        with suppress(indexer.errors.Retryable, TimeoutError):
            async with asyncio.timeout(WRONG_CHAIN_TIMEOUT_S):
                await chain.providers.require_chain(chain.settings.id)

    for chain, found in zip(
        chains, await asyncio.gather(*map(look, chains), return_exceptions=True), strict=True
    ):
        if isinstance(found, indexer.errors.Fatal):
            raise StartError(f"chains.{chain.name}: {of_chain(found, chain.name)}") from None
        if isinstance(found, BaseException):
            raise found


async def check_token(chain: FollowedChain, bridge: Bridge) -> str:
    """Whether the bridge's chain answers and has the token; raises :class:`StartError`."""
    key = f"chains.{chain.name}.rpc_urls"
    try:
        await chain.providers.require_chain(chain.settings.id)
        rpc = chain.providers.best().rpc
        await rpc.require_code(bridge.token.contract, bridge.token.address, chain.settings.id)
        decimals = int(await rpc.call("eth_call", [_decimals_call(bridge), "latest"]), 16)
    except (RpcUnavailable, NoProvider) as error:
        raise StartError(
            f"{key}: the node does not answer ({of_chain(error, chain.name)}); start it, or mend the URL",
            retryable=True,
        ) from None
    except NoContractCode:
        raise StartError(f"token.address: {_no_contract(bridge.token.address, chain)}") from None
    except indexer.errors.Fatal as error:
        raise StartError(f"chains.{chain.name}: {of_chain(error, chain.name)}") from None
    except (RpcError, ValueError, TypeError):
        raise StartError(
            "token.address: the contract there has no decimals(); give the address of a DepositToken"
        ) from None
    except IndexerError as error:
        raise StartError(f"{key}: {of_chain(error, chain.name)}", retryable=True) from None
    if decimals != bridge.token.decimals:
        raise StartError(
            f"token.decimals: the contract has {decimals}, the settings say {bridge.token.decimals}; "
            "they and the currency's exponent must be equal"
        )
    return f"the token is at {checksummed(bridge.token.address)}"


async def check_contract(chain: FollowedChain, contract: Contract) -> str:
    """Whether there is a contract at each of its addresses; raises :class:`StartError`."""
    for address in contract.addresses:
        try:
            code = await chain.providers.best().rpc.code(address)
        except IndexerError as error:
            raise StartError(
                f"chains.{chain.name}.rpc_urls: {of_chain(error, chain.name)}", retryable=True
            ) from None
        if not code:
            raise StartError(f"contracts.{contract.name}.address: {_no_contract(address, chain)}")
    where = ", ".join(map(checksummed, contract.addresses[:3])) or "any address"
    if len(contract.addresses) > 3:
        where += f" and {len(contract.addresses) - 3} more"
    if contract.factory is not None:
        where = f"what {contract.factory.contract} makes"
    events = ", ".join(event.name for event in contract.events)
    return f"contract {contract.name} on {chain.name}: {events}; at {where}"


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


async def check_redis(url: str) -> str:
    """Whether Redis answers; raises :class:`StartError`."""
    redis = client_of(url)
    try:
        await redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        raise StartError(
            f"redis.url: Redis does not answer ({type(error).__name__}); the daemon would start without a stream",
            retryable=True,
        ) from None
    finally:
        await redis.aclose()
    return "Redis answers"


async def check_signer(name: str, signer: Signer, log: CustodyLog) -> str:
    """Whether it would sign; raises :class:`StartError`."""
    custody = await open_signer(name, signer, log)
    try:
        health = await custody.health()
        address = checksummed(await custody.identity())
    finally:
        await custody.close()
    if not health.ok:
        raise StartError(f"signers.{name}: {health.detail}", retryable=True)
    return f"signer {name} ({signer.kind}): {health.detail}; its address is {address}"


async def check_forgotten(settings: Settings, bridge: Bridge) -> str:
    """Whether the settings have every signer that has something to see through; raises :class:`StartError`."""
    with speaking_of_database(settings) as database:
        connection = await asyncpg.connect(database.url.get_secret_value(), timeout=10)
        try:
            known = await rotation.signers(connection, bridge.chain.id)
        finally:
            await connection.close(timeout=10)
    for one in known:
        if one.is_busy and one.name not in bridge.signers and not one.worked:
            raise StartError(
                f"signers.{one.name}: is missing, and {checksummed(one.address)} has {one.burden}, which nobody sees "
                f"through; put its section back until `landbridge keys retire {one.name}` has succeeded"
            )
        if one.state == "retired" and one.name in bridge.signers and not _named(known, one.name):
            raise StartError(f"signers.{one.name}: this signer has retired; take its section out")
    return "no signer that the settings lack has anything to see through"


def _named(known: Sequence[SignerStanding], name: str) -> bool:
    """Whether one of this name works, or has still to be opened for the first time."""
    return any(one.name == name and one.state != "retired" for one in known)


async def check_all(settings: Settings, *, embedded: bool = False) -> list[Finding]:
    """Every check, each on its own, so that all faults are told at once.

    An embedded database is brought in line with the settings by ``run``, so it has only to be there.
    """
    chains = chains_of(settings)
    database = await _find("database", check_database(settings, () if embedded else chains))
    if embedded and database.fault is None:
        database = replace(database, detail=f"{database.detail}; an embedded one, as none is named")
    found = [database]
    async with AsyncExitStack() as stack:
        for chain in chains:
            reports = await asyncio.gather(
                *(probe(one.settings, chain.settings.id) for one in chain.providers.all)
            )
            found += [_judged(chain, report) for report in reports]
            if all(report.fault is not None for report in reports):
                continue
            await stack.enter_async_context(chain.providers)
            bridge = settings.bridge if chain.money else None
            for contract in chain.contracts:
                if bridge is not None and contract.name == bridge.token.contract:
                    found.append(await _find("token", check_token(chain, bridge)))
                else:
                    found.append(await _find(contract.name, check_contract(chain, contract)))
        if settings.redis is not None and settings.redis.enabled and settings.redis.url is not None:
            url = settings.redis.url.get_secret_value()
            found.append(await _find("redis", check_redis(url)))
        if settings.bridge is not None:
            bank = await stack.enter_async_context(RestBank(bank_settings(settings.bridge)))
            found.append(await _find("bank", check_bank(bank)))
        log = CustodyLog(settings.daemon.custody_log)
        for name, signer in settings.signers.items():
            found.append(await _find(f"signers.{name}", check_signer(name, signer, log)))
        if settings.bridge is not None and database.fault is None:
            found.append(await _find("signers", check_forgotten(settings, settings.bridge)))
    return found


def _judged(chain: FollowedChain, report: Report) -> Finding:
    """What a provider can do, and whether that is enough for what the settings want of it."""
    facts = {
        "chain": chain.name,
        "provider": report.provider,
        "operator": report.operator,
        "abilities": {one.name: [one.word, one.detail] for one in report.abilities},
    }
    key = f"chains.{chain.name}: provider {report.provider}"
    fault = None if report.fault is None else of_chain(report.fault, chain.name)
    if fault is None and chain.settings.finality_depth_blocks is None:
        fault = (
            None
            if report.can("finalized")
            else (
                "it does not say what is final; set finality_depth_blocks, or use another provider"
            )
        )
    verify = strictest(chain.contracts)
    if fault is None and verify != "none" and not report.can("receipts"):
        fault = f'it gives no receipts of a block, which verify = "{verify}" needs'
    if fault is None and verify == "full" and not report.can("verifiable"):
        fault = 'its headers cannot be verified; set verify = "bloom" or "none"'
    said = [f"{one.name:<11} {one.word:<7} {one.detail}" for one in report.abilities]
    detail = "\n".join([f"chain {chain.name}, provider {report.provider}", *said])
    return Finding(
        f"{chain.name}/{report.provider}",
        detail,
        None if fault is None else f"{key}: {fault}",
        facts,
    )


async def _find(name: str, check: Awaitable[str]) -> Finding:
    try:
        return Finding(name, await check)
    except StartError as error:
        return Finding(name, "", str(error))


def _no_contract(address: bytes, chain: FollowedChain) -> str:
    return (
        f"there is no contract at {checksummed(address)} on chain {chain.settings.id}; correct the address, or name "
        "the chain where it is deployed"
    )


def _decimals_call(bridge: Bridge) -> dict[str, str]:
    return {"to": "0x" + bridge.token.address.hex(), "data": "0x" + DECIMALS.hex()}
