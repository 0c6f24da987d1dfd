"""Removes what nobody needs any more, where the settings say how long it is kept: the oldest rows of the feed, and
what was orphaned and is final since.

Now and then what is believed is written down as a snapshot (``chain.take_snapshot``). Below one that is old
enough, and that every consumer has passed, ``chain.prune`` removes a bounded number of rows in each transaction;
Postgres asks of each of them whether it may go. Nothing is remembered but what is stored, so a kill costs nothing.
"""

from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from indexer.database import Connection, reachable
from indexer.lease import Fence, fenced

log = structlog.get_logger()

SNAPSHOT_EVERY_S: Final = 6 * 3600.0
ROWS_A_STEP: Final = 1000

NEWEST = """
    SELECT c.feed_seq, n.seq, extract(epoch FROM clock_timestamp() - n.made_at)::float8 AS age_s
    FROM chain.cursor c LEFT JOIN LATERAL (
        SELECT seq, made_at FROM chain.snapshot s WHERE s.chain_id = c.chain_id ORDER BY seq DESC LIMIT 1) AS n ON true
    WHERE c.chain_id = $1 AND c.finalized_number IS NOT NULL"""
OLD_ENOUGH = """
    SELECT max(n.seq) FROM chain.snapshot n
    WHERE n.chain_id = $1 AND n.made_at <= clock_timestamp() - make_interval(secs => $2)"""
PASSED = OLD_ENOUGH + " AND n.seq <= ALL (SELECT c.seq FROM chain.consumer c WHERE c.chain_id = $1)"
TAKE = "SELECT chain.take_snapshot($1)"
PRUNE = "SELECT chain.prune($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """``keep_s``: how old a snapshot must be before what lies below it goes. ``max_rows`` go in a transaction, or
    somewhat more where many were orphaned at one height."""

    keep_s: float
    snapshot_every_s: float = SNAPSHOT_EVERY_S
    max_rows: int = ROWS_A_STEP

    def __post_init__(self) -> None:
        if self.keep_s < 0 or self.snapshot_every_s < 0:
            raise ValueError("times are not negative")
        if not 1 <= self.max_rows <= 10_000:
            raise ValueError(f"max_rows is {self.max_rows}, not 1 to 10000")


class Retention:
    """Of one chain, under the lease of its role ``follow:…``."""

    def __init__(self, pool: asyncpg.Pool, chain_id: int, settings: RetentionSettings) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._settings = settings
        self._done_to: int | None = None

    async def step(self, fence: Fence) -> bool:
        """Take a snapshot if one is due, and remove some rows; answers whether there may be more of them."""
        async with reachable(), self._pool.acquire() as connection:
            due = await self._is_due(connection)
        if due:
            async with fenced(self._pool, fence) as connection:
                seq = await connection.fetchval(TAKE, self._chain_id)
            log.info("snapshot_taken", chain_id=self._chain_id, seq=seq)
        async with fenced(self._pool, fence) as connection:
            to_seq = await connection.fetchval(PASSED, self._chain_id, self._settings.keep_s)
            if to_seq is None or to_seq == self._done_to:
                return False
            removed: int = await connection.fetchval(
                PRUNE, self._chain_id, to_seq, self._settings.max_rows
            )
        log.debug("pruned", chain_id=self._chain_id, to_seq=to_seq, rows=removed)
        if not removed:
            self._done_to = to_seq
        return removed > 0

    async def _is_due(self, connection: Connection) -> bool:
        """Whether the newest snapshot is old, and something has happened since."""
        row = await connection.fetchrow(NEWEST, self._chain_id)
        if row is None:
            return False
        every_s = self._settings.snapshot_every_s
        return row["seq"] is None or (row["seq"] < row["feed_seq"] and row["age_s"] >= every_s)
