"""The only writer of chain.* (but for consumers' positions) and event.*: one transaction for each step.

It takes the fence, locks the cursor's row, compares our head with the one that the step was prepared
on, and writes blocks, logs, events, cursor and feed. A reorg is the same one transaction: the old branch
is unflagged and retracted, newest block first, and the new one applied; so whoever reads with one
statement sees the one branch or the other. Blocks that come back are flagged again, never stored twice.
"""

from collections.abc import Sequence

import asyncpg

from indexer import cursor as cursors
from indexer import rows
from indexer.block import BlockRef
from indexer.change import Change, FeedEntry, finalization, following
from indexer.contract import Contract
from indexer.cursor import Cursor
from indexer.database import Connection
from indexer.errors import CursorMoved
from indexer.lease import Fence, fenced
from indexer.record import BlockRecord

LOCK = cursors.READ + " FOR UPDATE"
MOVE = """
    UPDATE chain.cursor SET head_number = $2, head_hash = $3,
        head_timestamp_s = (SELECT timestamp_s FROM chain.block WHERE chain_id = $1 AND hash = $3),
        safe_number = $4, finalized_number = $5, finalized_hash = $6, feed_seq = $7,
        node_head_number = $8, updated_at = clock_timestamp()
    WHERE chain_id = $1"""
REORG = """
    INSERT INTO chain.reorg (chain_id, seq, ancestor_number, ancestor_hash, depth_blocks,
        old_head_number, old_head_hash, new_head_number, new_head_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""


async def write(
    pool: asyncpg.Pool, fence: Fence, contracts: Sequence[Contract], change: Change
) -> Cursor:
    """Commit a step; answers with the cursor after it.

    Raises :class:`LeaseLost`, :class:`CursorMoved` or :class:`DatabaseUnavailable`; then nothing was
    written, unless the connection broke during the commit itself: the next step finds out.
    """
    async with fenced(pool, fence) as connection:
        before = await _lock(connection, change)
        retracted = await _retract(connection, contracts, before, change)
        applied = await _apply(connection, contracts, change)
        final = finalization(before, change)
        entries = [*retracted, *applied, *([final] if final else [])]
        after = following(before, change, len(entries))
        await _move(connection, change.chain_id, after)
        await rows.insert_feed(connection, change.chain_id, before.feed_seq, entries)
    return after


async def _lock(connection: Connection, change: Change) -> Cursor:
    row = await connection.fetchrow(LOCK, change.chain_id)
    cursor = None if row is None else cursors.from_row(row)
    if cursor is None or cursor.head != change.based_on:
        raise CursorMoved(chain_id=change.chain_id)
    return cursor


async def _retract(
    connection: Connection, contracts: Sequence[Contract], before: Cursor, change: Change
) -> list[FeedEntry]:
    """Orphan what is above the ancestor, and record the reorg."""
    if change.retraction is None or before.head is None:
        return []
    ancestor = change.retraction.to
    ancestor_number = before.start_block - 1 if ancestor is None else ancestor.number
    orphans = await rows.canonical_above(connection, change.chain_id, ancestor_number)
    hashes = [orphan.hash for orphan in orphans]
    await rows.flag(connection, contracts, change.chain_id, hashes, canonical=False)
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
    connection: Connection, contracts: Sequence[Contract], change: Change
) -> list[FeedEntry]:
    """Store the new blocks, or flag them again if they were here before."""
    if not change.blocks:
        return []
    known = await rows.known(connection, change.chain_id, change.blocks)
    fresh: list[BlockRecord] = [one for one in change.blocks if one.header.hash not in known]
    if known:
        await rows.flag(connection, contracts, change.chain_id, list(known), canonical=True)
    if fresh:
        await rows.insert_blocks(connection, change.chain_id, fresh)
    headers = [block.header for block in change.blocks]
    return [FeedEntry("apply", one.number, one.number, one.hash) for one in headers]


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
