"""Sees transactions through: what finalized blocks say of the nonces that the journal gave out."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import structlog

from bridge import journal
from bridge.errors import Fatal, Retryable
from bridge.journal import Attempt
from bridge.node import Node, Receipt
from bridge.observer import consumed_finality
from bridge.token import Token
from indexer.lease import Fence, fenced

log = structlog.get_logger()

MISSES_BEFORE_HALT: Final = 6
"""A node's index of receipts may lag; with the loop's growing pauses, six misses span about half a minute."""


class SignerUnknownError(Fatal):
    """The signer has sent transactions that this database does not know.

    The database was restored from an old copy, or the key is used elsewhere.
    """


class Resolver:
    """Gives each transaction its outcome, once a finalized block has decided it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        token: Token,
        signer: bytes,
    ) -> None:
        self._pool = pool
        self._node = node
        self._token = token
        self._signer = signer
        self._missed = 0

    async def step(self, fence: Fence) -> bool:
        """Resolve the nonces that the finalized chain has passed; answers whether there were any."""
        # Only as far as the observer has come: it must have taken back what was orphaned before a
        # revert may give the operation to another transaction.
        final = await consumed_finality(self._pool, self._token)
        row = await self._pool.fetchrow(
            """SELECT s.next_nonce,
                      EXISTS (SELECT FROM bridge.tx t WHERE t.chain_id = s.chain_id AND t.signer = s.address
                              AND t.outcome IS NULL) AS any_open
               FROM bridge.signer s WHERE s.chain_id = $1 AND s.address = $2""",
            self._token.chain_id,
            self._signer,
        )
        if row is None or final is None or not row["any_open"]:
            return False
        finalized_nonce = await self._node.nonce(self._signer, final.number)
        if finalized_nonce > row["next_nonce"]:
            await self.refuse_unknown_nonces(row["next_nonce"])
        async with self._pool.acquire() as connection:
            attempts = await journal.unresolved(
                connection, self._token.chain_id, self._signer, finalized_nonce
            )
        by_tx: dict[int, list[Attempt]] = {}
        for attempt in attempts:
            by_tx.setdefault(attempt.tx_id, []).append(attempt)
        for group in by_tx.values():
            await self._resolve_one(fence, group, final.number)
        return bool(by_tx)

    async def _resolve_one(
        self, fence: Fence, attempts: Sequence[Attempt], finalized_number: int
    ) -> None:
        """Find the attempt that the finalized chain holds; a nonce passed without one is not ours."""
        for attempt in attempts:
            receipt = await self._node.receipt(attempt.hash or b"")
            if receipt is None:
                continue
            if receipt.block_number <= finalized_number:
                await self._record_outcome(fence, attempt, receipt)
            self._missed = 0
            return
        self._missed += 1
        if self._missed < MISSES_BEFORE_HALT:
            raise Retryable(
                f"nonce {attempts[0].request.nonce} is final, and the node has no receipt of ours for it"
            )
        raise SignerUnknownError(
            f"nonce {attempts[0].request.nonce} of signer 0x{self._signer.hex()} is final with a transaction that "
            "is not in the journal: the key is used elsewhere; retire it"
        )

    async def _record_outcome(self, fence: Fence, attempt: Attempt, receipt: Receipt) -> None:
        outcome = "success" if receipt.succeeded else "reverted"
        number = receipt.block_number
        async with fenced(self._pool, fence) as connection:
            if not await connection.fetchval(
                "SELECT chain.is_canonical($1, $2, $3)",
                self._token.chain_id,
                number,
                receipt.block_hash,
            ):
                raise Retryable(
                    f"the node's receipt of transaction {attempt.tx_id} names another block {number} than ours"
                )
            await journal.record_outcome(connection, attempt, outcome, number)
            if outcome == "reverted":
                log.warning(
                    "transaction_reverted",
                    tx_id=attempt.tx_id,
                    purpose=attempt.purpose,
                    block=number,
                )
                await connection.execute(
                    """UPDATE bridge.operation
                       SET state = CASE state WHEN 'burning' THEN 'booked' ELSE 'approved' END,
                           reason = 'the transaction reverted for good'
                       WHERE op_id = $1 AND state IN ('signed', 'submitted', 'burning')""",
                    attempt.op_id,
                )

    async def refuse_unknown_nonces(self, next_nonce: int) -> None:
        """Raise :class:`SignerUnknownError` if the chain has seen a nonce that the journal never gave out."""
        chain_nonce = await self._node.nonce(self._signer, "latest")
        if chain_nonce > next_nonce:
            raise SignerUnknownError(
                f"signer 0x{self._signer.hex()} is at nonce {chain_nonce} on the chain, "
                f"the journal knows {next_nonce}: "
                "restore the newest database, or retire this key and use a new one"
            )
