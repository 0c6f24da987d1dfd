"""A database with a token, a beneficiary and money in it, made by the statements the daemon uses."""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from bridge import beneficiaries, halts, journal, lane, ledger
from bridge.beneficiaries import Beneficiary
from bridge.fees import FeeOffer
from bridge.journal import Intent, Purpose
from bridge.token import Token, as_contract, register
from indexer import follower, lease, registry
from indexer.lease import Fence, fenced
from tests.conftest import Database

CHAIN_ID = 31337
TOKEN = Token(CHAIN_ID, b"T" * 20, "token", "DE89RESERVE", "EUR", 2)
WALLET = b"W" * 20
SIGNER = b"S" * 20
IBAN = "DE02120300000000202051"
OFFER = FeeOffer(20, 2)


def digest(text: str) -> bytes:
    """32 bytes that stand for a hash, told apart by a name."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class World:
    """A pool as the daemon's role, and a fence for each role; ``submit`` is of the lane of its one signer."""

    pool: asyncpg.Pool
    follow: Fence
    operate: Fence
    submit: Fence
    reconcile: Fence
    beneficiary_id: int


@asynccontextmanager
async def opened(
    database: Database, token: Token = TOKEN, wallet: bytes = WALLET, signer: bytes = SIGNER
) -> AsyncIterator[World]:
    """The event tables, the token, its accounts, one beneficiary and one signer."""
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await registry.register(owner, [as_contract(token, 0)])
    finally:
        await owner.close()
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=6) as pool:
        fences = {role: await take(pool, role) for role in ("operate", "reconcile")}
        fences["submit"] = await take(pool, lane.role(signer))
        fences["follow"] = await take(pool, follower.role(token.chain_id))
        async with fenced(pool, fences["operate"]) as connection:
            await register(connection, token)
            await ledger.open_accounts(connection, token)
            beneficiary_id = await beneficiaries.register(
                connection,
                Beneficiary(wallet, IBAN, "A holder", "signed message"),
                proposed_by="maker",
                approved_by="checker",
            )
        async with fenced(pool, fences["submit"]) as connection:
            await journal.open_signer(connection, token.chain_id, signer, "minter")
        yield World(pool=pool, beneficiary_id=beneficiary_id, **fences)


async def lift(pool: asyncpg.Pool) -> None:
    """Lift every halt, as two people would."""
    async with pool.acquire() as connection:
        halt_ids = [one.halt_id for one in await halts.open_halts(connection)]
        text = json.dumps({"halts": halt_ids, "at": secrets.token_hex(8)})
        proposal = await halts.propose(connection, text, "maker")
        await halts.approve(connection, proposal, halt_ids, "checker")


async def take(pool: asyncpg.Pool, role: str) -> Fence:
    async with pool.acquire() as connection:
        fence = await lease.acquire(connection, role, "test", 60)
    assert fence is not None
    return fence


async def add_chain(world: World, finalized: int, head: int) -> None:
    """A chain of blocks up to ``head``, final up to ``finalized``; a block's hash is digest(f"block{n}").
    The token has been followed from its first block."""
    async with fenced(world.pool, world.follow) as connection:
        await connection.execute(
            """UPDATE chain.source SET indexed_at = clock_timestamp(), joined_at = clock_timestamp(),
                   joined_seq = 0"""
        )
        await connection.execute(
            "INSERT INTO chain.cursor (chain_id, genesis_hash, start_block) VALUES ($1, $2, 0)",
            CHAIN_ID,
            digest("block0"),
        )
        await connection.executemany(
            """INSERT INTO chain.block (chain_id, hash, number, parent_hash, timestamp_s, canonical)
               VALUES ($1, $2, $3, $4, $3, true)""",
            [(CHAIN_ID, digest(f"block{n}"), n, digest(f"block{n - 1}")) for n in range(head + 1)],
        )
        await connection.execute(
            """UPDATE chain.cursor SET head_number = $2, head_hash = $3, head_timestamp_s = 2000000000,
                   safe_number = $4, finalized_number = $4, finalized_hash = $5 WHERE chain_id = $1""",
            CHAIN_ID,
            head,
            digest(f"block{head}"),
            finalized,
            digest(f"block{finalized}"),
        )


async def add_request(world: World, redemption_id: bytes, block: int, amount: int) -> None:
    """A RedeemRequested event of WALLET in a block of the chain."""
    async with fenced(world.pool, world.follow) as connection:
        await connection.execute(
            """INSERT INTO event.token_redeem_requested (block_hash, block_number,
                   block_timestamp_s, log_index, tx_hash, tx_index, ordinal, canonical, address, id,
                   holder, amount, ref)
               VALUES ($1, $2, $2, 0, $3, 0, 0, true, $6, $3, $4, $5, $3)""",
            digest(f"block{block}"),
            block,
            redemption_id,
            WALLET,
            amount,
            TOKEN.address,
        )


async def add_redemption(world: World, name: str, block: int, amount: int, *path: str) -> bytes:
    """A redemption that has gone along ``path`` after ``requested``; answers with its op_id."""
    op_id = digest(f"op {name}")
    async with fenced(world.pool, world.operate) as connection:
        await connection.execute(
            """INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id,
                   currency, amount_minor, wallet, beneficiary_id, redemption_id, event_block_hash,
                   event_block_number, event_log_index)
               VALUES ($1, 'redemption', 'requested', 'test', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)""",
            op_id,
            CHAIN_ID,
            TOKEN.address,
            TOKEN.account_id,
            TOKEN.currency,
            amount,
            WALLET,
            world.beneficiary_id,
            digest(name),
            digest(f"block{block}"),
            block,
        )
        for state in path:
            await set_state(connection, op_id, state)
    return op_id


async def add_issuance(
    world: World,
    name: str,
    amount: int,
    *path: str,
    token: bytes = TOKEN.address,
    wallet: bytes = WALLET,
) -> bytes:
    """A deposit and its issuance that has gone along ``path`` after ``funded``; answers with its op_id."""
    op_id = digest(f"op {name}")
    async with fenced(world.pool, world.operate) as connection:
        entry_id = await connection.fetchval(
            """INSERT INTO bank.entry (account_id, entry_key, status, direction, amount_minor, currency,
                   booked_at) VALUES ($1, $2, 'booked', 'credit', $3, $4, now()) RETURNING entry_id""",
            TOKEN.account_id,
            name,
            amount,
            TOKEN.currency,
        )
        await connection.execute(
            """INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id,
                   currency, amount_minor, wallet, beneficiary_id, entry_id)
               VALUES ($1, 'issuance', 'funded', 'test', $2, $3, $4, $5, $6, $7, $8, $9)""",
            op_id,
            CHAIN_ID,
            token,
            TOKEN.account_id,
            TOKEN.currency,
            amount,
            wallet,
            world.beneficiary_id,
            entry_id,
        )
        for state in path:
            await set_state(connection, op_id, state)
    return op_id


async def set_state(connection: asyncpg.Connection, op_id: bytes, state: str) -> None:
    """Move an operation on, as any code of ours would have to."""
    await connection.execute(
        "UPDATE bridge.operation SET state = $2, reason = 'test' WHERE op_id = $1", op_id, state
    )


async def allocate(world: World, op_id: bytes, purpose: Purpose = "mint") -> int:
    """Give an operation a nonce and an intent; answers with the tx_id."""
    intent = Intent(purpose, (op_id,), TOKEN.address, b"call", 100_000)
    async with fenced(world.pool, world.submit) as connection:
        [tx_id] = await journal.allocate(connection, CHAIN_ID, SIGNER, [intent], OFFER)
    return tx_id
