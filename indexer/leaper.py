"""Leaping over final blocks: after a long absence, and at a first start, our head is far below the finalized
block, and what is between them is read in ranges."""

from collections.abc import Sequence

import asyncpg

from indexer import proof
from indexer.anchor import Anchor
from indexer.block import BlockRef, Header
from indexer.change import Leap
from indexer.children import Children
from indexer.contract import strictest
from indexer.cursor import Cursor
from indexer.database import reachable
from indexer.errors import BlockVanished, FinalityDisputed
from indexer.hexadecimal import to_data
from indexer.provider import Provider
from indexer.providers import Providers
from indexer.query import LogQuery
from indexer.range_reader import Batch, RangeReader
from indexer.recorder import Recorder
from indexer.source import Source
from indexer.spans import Span

ORPHANS_ABOVE = """
    SELECT EXISTS (SELECT FROM chain.block WHERE chain_id = $1 AND NOT canonical AND number > $2)"""


class Leaper:
    """Keeps what it reads ahead between two steps of the follower; :meth:`close` drops it."""

    def __init__(
        self, pool: asyncpg.Pool, providers: Providers, chain_id: int, quorum: int
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._chain_id = chain_id
        self._quorum = quorum
        self._reader: RangeReader | None = None
        self._sources: tuple[Source, ...] = ()

    async def close(self) -> None:
        """End what is under way; what was not written is read again."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def next(
        self,
        provider: Provider,
        cursor: Cursor,
        sources: Sequence[Source],
        final: BlockRef,
        node_head_number: int,
        least_blocks: int,
    ) -> Leap | None:
        """The next range to be written, from our head on. None if ``final`` is less than ``least_blocks``
        away, or if our newest blocks are not on the way there, which is for the judge of reorgs to say."""
        first = cursor.start_block if cursor.head is None else cursor.head.number + 1
        if self._reader is None:
            if final.number - first < least_blocks or not await self._may_leap(provider, cursor):
                return None
            self._reader = await self._begin(sources, Span(first, final.number), final)
            self._sources = tuple(sources)
        if self._reader.next_block != first:
            raise ValueError(f"read ahead from {self._reader.next_block}, our head is {first - 1}")
        batch = await self._reader.next()
        if batch is None:
            await self.close()
            return None
        to = await self._agreed(provider, self._reader.anchor, batch.last)
        return Leap(
            chain_id=self._chain_id,
            based_on=cursor.head,
            headers=_headers(batch, cursor, to),
            sources=self._sources,
            rows=batch.rows,
            node_head_number=node_head_number,
        )

    async def _agreed(self, provider: Provider, anchor: Anchor, number: int) -> Header:
        """The header of the range's last block, which a quorum has: if it is among the newest, our final block's
        own ancestor, whatever a node that answers by number takes for it."""
        newest = await anchor.headers(Span(number, number))
        to = newest[0] if newest else await provider.rpc.header(number)
        if to is None:
            raise BlockVanished(block=number)
        if not await self._providers.agree(self._quorum, to.ref):
            says = f"{provider.name} has {to_data(to.hash)}, and too few others have it"
            raise FinalityDisputed(number=to.number, says=says)
        return to

    async def _may_leap(self, provider: Provider, cursor: Cursor) -> bool:
        """Our head is on the node's chain, and nothing above it is stored already as an orphan, which the
        judge would flag again where a leap would store it twice."""
        if cursor.head is None:
            return True
        header = await provider.rpc.header(cursor.head.number)
        if header is None or header.hash != cursor.head.hash:
            return False
        async with reachable(), self._pool.acquire() as connection:
            return not await connection.fetchval(ORPHANS_ABOVE, self._chain_id, cursor.head.number)

    async def _begin(self, sources: Sequence[Source], span: Span, final: BlockRef) -> RangeReader:
        children = Children(sources)
        async with reachable(), self._pool.acquire() as connection:
            await children.load(connection)
        verify = strictest(source.contract for source in sources)
        # A child may be born in the very range that it acts in, so all births are read first.
        await children.learn_range(self._providers, span, verify, final)
        query = LogQuery.of(sources, children.born)
        recorder = Recorder(sources, children.born)
        reader = RangeReader(self._providers, query, recorder, span, verify, final=final)
        return await reader.__aenter__()


def _headers(batch: Batch, cursor: Cursor, to: Header) -> tuple[Header, ...]:
    """What is stored of the range: every header that was verified, so that whoever holds a receipt of a block
    in it finds the block. They have to lead from our head to the agreed one."""
    if not batch.headers:
        return (to,)
    proof.headers_linked(batch.headers, cursor.head.hash if cursor.head else None, to.hash)
    return batch.headers
