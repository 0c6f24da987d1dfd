"""What chain, bank and database say at the end, each asked for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg

from daemon.demo.bank import Bank, BankEntry
from daemon.demo.scenario import Holder
from daemon.demo.token import Event, Token
from daemon.demo.world import World

OPERATIONS = """
SELECT o.kind, o.state, o.op_id, o.amount_minor, o.wallet, o.redemption_id, e.entry_key,
       (SELECT array_agg(a.end_to_end_id ORDER BY a.attempt) FROM bank.payout_attempt a
        WHERE a.op_id = o.op_id AND a.state = 'booked') AS end_to_end_ids
FROM bridge.operation o LEFT JOIN bank.entry e USING (entry_id)
"""
PROOF = """
SELECT verdict, explanation, block_number, reserve_minor, supply_minor, bank_balance_minor
FROM recon.proof ORDER BY proof_id DESC LIMIT 1
"""
BREAKS = "SELECT kind, subject, detail FROM recon.break WHERE closed_at IS NULL"
REORGS = "SELECT count(*) FROM chain.reorg"


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """The token at the head. `balances` and `minted_status` were asked one by one, not summed up."""

    events: tuple[Event, ...]
    total_supply: int
    balances: dict[bytes, int]
    escrow: int
    minted_status: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class BankFacts:
    """The account: its lines, its balance, and the payments that the bank calls booked."""

    entries: tuple[BankEntry, ...]
    balance_minor: int
    booked_payments: frozenset[str]


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation in the database."""

    kind: str
    state: str
    op_id: bytes
    amount_minor: int
    wallet: bytes
    redemption_id: bytes | None
    entry_key: str | None
    end_to_end_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProofRow:
    """The newest proof."""

    verdict: str
    explanation: str
    block_number: int
    reserve_minor: int
    supply_minor: int
    bank_balance_minor: int | None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The daemon's books, read as their owner."""

    operations: tuple[OperationRow, ...]
    proof: ProofRow | None
    breaks: tuple[str, ...]
    reorgs: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All three."""

    chain: ChainFacts
    bank: BankFacts
    database: DatabaseFacts


async def gather(world: World, holders: Iterable[Holder]) -> Facts:
    """Ask chain, bank and database, each by its own means."""
    database = await _database(world)
    op_ids = [row.op_id for row in database.operations if row.kind == "issuance"]
    chain = await _chain(world.token, [holder.wallet.address for holder in holders], op_ids)
    return Facts(chain, await _bank(world.bank), database)


async def _chain(token: Token, wallets: list[bytes], op_ids: list[bytes]) -> ChainFacts:
    async def balance(wallet: bytes) -> int:
        return int(await token.ask("balanceOf(address)", wallet, returns=["uint256"]))

    minted = set()
    for op_id in op_ids:
        status, _ = await token.ask("operation(bytes32)", op_id, returns=["uint8", "bytes30"])
        if status == 1:
            minted.add(op_id)
    return ChainFacts(
        events=tuple(await token.events()),
        total_supply=int(await token.ask("totalSupply()", returns=["uint256"])),
        balances={wallet: await balance(wallet) for wallet in wallets},
        escrow=await balance(token.address),
        minted_status=frozenset(minted),
    )


async def _bank(bank: Bank) -> BankFacts:
    entries = await bank.entries()
    ids = [entry.end_to_end_id for entry in entries if entry.end_to_end_id is not None]
    states = await asyncio.gather(*(bank.payment_status(each) for each in ids))
    booked = frozenset(each for each, state in zip(ids, states, strict=True) if state == "booked")
    return BankFacts(tuple(entries), await bank.balance_minor(), booked)


async def _database(world: World) -> DatabaseFacts:
    async with (
        world.database.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        operations = await connection.fetch(OPERATIONS)
        proof = await connection.fetchrow(PROOF)
        breaks = await connection.fetch(BREAKS)
        reorgs = await connection.fetchval(REORGS)
    return DatabaseFacts(
        operations=tuple(_operation(row) for row in operations),
        proof=None if proof is None else ProofRow(**dict(proof)),
        breaks=tuple(f"{row['kind']} {row['subject']}: {row['detail']}" for row in breaks),
        reorgs=reorgs,
    )


def _operation(row: asyncpg.Record) -> OperationRow:
    return OperationRow(
        kind=row["kind"],
        state=row["state"],
        op_id=row["op_id"],
        amount_minor=row["amount_minor"],
        wallet=row["wallet"],
        redemption_id=row["redemption_id"],
        entry_key=row["entry_key"],
        end_to_end_ids=tuple(row["end_to_end_ids"] or ()),
    )
