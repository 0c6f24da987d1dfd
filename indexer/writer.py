"""The only writer of chain.* (but for consumers' positions) and event.*: one transaction for each step.

It takes the fence, locks the cursor's row, compares our head with the one that the step was prepared
on, and writes blocks, logs, events, cursor and feed. A reorg is the same one transaction: the old branch
is unflagged and retracted, newest block first, and the new one applied; so whoever reads with one
statement sees the one branch or the other. Blocks that come back are flagged again, never stored twice.

What is below finality is written in ranges: by a leap, which moves the cursor over final blocks, or by the
backfill of a source that has not joined yet, which leaves the cursor alone.
"""

from collections.abc import Sequence

import asyncpg

from indexer import balances, copy
from indexer import cursor as cursors
from indexer.block import BlockRef, Header
from indexer.change import Block, Change, FeedEntry, Joining, Leap, finalization, following, leaping
from indexer.cursor import Cursor
from indexer.database import Connection
from indexer.errors import CursorMoved, SourceMoved
from indexer.lease import Fence, fenced
from indexer.rows import Rows
from indexer.source import Source

LOCK = cursors.READ + " FOR UPDATE"
MOVE = """
    UPDATE chain.cursor SET head_number = $2, head_hash = $3,
        head_timestamp_s = (SELECT timestamp_s FROM chain.block WHERE chain_id = $1 AND hash = $3),
        safe_number = $4, finalized_number = $5, finalized_hash = $6, feed_seq = $7,
        node_head_number = $8, updated_at = clock_timestamp()
    WHERE chain_id = $1"""
INSERT_BLOCKS = """
    INSERT INTO chain.block (chain_id, hash, number, parent_hash, timestamp_s, canonical)
    SELECT $1, b.hash, b.number, b.parent_hash, b.timestamp_s, true
    FROM unnest($2::bytea[], $3::bigint[], $4::bytea[], $5::bigint[]) AS b (hash, number, parent_hash, timestamp_s)"""
INSERT_FEED = """
    INSERT INTO chain.feed (chain_id, seq, op, from_block, to_block, block_hash, source_id)
    SELECT $1, $2 + f.place, f.op, f.from_block, f.to_block, f.block_hash, f.source_id
    FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bigint[])
        WITH ORDINALITY AS f (op, from_block, to_block, block_hash, source_id, place)"""
REORG = """
    INSERT INTO chain.reorg (chain_id, seq, ancestor_number, ancestor_hash, depth_blocks,
        old_head_number, old_head_hash, new_head_number, new_head_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""
ABOVE = """
    SELECT number, hash FROM chain.block
    WHERE chain_id = $1 AND canonical AND number > $2 ORDER BY number DESC"""
KNOWN = "SELECT hash FROM chain.block WHERE chain_id = $1 AND hash = ANY($2::bytea[])"
COVER = """
    INSERT INTO chain.coverage (source_id, from_block, to_block, row_count)
    SELECT unnest($1::bigint[]), $2, $3, $4"""
# Whoever writes for a source that has not joined holds its row, and what is covered is read with it held.
HOLD = "SELECT FROM chain.source WHERE source_id = ANY ($1::bigint[]) ORDER BY source_id FOR UPDATE"
NEXT = """
    SELECT s.name FROM chain.source s
    WHERE s.source_id = ANY ($1::bigint[]) AND (s.joined_seq IS NOT NULL OR $2 IS DISTINCT FROM
        coalesce((SELECT max(to_block) + 1 FROM chain.coverage c WHERE c.source_id = s.source_id), s.start_block))
    LIMIT 1"""
JOINED = """
    SELECT array_agg(source_id) FROM chain.source
    WHERE chain_id = $1 AND joined_seq IS NOT NULL AND retired_seq IS NULL"""
JOIN = """
    UPDATE chain.source SET joined_seq = $2, joined_at = clock_timestamp()
    WHERE source_id = $1 AND joined_seq IS NULL RETURNING true"""
RETIRE = """
    UPDATE chain.source SET retired_seq = $2
    WHERE source_id = ANY ($1::bigint[]) AND retired_seq IS NULL"""


async def write(
    pool: asyncpg.Pool, fence: Fence, sources: Sequence[Source], change: Change
) -> Cursor:
    """Commit a step; answers with the cursor after it. ``sources`` are those that have joined.

    Raises :class:`LeaseLost`, :class:`CursorMoved`, :class:`LogsMalformed` or :class:`DatabaseUnavailable`; then
    nothing was written, unless the connection broke during the commit itself: the next step finds out.
    """
    async with fenced(pool, fence) as connection:
        before = await _lock(connection, change.chain_id, change.based_on)
        await _require_all(connection, change.chain_id, sources)
        retracted = await _retract(connection, sources, before, change)
        applied = await _apply(connection, sources, change)
        final = finalization(before, change.finalized)
        entries = [*retracted, *applied, *([final] if final else [])]
        after = following(before, change, len(entries))
        await _move(connection, change.chain_id, after)
        await _insert_feed(connection, change.chain_id, before.feed_seq, entries)
    return after


async def write_leap(pool: asyncpg.Pool, fence: Fence, leap: Leap) -> Cursor:
    """Commit a range of final blocks above our head. Raises as :func:`write` does."""
    async with fenced(pool, fence) as connection:
        before = await _lock(connection, leap.chain_id, leap.based_on)
        await _require_all(connection, leap.chain_id, leap.sources)
        to = leap.to.ref
        first = before.start_block if before.head is None else before.head.number + 1
        await _insert_blocks(connection, leap.chain_id, leap.headers)
        await _copy(connection, leap.sources, leap.rows, first, to.number)
        final = finalization(before, to)
        applied = FeedEntry("apply", first, to.number, to.hash)
        entries = [applied, *([final] if final else [])]
        after = leaping(before, leap, len(entries))
        await _move(connection, leap.chain_id, after)
        await _insert_feed(connection, leap.chain_id, before.feed_seq, entries)
    return after


async def write_range(
    pool: asyncpg.Pool,
    fence: Fence,
    sources: Sequence[Source],
    first: int,
    last: int,
    rows: Rows,
) -> None:
    """Commit a range of the backfill of ``sources``. Raises as :func:`write` does, and :class:`SourceMoved` if
    one of them has joined meanwhile, or has the range already."""
    async with fenced(pool, fence) as connection:
        await _hold(connection, sources, first)
        await connection.execute(
            COVER, [source.source_id for source in sources], first, last, rows.count
        )
        await _copy(connection, sources, rows, first, last)


async def write_join(pool: asyncpg.Pool, fence: Fence, joining: Joining) -> Cursor:
    """Let a source join at our head: its newest rows, its place in the feed, and the end of its predecessor.

    Raises as :func:`write` does, and :class:`SourceMoved` if its backfill went on meanwhile.
    """
    source = joining.source
    async with fenced(pool, fence) as connection:
        before = await _lock(connection, source.contract.chain_id, joining.head)
        await _hold(connection, [source], source.next_block)
        for block in joining.blocks:
            number = block.header.number
            await _copy(connection, [source], block.rows, number, number)
        applied = [
            FeedEntry(
                "apply", one.header.number, one.header.number, one.header.hash, source.source_id
            )
            for one in joining.blocks
        ]
        entries = [*joining.coverage, *applied]
        after = before.fed(len(entries))
        await _move(connection, source.contract.chain_id, after)
        await _insert_feed(connection, source.contract.chain_id, before.feed_seq, entries)
        if not await connection.fetchval(JOIN, source.source_id, after.feed_seq):
            raise CursorMoved(chain_id=source.contract.chain_id)
        await connection.execute(RETIRE, list(joining.replaced), after.feed_seq)
    return after


async def retire(
    pool: asyncpg.Pool, fence: Fence, chain_id: int, source_ids: Sequence[int]
) -> None:
    """End sources that nobody wants any more, at the feed's present end."""
    async with fenced(pool, fence) as connection:
        row = await connection.fetchrow(LOCK, chain_id)
        seq = 0 if row is None else row["feed_seq"]
        await connection.execute(RETIRE, list(source_ids), seq)


async def _lock(connection: Connection, chain_id: int, based_on: BlockRef | None) -> Cursor:
    row = await connection.fetchrow(LOCK, chain_id)
    cursor = None if row is None else cursors.from_row(row)
    if cursor is None or cursor.head != based_on:
        raise CursorMoved(chain_id=chain_id)
    return cursor


async def _require_all(connection: Connection, chain_id: int, sources: Sequence[Source]) -> None:
    """The feed speaks for every source that has joined: none of them may be missing from what is written."""
    joined = await connection.fetchval(JOINED, chain_id)
    if set(joined or ()) != {source.source_id for source in sources}:
        raise CursorMoved(chain_id=chain_id)


async def _hold(connection: Connection, sources: Sequence[Source], next_block: int) -> None:
    """Lock sources that have not joined, if ``next_block`` is still the first that they lack. The backfill and
    the follower both move them."""
    ids = [source.source_id for source in sources]
    await connection.execute(HOLD, ids)
    moved = await connection.fetchval(NEXT, ids, next_block)
    if moved is not None:
        raise SourceMoved(name=moved)


async def _retract(
    connection: Connection, sources: Sequence[Source], before: Cursor, change: Change
) -> list[FeedEntry]:
    """Orphan what is above the ancestor, and record the reorg."""
    if change.retraction is None or before.head is None:
        return []
    ancestor = change.retraction.to
    ancestor_number = before.start_block - 1 if ancestor is None else ancestor.number
    orphans = [
        BlockRef(*row) for row in await connection.fetch(ABOVE, change.chain_id, ancestor_number)
    ]
    await connection.execute(
        "SELECT chain.orphan_above($1, $2, $3)", change.chain_id, ancestor_number, _tables(sources)
    )
    await _record_reorg(connection, before.head, before.feed_seq + 1, ancestor_number, change)
    return [FeedEntry("retract", one.number, one.number, one.hash) for one in orphans]


async def _record_reorg(
    connection: Connection, old: BlockRef, seq: int, ancestor_number: int, change: Change
) -> None:
    new = change.blocks[-1].header.ref
    ancestor = change.retraction.to if change.retraction else None
    await connection.execute(
        REORG,
        change.chain_id,
        seq,
        ancestor_number,
        None if ancestor is None else ancestor.hash,
        old.number - ancestor_number,
        old.number,
        old.hash,
        new.number,
        new.hash,
    )


async def _apply(
    connection: Connection, sources: Sequence[Source], change: Change
) -> list[FeedEntry]:
    """Store the new blocks, or flag them again if they were here before."""
    if not change.blocks:
        return []
    headers = [block.header for block in change.blocks]
    known = {
        row["hash"]
        for row in await connection.fetch(
            KNOWN, change.chain_id, [header.hash for header in headers]
        )
    }
    back = [block for block in change.blocks if block.header.hash in known]
    if back:
        await _restore(connection, sources, change.chain_id, back)
    await _insert_blocks(
        connection, change.chain_id, [header for header in headers if header.hash not in known]
    )
    new = [block for block in change.blocks if block.header.hash not in known]
    if new:
        rows = Rows()
        for block in new:
            rows.extend(block.rows)
        numbers = [block.header.number for block in new]
        await _copy(connection, sources, rows, min(numbers), max(numbers))
    return [FeedEntry("apply", one.number, one.number, one.hash) for one in headers]


async def _restore(
    connection: Connection, sources: Sequence[Source], chain_id: int, blocks: Sequence[Block]
) -> None:
    """Believe again in blocks that were orphaned. A source that joined meanwhile has no rows of them yet."""
    numbers = [block.header.number for block in blocks]
    hashes = [block.header.hash for block in blocks]
    await connection.execute(
        "SELECT chain.restore($1, $2, $3, $4)", chain_id, numbers, hashes, _tables(sources)
    )
    for block in blocks:
        await copy.missing_rows(connection, block.header.ref, block.rows)
        for source in sources:
            await balances.derive_missing(connection, source, block.header.ref)


async def _copy(
    connection: Connection, sources: Sequence[Source], rows: Rows, first: int, last: int
) -> None:
    """Rows of blocks ``first`` to ``last``, none of which was written before, and what is derived of them."""
    await copy.rows(connection, rows)
    for source in sources:
        await balances.derive(connection, source, first, last)


async def _insert_blocks(connection: Connection, chain_id: int, headers: Sequence[Header]) -> None:
    if headers:
        await connection.execute(
            INSERT_BLOCKS,
            chain_id,
            [header.hash for header in headers],
            [header.number for header in headers],
            [header.parent_hash for header in headers],
            [header.timestamp_s for header in headers],
        )


async def _insert_feed(
    connection: Connection, chain_id: int, after_seq: int, entries: Sequence[FeedEntry]
) -> None:
    if entries:
        await connection.execute(
            INSERT_FEED,
            chain_id,
            after_seq,
            [entry.op for entry in entries],
            [entry.from_block for entry in entries],
            [entry.to_block for entry in entries],
            [entry.block_hash for entry in entries],
            [entry.source_id for entry in entries],
        )


async def _move(connection: Connection, chain_id: int, after: Cursor) -> None:
    head, final = after.head, after.finalized
    await connection.execute(
        MOVE,
        chain_id,
        None if head is None else head.number,
        None if head is None else head.hash,
        after.safe_number,
        None if final is None else final.number,
        None if final is None else final.hash,
        after.feed_seq,
        after.node_head_number,
    )


def _tables(sources: Sequence[Source]) -> list[str]:
    return [table for source in sources for table in source.tables]
