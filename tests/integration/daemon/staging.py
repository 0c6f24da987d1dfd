"""Starts all the parts that a daemon needs, for tests of the whole, with networks that can be broken.

Between the daemon and each of chain, bank and database stands a proxy.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
from eth_account import Account
from yarl import URL

from daemon.contracts import contracts_of
from daemon.demo.bank import ACCOUNT_ID, CURRENCY, EXPONENT, Bank, BankSecrets
from daemon.demo.scenario import Holder
from daemon.demo.token import Token, confirm, deploy, fund, lift_limits
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from daemon.embedded.postgres import EmbeddedPostgres, free_port
from daemon.schema import register
from daemon.settings import load
from tests.conftest import Database, Template, execute
from tests.faultproxy import FaultProxy
from tests.integration.daemon.running import (
    HOST,
    Configuration,
    Daemon,
    Teller,
    Tree,
    numbers,
)
from tests.integration.daemon.world import WEBHOOK, World, new_person, register_people

CHAIN = "chains.local"
PROVIDER = "chains.local.providers.node"
BLOCK_TIME_S = 0.2
LEASE_TTL_S = 2.0
RPC_TIMEOUT_S = 3.0
BANK_TIMEOUT_S = 1.5
DAEMON_ROLE = "landbridge_daemon"


@asynccontextmanager
async def copied(server: EmbeddedPostgres, template: Template) -> AsyncIterator[Database]:
    """A migrated database that lasts longer than one test."""
    name = f"world_{next(numbers)}"
    await execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template.name}"')
    daemon_dsn = server.dsn(name, DAEMON_ROLE, template.daemon_password)
    yield Database(name, server.dsn(name), daemon_dsn)
    await execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def opened(
    folder: Path,
    database: Database,
    holders: int = 3,
    block_time_s: float | None = BLOCK_TIME_S,
) -> AsyncIterator[World]:
    """Start everything but the daemon: `World.daemon` is ready to be started. Without `block_time_s` no block is
    made unless somebody asks for it."""
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(Anvil(block_time_s=block_time_s))
        people = [new_person() for _ in range(holders)]
        officer, signer = Wallet.new(), Wallet.new()
        token = await _deployed(chain, officer, signer, people)
        shared, port = BankSecrets.new(), free_port()
        bank = await Bank.start(folder, shared, f"http://{HOST}:{port}{WEBHOOK}")
        stack.push_async_callback(bank.stop)
        node_proxy, bank_proxy, database_proxy = [
            await stack.enter_async_context(FaultProxy(HOST, upstream_port))
            for upstream_port in (
                chain.port,
                URL(bank.url).port or 0,
                URL(database.daemon_dsn).port or 0,
            )
        ]
        owner = await stack.enter_async_context(
            asyncpg.create_pool(database.owner_dsn, min_size=0, max_size=3)
        )
        async with owner.acquire() as connection:
            await register_people(connection, people)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {shared.api_key}"})
        )
        database_url = str(URL(database.daemon_dsn).with_port(database_proxy.port))
        password = secrets.token_urlsafe(24)
        configuration = Configuration(
            folder,
            _tree(
                token,
                f"http://{node_proxy.address}",
                f"http://{bank_proxy.address}",
                _keystore(folder, signer, password),
            ),
            {
                "PATH": "/usr/bin:/bin",
                "LANDBRIDGE_DATABASE__URL": database_url,
                "LANDBRIDGE_BANK__API_KEY": shared.api_key,
                "LANDBRIDGE_BANK__WEBHOOK_SECRETS": shared.webhook_secret,
                "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": password,
            },
        )
        settings = load(configuration.write(), configuration.environment)
        contracts = contracts_of(settings.chains, settings.contracts, settings.token)
        await register(database.owner_dsn, contracts, settings.token)
        daemon = Daemon(configuration, port)
        stack.push_async_callback(daemon.close)
        yield World(
            chain=chain,
            token=token,
            officer=officer,
            holders=people,
            teller=Teller(bank.url, session),
            owner=owner,
            owner_dsn=database.owner_dsn,
            configuration=configuration,
            secrets=shared,
            node_proxy=node_proxy,
            bank_proxy=bank_proxy,
            database_proxy=database_proxy,
            daemon=daemon,
        )


async def _deployed(chain: Anvil, officer: Wallet, signer: Wallet, people: list[Holder]) -> Token:
    """The token, with its roles given and every holder allowed."""
    for wallet in (officer, signer, *(holder.wallet for holder in people)):
        await fund(chain, wallet.address)
    token = await deploy(chain, officer, EXPONENT)
    roles = {
        "MINTER_ROLE": signer,
        "REDEEMER_ROLE": signer,
        "MINTER_ADMIN_ROLE": officer,
        "ALLOWLISTER_ROLE": officer,
        "FREEZER_ROLE": officer,
    }
    sent = [
        await token.send(
            officer, "grantRole(bytes32,address)", await token.role(name), wallet.address
        )
        for name, wallet in roles.items()
    ]
    for tx_hash in sent:
        await confirm(chain, tx_hash)
    sent = [
        await token.send(officer, "setAllowed(address,bool)", holder.wallet.address, True)
        for holder in people
    ]
    sent += await lift_limits(token, officer, officer, signer.address)
    for tx_hash in sent:
        await confirm(chain, tx_hash)
    return token


def _keystore(folder: Path, signer: Wallet, password: str) -> Path:
    """Encrypted with the fewest rounds that the format takes: it guards nothing."""
    path = folder / "keystore.json"
    encrypted = Account.encrypt(signer.account.key, password, kdf="pbkdf2", iterations=2)
    path.write_text(json.dumps(encrypted))
    return path


def _tree(token: Token, rpc_url: str, bank_url: str, keystore: Path) -> Tree:
    """Settings that are impatient, so that tests are short."""
    return {
        "database": {},
        CHAIN: {"id": token.chain_id, "poll_interval_s": 0.2, "single_provider": True},
        PROVIDER: {"http_url": rpc_url, "timeout_s": RPC_TIMEOUT_S},
        "token": {
            "address": "0x" + token.address.hex(),
            "start_block": token.start_block,
            "currency": CURRENCY,
            "decimals": EXPONENT,
        },
        "bank": {
            "base_url": bank_url,
            "account_id": ACCOUNT_ID,
            "timeout_s": BANK_TIMEOUT_S,
            "poll_interval_s": 0.4,
            "ask_after_s": 0.7,
        },
        "signers.minter": {"kind": "keystore", "keystore": str(keystore)},
        "sender": {"resend_after_s": 1.5},
        "api": {"host": HOST},
        "daemon": {
            "lease_ttl_s": LEASE_TTL_S,
            "recheck_held_s": 1.0,
            "custody_log": str(keystore.with_name("custody.log")),
        },
    }
