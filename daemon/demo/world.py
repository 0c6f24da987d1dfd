"""Every part of the demo, started in order and gone at the end: database, chain, bank, daemon."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from daemon.demo.bank import EXPONENT, Bank, BankSecrets
from daemon.demo.landbridge import DatabaseUrls, Landbridge, Site
from daemon.demo.scenario import Scenario
from daemon.demo.token import Token, confirm, deploy, fund, lift_limits
from daemon.demo.wallet import Wallet
from daemon.embedded.account import new_temporary_path
from daemon.embedded.anvil import Anvil
from daemon.embedded.guard import Guard
from daemon.embedded.postgres import EmbeddedPostgres, free_port

DATABASE = "landbridge"
DAEMON_ROLE = "landbridge_daemon"
BLOCK_TIME_S = 1
# Finalized is four blocks behind the head: a reorg of three blocks is the deepest that may happen.
SLOTS_IN_AN_EPOCH = 2
FINALITY_BLOCKS = 2 * SLOTS_IN_AN_EPOCH
CONNECT_TIMEOUT_S = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class World:
    """The running parts. `owner_dsn` holds a password: never print it."""

    folder: Path
    chain: Anvil
    token: Token
    bank: Bank
    daemon: Landbridge
    database: asyncpg.Pool


@asynccontextmanager
async def opened(scenario: Scenario, say: Say) -> AsyncIterator[World]:
    """Start everything; the daemon runs and the holders may act. All of it is gone afterwards."""
    async with AsyncExitStack() as stack:
        folder = new_temporary_path(None)
        # Its guardian makes the folder and removes it, even if this process is killed.
        await stack.enter_async_context(await Guard.open(folder))
        say("starting PostgreSQL and Anvil")
        postgres = EmbeddedPostgres(fsync=False)
        chain = Anvil(block_time_s=BLOCK_TIME_S, slots_in_an_epoch=SLOTS_IN_AN_EPOCH)
        stack.push_async_callback(postgres.stop)
        stack.push_async_callback(chain.stop)
        async with asyncio.TaskGroup() as group:
            group.create_task(postgres.start())
            group.create_task(chain.start())
        signer = Wallet.new()
        say("deploying the token and allowing the holders")
        token = await _deployed(chain, scenario, signer)
        shared = BankSecrets.new()
        port = free_port()
        say("starting the bank simulator")
        webhook_url = f"http://127.0.0.1:{port}/v1/bank/webhook"
        bank = await Bank.start(folder, shared, webhook_url)
        stack.push_async_callback(bank.stop)
        site = Site(chain.url, token.chain_id, token.address, token.start_block, bank.url, port)
        urls = await _created(postgres)
        daemon = Landbridge(folder, site, urls, shared, signer)
        stack.push_async_callback(daemon.stop)
        say("migrating the database and registering the beneficiaries")
        await daemon.migrate()
        await _let_in(postgres, urls)
        await daemon.register(scenario.holders)
        say("starting the daemon")
        await daemon.start()
        pool = await stack.enter_async_context(
            asyncpg.create_pool(urls.owner, min_size=1, max_size=3, timeout=CONNECT_TIMEOUT_S)
        )
        yield World(folder, chain, token, bank, daemon, pool)


async def _deployed(chain: Anvil, scenario: Scenario, signer: Wallet) -> Token:
    """The token, with its roles in different hands, every holder allowed, and all of that final."""
    admin, officer = Wallet.new(), Wallet.new()
    for wallet in (admin, officer, signer, *(holder.wallet for holder in scenario.holders)):
        await fund(chain, wallet.address)
    token = await deploy(chain, admin, EXPONENT)
    holders_of = {
        "MINTER_ROLE": signer,
        "REDEEMER_ROLE": signer,
        "MINTER_ADMIN_ROLE": officer,
        "ALLOWLISTER_ROLE": officer,
        "FREEZER_ROLE": officer,
        "PAUSER_ROLE": officer,
        "UNPAUSER_ROLE": admin,
    }
    grants = [
        await token.send(
            admin, "grantRole(bytes32,address)", await token.role(name), wallet.address
        )
        for name, wallet in holders_of.items()
    ]
    for tx_hash in grants:
        await confirm(chain, tx_hash)
    allowed = [
        await token.send(officer, "setAllowed(address,bool)", holder.wallet.address, True)
        for holder in scenario.holders
    ]
    lifted = await lift_limits(token, admin, officer, signer.address)
    for tx_hash in [*allowed, *lifted]:
        await confirm(chain, tx_hash)
    await chain.mine(FINALITY_BLOCKS)
    return token


async def _created(postgres: EmbeddedPostgres) -> DatabaseUrls:
    connection = await asyncpg.connect(postgres.dsn(), timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()
    password = secrets.token_urlsafe(24)
    return DatabaseUrls(
        owner=postgres.dsn(DATABASE),
        daemon=postgres.dsn(DATABASE, DAEMON_ROLE, password),
        daemon_password=password,
    )


async def _let_in(postgres: EmbeddedPostgres, urls: DatabaseUrls) -> None:
    """Give the daemon's role, which the migrations made, the password of its URL."""
    # token_urlsafe has no quote in it, and DDL takes no arguments.
    alter = f"ALTER ROLE {DAEMON_ROLE} LOGIN PASSWORD '{urls.daemon_password}'"
    connection = await asyncpg.connect(postgres.dsn(), timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute(alter)
    finally:
        await connection.close()
