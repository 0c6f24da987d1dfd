"""The cursor: where we are on a chain, and the window of blocks above what is final.

The row itself is opened here once and moved by ``indexer.writer`` alone.
"""

from dataclasses import dataclass, replace
from typing import Self

import asyncpg

from indexer.block import BlockRef
from indexer.database import Connection, reachable
from indexer.lease import Fence, fenced
from indexer.reorg import Window

READ = """
    SELECT genesis_hash, start_block, head_number, head_hash, safe_number, finalized_number,
           finalized_hash, feed_seq, node_head_number
    FROM chain.cursor WHERE chain_id = $1"""
WINDOW = """
    SELECT number, hash FROM chain.block
    WHERE chain_id = $1 AND canonical AND number >= $2 ORDER BY number"""
OPEN = """
    INSERT INTO chain.cursor (chain_id, genesis_hash, start_block) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What ``chain.cursor`` says of one chain. Numbers are block heights."""

    genesis_hash: bytes
    start_block: int
    head: BlockRef | None
    safe_number: int | None
    finalized: BlockRef | None
    feed_seq: int
    node_head_number: int | None

    def fed(self, feed_rows: int) -> Self:
        """The cursor after ``feed_rows`` more rows of the feed."""
        return replace(self, feed_seq=self.feed_seq + feed_rows)


async def read(connection: Connection, chain_id: int) -> Cursor | None:
    """None before the chain is first followed."""
    row = await connection.fetchrow(READ, chain_id)
    return None if row is None else from_row(row)


def from_row(row: asyncpg.Record) -> Cursor:
    return Cursor(
        genesis_hash=row["genesis_hash"],
        start_block=row["start_block"],
        head=_ref(row["head_number"], row["head_hash"]),
        safe_number=row["safe_number"],
        finalized=_ref(row["finalized_number"], row["finalized_hash"]),
        feed_seq=row["feed_seq"],
        node_head_number=row["node_head_number"],
    )


async def open_chain(
    pool: asyncpg.Pool, fence: Fence, chain_id: int, genesis_hash: bytes, start_block: int
) -> None:
    """Begin to follow a chain; nothing happens if it was begun before."""
    async with fenced(pool, fence) as connection:
        await connection.execute(OPEN, chain_id, genesis_hash, start_block)


async def read_with_window(pool: asyncpg.Pool, chain_id: int) -> tuple[Cursor, Window] | None:
    """Cursor and window of one moment; None before the chain is first followed."""
    async with (
        reachable(),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        cursor = await read(connection, chain_id)
        if cursor is None:
            return None
        final = cursor.finalized
        lowest = cursor.start_block if final is None else final.number
        blocks = await connection.fetch(WINDOW, chain_id, lowest)
    hashes = tuple(row["hash"] for row in blocks)
    return cursor, Window(cursor.start_block, None if final is None else final.number, hashes)


def _ref(number: int | None, block_hash: bytes | None) -> BlockRef | None:
    return None if number is None or block_hash is None else BlockRef(number, block_hash)
