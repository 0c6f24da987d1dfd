"""The bridge at work, to be measured: a token, its holders and minters, a bank, a database, and the daemon.

The chain has blocks of a billion gas each quarter of a second, or mines each transaction at once.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from eth_account import Account

from benchmarks.errors import NotReachedError, ProgramEndedError
from benchmarks.meter import Meter
from benchmarks.session import Session, progress
from bridge.identity import operation_id
from bridge.ledger import Book, Transfer, move, open_accounts, post
from bridge.operations import Kind
from bridge.token import Token, register
from daemon.demo import token as contract
from daemon.demo.bank import ACCOUNT_ID, CURRENCY, EXPONENT, Bank, BankSecrets
from daemon.demo.wallet import Wallet
from daemon.embedded.account import new_temporary_path
from daemon.embedded.anvil import REPOSITORY, Anvil
from daemon.embedded.guard import Guard
from daemon.embedded.log_tail import log_tail
from daemon.embedded.postgres import free_port
from daemon.embedded.process import GuardedProcess
from indexer import lease
from indexer.database import Connection
from indexer.lease import fenced

BLOCK_GAS = 1_000_000_000
BLOCK_TIME_S = 0.25
SLOTS_IN_AN_EPOCH = 2
DAEMON_ROLE = "landbridge_daemon"
HOLDERS = 20
AMOUNT_MINOR = 12_345
FUNDED_AT_ONCE = 1_000
LEASE_TTL_S = 600.0
POLL_S = 0.2
KEYSTORE_ITERATIONS = 2
# Its places in the bank's numbering are beyond what the bank has told of, so that its balance is not held against
# them.
BOOK = """
    WITH deposit AS (
        SELECT * FROM unnest($6::text[], $7::bytea[], $8::bigint[], $9::text[]) AS d (key, op_id, number, iban)),
    entry AS (
        INSERT INTO bank.entry (account_id, entry_key, status, direction, amount_minor, currency, sequence, booked_at)
        SELECT $1, key, 'booked', 'credit', $3, $2, number + 1, clock_timestamp() FROM deposit
        RETURNING entry_id, entry_key),
    party AS (
        INSERT INTO bank.entry_party (entry_id, name, iban)
        SELECT entry_id, 'bench', iban FROM entry JOIN deposit ON key = entry_key)
    INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id, currency, amount_minor,
                                  wallet, beneficiary_id, entry_id)
    SELECT op_id, 'issuance', 'funded', 'deposit booked', $4, $5, $1, $2, $3, b.wallet, b.beneficiary_id, entry_id
    FROM entry JOIN deposit ON key = entry_key JOIN bridge.beneficiary b USING (iban)
    RETURNING operation_id, entry_id"""
# What is filled. Of an empty table Postgres would believe that it stays so.
ANALYZE = "ANALYZE bank.entry, bridge.operation, bridge.transition, ledger.transfer, ledger.posting"
JOINED = "SELECT EXISTS (SELECT FROM chain.source WHERE joined_seq IS NOT NULL)"
MINED = "SELECT count(*) FROM bridge.operation WHERE state IN ('mined', 'final', 'settled')"


@dataclass(frozen=True, slots=True)
class Desk:
    """What runs but the daemon. ``dsn`` is the owner's."""

    folder: Path
    node: Anvil
    contract: contract.Token
    token: Token
    minters: tuple[Wallet, ...]
    holders: tuple[Wallet, ...]
    bank: Bank
    dsn: str
    environment: dict[str, str]
    config: Path

    async def fund(self, operations: int) -> None:
        """Book so many deposits, as ingest would have, many at a time."""
        pool = await asyncpg.create_pool(self.dsn, min_size=1, max_size=1)
        async with pool:
            async with pool.acquire() as connection:
                fence = await lease.acquire(connection, "operate", "bench", LEASE_TTL_S)
            if fence is None:
                raise RuntimeError("somebody works already in this database")
            async with fenced(pool, fence) as connection:
                await register(connection, self.token)
                await open_accounts(connection, self.token)
            for first in range(0, operations, FUNDED_AT_ONCE):
                numbers = range(first, min(operations, first + FUNDED_AT_ONCE))
                async with fenced(pool, fence) as connection:
                    await self._book(connection, numbers)
            async with pool.acquire() as connection:
                await lease.release(connection, fence)
                if operations:
                    await connection.execute(ANALYZE)

    async def _book(self, connection: Connection, numbers: Sequence[int]) -> None:
        keys = [f"bench-{number}" for number in numbers]
        op_ids = [
            operation_id(
                chain_id=self.token.chain_id,
                token=self.token.address,
                reserve_account=ACCOUNT_ID,
                stable_entry_key=key,
                kind=Kind.ISSUANCE,
            )
            for key in keys
        ]
        rows = await connection.fetch(
            BOOK,
            *(ACCOUNT_ID, CURRENCY, AMOUNT_MINOR, self.token.chain_id, self.token.address),
            *(keys, op_ids, list(numbers), [iban(number % HOLDERS) for number in numbers]),
        )
        lines = move(Book.FUNDED, Book.RESERVE, AMOUNT_MINOR)
        transfers = [
            Transfer(f"deposit:{row['entry_id']}", lines, row["operation_id"], row["entry_id"])
            for row in rows
        ]
        await post(connection, self.token, transfers)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Worker]:
        """The daemon, from its start to its end in order."""
        log_path = self.folder / "landbridge.log"
        process = await GuardedProcess.start(
            [sys.executable, "-m", "daemon", "--config", str(self.config), "run"],
            env=self.environment,
            log_path=log_path,
            cwd=REPOSITORY,
        )
        async with process:
            yield Worker(process, log_path)


@dataclass(frozen=True, slots=True)
class Worker:
    """The running daemon."""

    process: GuardedProcess
    log_path: Path

    async def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        await self.process.wait()

    def meter(self) -> Meter:
        return Meter(self.process.pid).start()

    async def until(
        self, what: str, reached: Callable[[], Awaitable[bool]], timeout_s: float
    ) -> None:
        """Wait for it; raises with the end of the daemon's log if it does not come."""
        deadline = time.monotonic() + timeout_s
        while not await reached():
            if self.process.returncode is not None:
                raise ProgramEndedError(status=self.process.returncode, log=log_tail(self.log_path))
            if time.monotonic() > deadline:
                raise NotReachedError(what=what, timeout_s=timeout_s, log=log_tail(self.log_path))
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def opened(
    session: Session, *, lanes: int, batch_items: int, at_once: bool = False
) -> AsyncIterator[Desk]:
    """Everything but the daemon, on a fresh database. ``at_once``: each transaction is mined when it arrives."""
    async with AsyncExitStack() as stack:
        folder = new_temporary_path(None)
        await stack.enter_async_context(await Guard.open(folder))
        node = Anvil(
            block_time_s=None if at_once else BLOCK_TIME_S,
            slots_in_an_epoch=SLOTS_IN_AN_EPOCH,
            extra_args=["--gas-limit", str(BLOCK_GAS), "--no-request-size-limit"],
        )
        await stack.enter_async_context(node)
        minters = tuple(Wallet.new() for _ in range(lanes))
        holders = tuple(Wallet.new() for _ in range(HOLDERS))
        deployed = await _deployed(node, minters, holders)
        if at_once:
            await node.rpc("evm_setAutomine", True)
        shared = BankSecrets.new()
        port = free_port()
        bank = await Bank.start(folder, shared, f"http://127.0.0.1:{port}/v1/bank/webhook")
        stack.push_async_callback(bank.stop)
        dsn = await stack.enter_async_context(session.database("desk"))
        token = Token(deployed.chain_id, deployed.address, "token", ACCOUNT_ID, CURRENCY, EXPONENT)
        desk = _desk(folder, node, deployed, token, minters, holders, bank, dsn, shared)
        desk.config.write_text(_toml(desk, port, batch_items))
        await _command(desk, "migrate")
        await _register(desk)
        yield desk


def iban(holder: int) -> str:
    """Of one of the holders."""
    return f"DE{holder:020d}"


def _desk(
    folder: Path,
    node: Anvil,
    deployed: contract.Token,
    token: Token,
    minters: tuple[Wallet, ...],
    holders: tuple[Wallet, ...],
    bank: Bank,
    dsn: str,
    shared: BankSecrets,
) -> Desk:
    password = secrets.token_urlsafe(24)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LANDBRIDGE_DATABASE__URL": dsn,
        "LANDBRIDGE_DATABASE__OWNER_URL": dsn,
        "LANDBRIDGE_BANK__API_KEY": shared.api_key,
        "LANDBRIDGE_BANK__WEBHOOK_SECRETS": shared.webhook_secret,
    }
    for number, minter in enumerate(minters):
        file = folder / f"minter{number}.json"
        encrypted = Account.encrypt(
            minter.account.key, password, kdf="pbkdf2", iterations=KEYSTORE_ITERATIONS
        )
        file.touch(mode=0o600)
        file.write_text(json.dumps(encrypted))
        environment[f"LANDBRIDGE_SIGNERS__MINTER{number}__PASSWORD"] = password
    return Desk(
        folder,
        node,
        deployed,
        token,
        minters,
        holders,
        bank,
        dsn,
        environment,
        folder / "landbridge.toml",
    )


async def _deployed(
    node: Anvil, minters: tuple[Wallet, ...], holders: tuple[Wallet, ...]
) -> contract.Token:
    """The token, with every holder allowed and every minter without a limit."""
    admin = Wallet.new()
    for wallet in (admin, *minters):
        await contract.fund(node, wallet.address)
    token = await contract.deploy(node, admin, EXPONENT)
    sent = []
    for name in ("MINTER_ADMIN_ROLE", "ALLOWLISTER_ROLE"):
        role = await token.role(name)
        sent.append(await token.send(admin, "grantRole(bytes32,address)", role, admin.address))
    await contract.confirm(node, sent[-1])
    minter_role, redeemer_role = await token.role("MINTER_ROLE"), await token.role("REDEEMER_ROLE")
    for minter in minters:
        for role in (minter_role, redeemer_role):
            sent.append(await token.send(admin, "grantRole(bytes32,address)", role, minter.address))
    for holder in holders:
        sent.append(await token.send(admin, "setAllowed(address,bool)", holder.address, True))
    for minter in minters:
        await contract.confirm(node, sent[-1])
        sent += await contract.lift_limits(token, admin, admin, minter.address)
    for tx_hash in sent:
        await contract.confirm(node, tx_hash)
    await node.mine(2 * SLOTS_IN_AN_EPOCH)
    return token


async def _register(desk: Desk) -> None:
    file = desk.folder / "beneficiaries.json"
    file.write_text(
        json.dumps(
            [
                {
                    "wallet": contract.as_hex(holder.address),
                    "iban": iban(number),
                    "name": "bench",
                    "proof": "the measurement made this wallet itself",
                }
                for number, holder in enumerate(desk.holders)
            ]
        )
    )
    people = ("--proposed-by", "bench-clerk", "--approved-by", "bench-second-clerk")
    await _command(desk, "beneficiaries", "add", str(file), *people)


async def _command(desk: Desk, *arguments: str) -> None:
    log_path = desk.folder / f"{arguments[0]}.log"
    process = await GuardedProcess.start(
        [sys.executable, "-m", "daemon", "--config", str(desk.config), *arguments],
        env=desk.environment,
        log_path=log_path,
        cwd=REPOSITORY,
    )
    async with process:
        status = await process.wait()
    if status != 0:
        raise ProgramEndedError(status=status, log=log_tail(log_path))


def _toml(desk: Desk, port: int, batch_items: int) -> str:
    signers = "\n".join(
        f"""[signers.minter{number}]
kind = "keystore"
keystore = {json.dumps(str(desk.folder / f"minter{number}.json"))}
"""
        for number in range(len(desk.minters))
    )
    return f"""\
[chains.local]
id = {desk.token.chain_id}
rpc_urls = ["{desk.node.url}"]
ws_urls = ["{desk.node.url.replace("http", "ws", 1)}"]
poll_interval_s = 0.25
single_provider = true

[token]
address = "{contract.as_hex(desk.token.address)}"
start_block = {desk.contract.start_block}
currency = "{CURRENCY}"
decimals = {EXPONENT}

[bank]
base_url = "{desk.bank.url}"
account_id = "{ACCOUNT_ID}"

{signers}
[sender]
batch_items = {batch_items}

[api]
port = {port}

[daemon]
custody_log = {json.dumps(str(desk.folder / "custody.log"))}
"""


def told(text: str) -> None:
    progress(f"mints: {text}")
