"""Consumes the chain's feed: what was seen, taken back, or made final becomes transitions of operations.

The consumer's cursor moves in the same transaction as its effects, so every row acts exactly once.
Rows of the feed name blocks; the events are read from the event tables by block hash, where orphaned
ones still stand, so that a retraction can be read too.
"""

import asyncpg
import structlog

from bridge import cancellations
from bridge.finality import CONSUMER, was_final
from bridge.issuances import Issuances
from bridge.matches import revoke_matches
from bridge.operations import Kind
from bridge.redemptions import Redemptions
from bridge.token import Token
from indexer import feed
from indexer.database import Connection
from indexer.feed import FeedRow
from indexer.lease import Fence, fenced

log = structlog.get_logger()

SOURCE = """
    SELECT s.source_id, s.joined_seq FROM chain.source s JOIN chain.cursor c USING (chain_id)
    WHERE s.chain_id = $1 AND s.name = $2 AND s.version = 1"""
TAKE_BACK = """
    UPDATE bridge.operation SET state = $2, reason = 'its block was orphaned',
        event_block_hash = NULL, event_block_number = NULL, event_log_index = NULL
    WHERE operation_id = ANY ($1)"""


class Observer:
    """The bridge's consumer of the feed, under the lease of role ``operate``."""

    def __init__(self, pool: asyncpg.Pool, token: Token, batch: int = 20) -> None:
        self._pool = pool
        self._token = token
        self._batch = batch
        self._issuances = Issuances(token)
        self._redemptions = Redemptions(token) if token.kind == "deposit" else None

    async def step(self, fence: Fence) -> bool:
        """Act on the next rows of the feed; answers whether there were any."""
        async with fenced(self._pool, fence) as connection:
            source = await connection.fetchrow(
                SOURCE, self._token.chain_id, self._token.contract_name
            )
            if source is None:
                return False  # the follower has not opened the chain's cursor: there is no feed yet
            position, snapshot = await feed.enter(
                connection, CONSUMER, self._token.chain_id, source["source_id"]
            )
            rows = await feed.read(connection, self._token.chain_id, position, self._batch)
            for row in [*snapshot, *rows]:
                if row.speaks_for(source["source_id"], source["joined_seq"]):
                    await self._act(connection, row)
            if rows:
                await feed.advance(
                    connection, CONSUMER, self._token.chain_id, position, rows[-1].seq
                )
        return bool(snapshot or rows)

    async def _act(self, connection: Connection, row: FeedRow) -> None:
        if row.op == "apply":
            await self._issuances.see(connection, row)
            if self._redemptions is not None:
                await self._redemptions.see(connection, row)
            # Of a range, and of what the token brought along when it joined or a snapshot tells, no finalization
            # is told later.
            if row.is_range or (
                row.source_id is not None and await was_final(connection, self._token, row)
            ):
                await self._finalize(connection, row)
        elif row.op == "retract":
            await self._take_back(connection, row)
        else:
            await self._finalize(connection, row)

    async def _finalize(self, connection: Connection, row: FeedRow) -> None:
        await self._issuances.finalize(connection, row.to_block)
        if self._redemptions is not None:
            await self._redemptions.finalize(connection, row.to_block)
            await cancellations.finish(connection, self._token, row.to_block)

    async def _take_back(self, connection: Connection, row: FeedRow) -> None:
        undone = await connection.fetch(
            """SELECT operation_id, kind FROM bridge.operation
               WHERE chain_id = $1 AND event_block_hash = $2
                 AND (kind, state) IN (('issuance', 'mined'), ('redemption', 'requested')) FOR UPDATE""",
            self._token.chain_id,
            row.block_hash,
        )
        for kind, state in ((Kind.ISSUANCE, "submitted"), (Kind.REDEMPTION, "dropped")):
            ids = [one["operation_id"] for one in undone if one["kind"] == kind]
            if ids:
                await revoke_matches(connection, ids)
                await connection.execute(TAKE_BACK, ids, state)
        if undone:
            log.warning("block_orphaned", block=row.from_block, operations=len(undone))
