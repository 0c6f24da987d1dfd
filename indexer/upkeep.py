"""What has to be done now and then beside following: partitions ahead of time, the views of sources that have
taken another's place, and removing what is not kept any longer."""

from collections.abc import Sequence

import asyncpg
import structlog

from indexer import cursor as cursors
from indexer import sources
from indexer.contract import Contract
from indexer.database import reachable
from indexer.lease import Fence, fenced
from indexer.retention import Retention, RetentionSettings
from indexer.source import Source

log = structlog.get_logger()


class Upkeep:
    """Of one chain, under the lease of its role ``follow:…``. ``retention`` None: everything is kept."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        contracts: Sequence[Contract],
        chain_id: int,
        retention: RetentionSettings | None = None,
    ) -> None:
        self._pool = pool
        self._retention = None if retention is None else Retention(pool, chain_id, retention)
        self._contracts = tuple(contracts)
        self._chain_id = chain_id
        self._partitioned_to: dict[int, int] = {}

    async def step(self, fence: Fence) -> bool:
        """Do what is due; answers whether there is more to be removed."""
        async with reachable(), self._pool.acquire() as connection:
            cursor = await cursors.read(connection, self._chain_id)
            live = await sources.live(connection, self._chain_id, self._contracts)
        for source in live:
            if source.joined and not source.published:
                await self._publish(fence, source)
            if cursor is not None and cursor.head is not None:
                await self._make_partitions(source, cursor.head.number)
        return False if self._retention is None else await self._retention.step(fence)

    async def _publish(self, fence: Fence, source: Source) -> None:
        """Give the views to a version that has joined; who reads them just now is waited for, and not long."""
        async with fenced(self._pool, fence) as connection:
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute("SELECT chain.publish($1)", source.source_id)
        log.info("source_published", source=source.name, version=source.version)

    async def _make_partitions(self, source: Source, head_number: int) -> None:
        """One ahead of the head at least, so that no block ever waits for its partition."""
        blocks = source.contract.options.partition_blocks
        if blocks is None or source.start_block is None:
            return
        if self._partitioned_to.get(source.source_id, -1) >= head_number + blocks:
            return
        through = head_number + 2 * blocks
        async with reachable(), self._pool.acquire() as connection:
            made = await connection.fetchval(
                "SELECT chain.make_partitions($1, $2)", source.source_id, through
            )
        self._partitioned_to[source.source_id] = through
        if made:
            log.info("partitions_made", source=source.name, count=made, through_block=through)
