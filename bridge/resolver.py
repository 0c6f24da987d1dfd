"""Sees transactions through: what finalized blocks say of the nonces that the journal gave out."""

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.errors import Retryable
from bridge.finality import consumed_finality
from bridge.journal import Attempt, Resolved, TxOutcome
from bridge.node import Node
from bridge.state_loss import foreign_nonce
from bridge.token import Token
from indexer.block import BlockRef
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# A node's index of receipts may lag; with the loop's growing pauses, six misses span about half a minute.
MISSES_BEFORE_LOSS: Final = 6
LIMIT: Final = 256

# The token's logs are proved complete, so one of ours in a final block is the receipt.
SEEN = """
    SELECT DISTINCT ON (t.tx_id) t.tx_id, a.hash, l.block_number
    FROM bridge.tx t JOIN bridge.tx_attempt a USING (tx_id)
    JOIN chain.log l ON l.tx_hash = a.hash AND l.chain_id = t.chain_id AND l.canonical
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL AND l.block_number <= $3
    ORDER BY t.tx_id LIMIT $4"""
OPEN = """
    SELECT EXISTS (SELECT FROM bridge.tx WHERE chain_id = $1 AND signer = $2 AND outcome IS NULL)"""
# What was not done for them is not to be waited for any more: of what failed or was cancelled everything, of a batch
# what the token passed over.
RELEASE = """
    WITH refused AS MATERIALIZED (
        SELECT t.tx_id, bridge.refused_by(t) AS op_id FROM bridge.tx t
        WHERE t.tx_id = ANY ($1) AND t.outcome = 'success')
    UPDATE bridge.tx_operation l SET released = true FROM bridge.tx t
    WHERE t.tx_id = ANY ($1) AND l.tx_id = t.tx_id AND NOT l.released
      AND (t.outcome <> 'success' OR (l.tx_id, l.op_id) IN (SELECT tx_id, op_id FROM refused))
    RETURNING l.op_id"""
FREE = """
    UPDATE bridge.operation SET state = CASE state WHEN 'burning' THEN 'booked' ELSE 'approved' END,
        reason = 'a final block shows that nothing was done for it'
    WHERE op_id = ANY ($1) AND state IN ('reserved', 'signed', 'submitted', 'burning')"""


class Resolver:
    """Gives each transaction its outcome, once a finalized block has decided it."""

    def __init__(self, pool: asyncpg.Pool, node: Node, token: Token, signer: bytes) -> None:
        self._pool = pool
        self._node = node
        self._token = token
        self._signer = signer
        self._missed = 0
        self._asked: BlockRef | None = None

    def forget(self) -> None:
        """Look at the newest final block once more: nonces that it has passed may have been given up meanwhile."""
        self._asked = None

    async def step(self, fence: Fence) -> bool:
        """Resolve the nonces that the finalized chain has passed; answers whether there were any."""
        # Only as far as the observer has come: it must have taken back what was orphaned before a
        # revert may give an operation to another transaction.
        final = await consumed_finality(self._pool, self._token)
        # What has been journalled since it was looked at cannot stand in it.
        if final is None or final == self._asked:
            return False
        chain_id = self._token.chain_id
        seen = await self._pool.fetch(SEEN, chain_id, self._signer, final.number, LIMIT)
        if seen:
            await self._record(fence, [Resolved(row[0], "success", row[1], row[2]) for row in seen])
            return True
        if not await self._pool.fetchval(OPEN, chain_id, self._signer):
            self._asked = final
            return False
        finalized_nonce = await self._node.nonce(self._signer, final.number)
        bare = await self._pass_bare(fence, finalized_nonce, final)
        passed = await self._passed(finalized_nonce)
        if passed:
            await self._resolve(fence, passed, final)
        if bare or passed:
            return True
        self._asked = final
        return False

    async def _pass_bare(self, fence: Fence, finalized_nonce: int, final: BlockRef) -> bool:
        """What was never signed here, and whose nonce is final all the same; answers whether there was any."""
        async with self._pool.acquire() as connection:
            rows = await journal.bare(
                connection, self._token.chain_id, self._signer, finalized_nonce, LIMIT
            )
        losses = [
            foreign_nonce(self._signer, row["nonce"]) for row in rows if row["purpose"] != "unknown"
        ]
        if rows:
            foreign = [Resolved(row["tx_id"], "foreign", None, final.number) for row in rows]
            await self._record(fence, foreign, losses[:1])
        return bool(rows)

    async def _passed(self, finalized_nonce: int) -> Mapping[int, Sequence[Attempt]]:
        """Attempts by their transaction, of nonces that the finalized chain has passed without a log of ours."""
        async with self._pool.acquire() as connection:
            attempts = await journal.unresolved(
                connection, self._token.chain_id, self._signer, finalized_nonce, LIMIT
            )
        by_tx: dict[int, list[Attempt]] = {}
        for attempt in attempts:
            by_tx.setdefault(attempt.tx_id, []).append(attempt)
        return by_tx

    async def _resolve(
        self, fence: Fence, passed: Mapping[int, Sequence[Attempt]], final: BlockRef
    ) -> None:
        for attempts in passed.values():
            resolved = await self._find(attempts, final)
            if resolved is not None:
                first = attempts[0]
                is_loss = resolved.outcome == "foreign" and first.purpose != "unknown"
                losses = [foreign_nonce(self._signer, first.request.nonce)] if is_loss else []
                await self._record(fence, [resolved], losses)

    async def _find(self, attempts: Sequence[Attempt], final: BlockRef) -> Resolved | None:
        """The attempt that the finalized chain holds; a nonce passed without one is not ours."""
        for attempt in attempts:
            receipt = await self._node.receipt(attempt.hash or b"")
            if receipt is None:
                continue
            self._missed = 0
            if receipt.block_number > final.number:
                return None
            async with self._pool.acquire() as connection:
                await self._require_ours(
                    connection, attempt, receipt.block_number, receipt.block_hash
                )
            outcome: TxOutcome = "success" if receipt.succeeded else "reverted"
            if attempt.cancels:
                outcome = "cancelled"
            return Resolved(attempt.tx_id, outcome, attempt.hash or b"", receipt.block_number)
        first = attempts[0]
        self._missed += 1
        if first.purpose != "unknown" and self._missed < MISSES_BEFORE_LOSS:
            raise Retryable(
                f"nonce {first.request.nonce} is final, and the node has no receipt of ours for it"
            )
        # What took it can never be ours any more, so what this one carried is free.
        self._missed = 0
        return Resolved(first.tx_id, "foreign", None, final.number)

    async def _require_ours(
        self, connection: Connection, attempt: Attempt, number: int, block_hash: bytes
    ) -> None:
        is_ours = await connection.fetchval(
            "SELECT chain.is_canonical($1, $2, $3)", self._token.chain_id, number, block_hash
        )
        if not is_ours:
            raise Retryable(
                f"the node's receipt of transaction {attempt.tx_id} names another block {number} than ours"
            )

    async def _record(
        self, fence: Fence, resolved: Sequence[Resolved], losses: Sequence[str] = ()
    ) -> None:
        async with fenced(self._pool, fence) as connection:
            await halts.latch(connection, losses, "resolver")
            await journal.record_outcomes(connection, resolved)
            freed = await connection.fetch(RELEASE, [one.tx_id for one in resolved])
            if freed:
                await connection.execute(FREE, [row["op_id"] for row in freed])
        for one in resolved:
            if one.outcome != "success":
                log.warning(
                    "transaction_without_effect",
                    tx_id=one.tx_id,
                    outcome=one.outcome,
                    block=one.block_number,
                )
        if freed:
            log.warning("operations_released", operations=len(freed))
