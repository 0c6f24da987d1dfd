"""Proves, each time finalized advances, that ledger, chain and bank agree; drift closes the mint gate."""

from dataclasses import dataclass

import asyncpg
import structlog

from bridge import halts, ledger, mints
from bridge.bank.connector import Balance, BankConnector
from bridge.bank.errors import BankMessageError, BankUnavailable
from bridge.breaks import Break, open_break
from bridge.finality import consumed_finality
from bridge.node import Node
from bridge.proof import BankView, Books, ChainView, Judgement, Verdict, judge
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Everything of ours that a proof needs, read at one moment."""

    block_number: int
    block_hash: bytes
    books: Books
    event_supply: int
    entries_total: int
    read_through: int
    entries_to_cut: int


class Prover:
    """Writes ``recon.proof``, under the lease of role ``reconcile``."""

    def __init__(self, pool: asyncpg.Pool, node: Node, bank: BankConnector, token: Token) -> None:
        self._pool = pool
        self._node = node
        self._bank = bank
        self._token = token

    async def step(self, fence: Fence) -> bool:
        """Prove the newest finalized block that the bridge has consumed, unless it is proved already."""
        if not await self._is_due():
            return False
        # The bank is asked first: entries up to its cut can then only be late, never missing.
        balance = await self._balance()
        snapshot = await self._snapshot(balance)
        if snapshot is None:
            return False
        chain = ChainView(
            await self._node.total_supply(self._token.address, snapshot.block_number),
            snapshot.event_supply,
        )
        bank = (
            None
            if balance is None
            else BankView(
                balance.amount_minor,
                balance.last_sequence,
                snapshot.read_through,
                snapshot.entries_to_cut,
            )
        )
        verdict = judge(snapshot.books, chain, bank, snapshot.entries_total)
        await self._record(fence, snapshot, chain, bank, verdict)
        return True

    async def _is_due(self) -> bool:
        """Whether finalized has advanced past the newest proof, as far as the bridge has consumed."""
        final = await consumed_finality(self._pool, self._token)
        proved: int | None = await self._pool.fetchval(
            """SELECT block_number FROM recon.proof WHERE chain_id = $1 AND token = $2
               ORDER BY proof_id DESC LIMIT 1""",
            self._token.chain_id,
            self._token.address,
        )
        return final is not None and (proved is None or final.number > proved)

    async def _balance(self) -> Balance | None:
        try:
            return await self._bank.balance()
        except (BankUnavailable, BankMessageError) as error:
            log.warning("bank_balance_unavailable", error=str(error))
            return None

    async def _snapshot(self, balance: Balance | None) -> _Snapshot | None:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            final = await consumed_finality(connection, self._token)
            if final is None:
                return None
            entries = await self._entries(connection, balance.last_sequence if balance else 0)
            return _Snapshot(
                block_number=final.number,
                block_hash=final.hash,
                books=await ledger.books(connection, self._token),
                event_supply=await mints.supply(connection, self._token, final.number),
                entries_total=entries["total"],
                read_through=entries["read_through"],
                entries_to_cut=entries["to_cut"],
            )

    async def _entries(self, connection: Connection, cut: int) -> asyncpg.Record:
        row = await connection.fetchrow(
            """SELECT coalesce(sum(signed), 0)::bigint AS total,
                      coalesce(sum(signed) FILTER (WHERE sequence <= $2), 0)::bigint AS to_cut,
                      (SELECT sequence FROM bank.poll_cursor WHERE account_id = $1) AS read_through
               FROM (SELECT sequence,
                            CASE direction WHEN 'credit' THEN amount_minor ELSE -amount_minor END AS signed
                     FROM bank.entry WHERE account_id = $1 AND status = 'booked') AS booked""",
            self._token.account_id,
            cut,
        )
        if row is None:
            raise LookupError("an aggregate always has one row")
        return row

    async def _record(
        self,
        fence: Fence,
        snapshot: _Snapshot,
        chain: ChainView,
        bank: BankView | None,
        verdict: Judgement,
    ) -> None:
        books = snapshot.books
        async with fenced(self._pool, fence) as connection:
            await ledger.fold(connection)
            await connection.execute(
                """INSERT INTO recon.proof (chain_id, token, account_id, currency, block_number, block_hash,
                       reserve_minor, supply_minor, paid_not_burned, burned_not_paid, funded_not_minted, suspense,
                       fees, deficit, chain_supply, event_supply, bank_balance_minor, bank_sequence, verdict,
                       explanation)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                           $19, $20)""",
                self._token.chain_id,
                self._token.address,
                self._token.account_id,
                self._token.currency,
                snapshot.block_number,
                snapshot.block_hash,
                books.reserve,
                books.supply,
                books.paid_not_burned,
                books.burned_not_paid,
                books.funded_not_minted,
                books.suspense,
                books.fees,
                books.deficit,
                chain.total_supply,
                chain.event_supply,
                bank.balance if bank else None,
                bank.cut if bank else None,
                verdict.verdict,
                verdict.explanation,
            )
            if verdict.verdict is Verdict.DRIFT:
                log.error(
                    "proof_drift", block=snapshot.block_number, explanation=verdict.explanation
                )
                kind = (
                    "supply_mismatch" if books.supply != chain.total_supply else "balance_mismatch"
                )
                await open_break(connection, Break(kind, "critical", "proof", verdict.explanation))
                await halts.halt(connection, "mint", f"{kind}: the proof shows drift", "prover")
