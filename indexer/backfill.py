"""Gives sources their history: final blocks, in ranges, until they have caught up and may join.

Sources whose next block is the same are read together. A source with a factory follows behind it, so that
all its children are known when a range is read. What has been written is told by ``chain.coverage`` alone;
nothing else is kept between two runs, so it is taken up wherever it was left.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from indexer import cursor as cursors
from indexer import deployment, sources, writer
from indexer.children import Children, parent_of
from indexer.contract import Contract, strictest
from indexer.cursor import Cursor
from indexer.database import reachable
from indexer.errors import SourceMoved
from indexer.lease import Fence
from indexer.providers import Providers
from indexer.query import LogQuery
from indexer.range_reader import RangeReader
from indexer.recorder import Recorder
from indexer.source import Source
from indexer.spans import Span

log = structlog.get_logger()

INDEX_TIMEOUT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _Run:
    """Sources that are read together, over one range."""

    sources: tuple[Source, ...]
    reader: RangeReader
    span: Span


class Backfill:
    """Of one chain, under the lease of its role ``follow:…``, beside the follower.

    ``caught_up`` is set when sources may be ready to join, so that the follower need not look all the time.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        providers: Providers,
        contracts: Sequence[Contract],
        chain_id: int,
        caught_up: asyncio.Event | None = None,
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._contracts = tuple(contracts)
        self._chain_id = chain_id
        self._caught_up = caught_up or asyncio.Event()
        self._run: _Run | None = None

    async def step(self, fence: Fence) -> bool:
        """Write one batch; answers whether there is more to do now."""
        try:
            if self._run is None:
                return await self._begin(fence)
            return await self._advance(fence, self._run)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End what is under way; what was not written is read again."""
        run, self._run = self._run, None
        if run is not None:
            await run.reader.close()

    async def _advance(self, fence: Fence, run: _Run) -> bool:
        batch = await run.reader.next()
        if batch is None:
            await self.close()
            self._caught_up.set()
            return True
        try:
            await writer.write_range(
                self._pool, fence, run.sources, batch.first, batch.last, batch.rows
            )
        except SourceMoved:
            # One of them has joined meanwhile; what the others lack is found anew.
            await self.close()
            return True
        if batch.rows.undecoded:
            log.warning("undecoded_logs", count=batch.rows.undecoded, to_block=batch.last)
        log.debug("backfilled", to_block=batch.last, of_block=run.span.last, rows=batch.rows.count)
        return True

    async def _begin(self, fence: Fence) -> bool:
        """Find what is to be read next, and begin; answers whether there was anything to do."""
        cursor, live = await self._position()
        if cursor is None or cursor.finalized is None:
            return False
        final = cursor.finalized.number
        waiting = [source for source in live if not source.joined]
        for source in waiting:
            if source.start_block is None and await self._find_start(fence, source, live, final):
                return True
        group, last = next_group(waiting, live, final)
        if not group:
            return await self._build_indexes(fence, waiting, final)
        await self._make_partitions(group, last)
        children = Children(live)
        async with reachable(), self._pool.acquire() as connection:
            await children.load(connection, last)
        query = LogQuery.of(group, children.born)
        verify = strictest(source.contract for source in group)
        span = Span(group[0].next_block, last)
        recorder = Recorder(group, children.born)
        reader = RangeReader(self._providers, query, recorder, span, verify, final=cursor.finalized)
        self._run = _Run(tuple(group), await reader.__aenter__(), span)
        log.info(
            "backfill",
            sources=[source.name for source in group],
            from_block=span.first,
            to_block=span.last,
        )
        return True

    async def _position(self) -> tuple[Cursor | None, list[Source]]:
        async with reachable(), self._pool.acquire() as connection:
            cursor = await cursors.read(connection, self._chain_id)
            return cursor, await sources.live(connection, self._chain_id, self._contracts)

    async def _find_start(
        self, fence: Fence, source: Source, live: Sequence[Source], final: int
    ) -> bool:
        """Where a source begins that does not say so; False if its factory's start has to be found first."""
        parent = parent_of(source, live)
        if parent is not None and parent.start_block is None:
            return False
        start = 0 if parent is None or parent.start_block is None else parent.start_block
        if source.contract.addresses:
            rpc = self._providers.best().rpc
            start = await deployment.first_block(rpc, source.name, source.contract.addresses, final)
        await sources.begin(self._pool, fence, source.source_id, start)
        log.info("start_block_found", source=source.name, start_block=start)
        return True

    async def _make_partitions(self, group: Sequence[Source], last: int) -> None:
        for source in group:
            blocks = source.contract.options.partition_blocks
            if blocks is not None:
                async with reachable(), self._pool.acquire() as connection:
                    await connection.execute(
                        "SELECT chain.make_partitions($1, $2)", source.source_id, last + blocks
                    )

    async def _build_indexes(self, fence: Fence, waiting: Sequence[Source], final: int) -> bool:
        """Of sources that are covered: an index is cheaper to build at the end than row by row."""
        due = [
            one
            for one in waiting
            if not one.indexed and one.start_block is not None and one.next_block > final
        ]
        for source in due:
            log.info("building_indexes", source=source.name)
            async with reachable(), self._pool.acquire() as connection:
                await connection.execute(
                    "SELECT chain.build_indexes($1)", source.source_id, timeout=INDEX_TIMEOUT_S
                )
            await sources.indexed(self._pool, fence, source.source_id)
            self._caught_up.set()
        return bool(due)


def next_group(
    waiting: Sequence[Source], live: Sequence[Source], final: int
) -> tuple[list[Source], int]:
    """The sources to be read next, all from one block on, and the last block to be read for them; none if
    all have caught up. ``final`` is the newest final block."""
    limits = {source.source_id: _limit(source, live, final) for source in waiting}
    behind = [
        one
        for one in waiting
        if one.start_block is not None and one.next_block <= limits[one.source_id]
    ]
    if not behind:
        return [], final
    first = min(source.next_block for source in behind)
    group = [source for source in behind if source.next_block == first]
    ends = [limits[source.source_id] for source in group]
    later = [one.next_block - 1 for one in behind if one.next_block > first]
    return group, min([*ends, *later])


def _limit(source: Source, live: Sequence[Source], final: int) -> int:
    """How far a source can be read: its factory's events come first."""
    parent = parent_of(source, live)
    if parent is None or parent.joined:
        return final
    return min(final, parent.next_block - 1) if parent.start_block is not None else -1
