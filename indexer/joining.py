"""Letting a source join: what it lacks between its coverage and our head, read block by block.

It happens inside the follower's step, so the head does not move meanwhile, however long it takes.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import asyncpg
import structlog

from indexer import writer
from indexer.batch import together
from indexer.block import BlockRef, Header
from indexer.block_reader import BlockReader
from indexer.change import FeedEntry, Joining
from indexer.children import Children, parent_of
from indexer.cursor import Cursor
from indexer.database import reachable
from indexer.errors import BlockVanished, SourceMoved
from indexer.hexadecimal import to_data
from indexer.lease import Fence
from indexer.provider import Provider
from indexer.rpc import Rpc
from indexer.source import Source

log = structlog.get_logger()

# Further behind than this, the backfill goes on first.
MAX_BLOCKS: Final = 1024

OURS = """
    SELECT number, hash FROM chain.block
    WHERE chain_id = $1 AND canonical AND number >= $2 ORDER BY number LIMIT $3"""
COVERED = """
    SELECT from_block, to_block FROM chain.coverage WHERE source_id = $1 ORDER BY from_block"""


async def join_one(
    pool: asyncpg.Pool, fence: Fence, provider: Provider, live: Sequence[Source], cursor: Cursor
) -> Cursor | None:
    """Let the first source join that has caught up; answers with the cursor after it, None if there was none.
    ``live`` are all sources of the chain. Raises as :func:`indexer.writer.write` does."""
    for source in live:
        if not may_join(source, live):
            continue
        blocks = await missing_blocks(pool, source, cursor)
        if blocks is None:
            continue
        with provider.relied_on():
            joining = await prepare(pool, provider.rpc, source, live, cursor, blocks)
        try:
            after = await writer.write_join(pool, fence, joining)
        except SourceMoved:
            # Its backfill has gone on meanwhile, and has left less to be read.
            continue
        log.info("source_joined", source=source.name, version=source.version)
        return after
    return None


def may_join(source: Source, sources: Sequence[Source]) -> bool:
    """Whether nothing but blocks is missing: a factory joins before its children."""
    parent = parent_of(source, sources)
    return (
        not source.joined
        and source.indexed
        and source.start_block is not None
        and (parent is None or parent.joined)
    )


async def missing_blocks(
    pool: asyncpg.Pool, source: Source, cursor: Cursor
) -> list[BlockRef] | None:
    """Our blocks that a source lacks, lowest first; None if they are too many, or not all ours."""
    if cursor.head is None:
        return [] if source.next_block >= cursor.start_block else None
    first, head = source.next_block, cursor.head.number
    if head - first >= MAX_BLOCKS:
        return None
    async with reachable(), pool.acquire() as connection:
        rows = await connection.fetch(OURS, source.contract.chain_id, first, MAX_BLOCKS)
    blocks = [BlockRef(*row) for row in rows]
    # Blocks below the first that was followed one by one, or that were leaped over, are not among them.
    return blocks if len(blocks) == max(0, head - first + 1) else None


async def prepare(
    pool: asyncpg.Pool,
    rpc: Rpc,
    source: Source,
    sources: Sequence[Source],
    cursor: Cursor,
    blocks: Sequence[BlockRef],
) -> Joining:
    """Read the rows of ``blocks``. ``sources`` are all of the chain, ``source`` among them."""
    children = Children(sources)
    async with reachable(), pool.acquire() as connection:
        await children.load(connection)
        covered = await connection.fetch(COVERED, source.source_id)
    headers = await together(partial(_header, rpc), blocks)
    return Joining(
        source=source,
        head=cursor.head,
        coverage=tuple(
            FeedEntry("apply", row["from_block"], row["to_block"], None, source.source_id)
            for row in covered
        ),
        blocks=tuple(await BlockReader([source], children).read(rpc, headers)),
        replaced=tuple(
            one.source_id
            for one in sources
            if one.name == source.name and one.joined and one.source_id != source.source_id
        ),
    )


async def _header(rpc: Rpc, block: BlockRef) -> Header:
    header = await rpc.header(block.hash)
    if header is None:
        raise BlockVanished(block=to_data(block.hash))
    return header
