"""One step of the follower, prepared: what is to be written, and the cursor that follows from it. No IO."""

from dataclasses import dataclass, replace

from indexer.block import BlockRef, Header
from indexer.cursor import Cursor
from indexer.feed import Op
from indexer.reorg import Window
from indexer.rows import Rows
from indexer.source import Source


@dataclass(frozen=True, slots=True)
class Retraction:
    """Our blocks above ``to`` are orphaned; all of them if it is None."""

    to: BlockRef | None


@dataclass(frozen=True, slots=True)
class Block:
    """A block with what is to be stored of it: the rows of every source that has joined."""

    header: Header
    rows: Rows


@dataclass(frozen=True, slots=True)
class Change:
    """``based_on`` is the head it was prepared on. ``blocks``, lowest first, go on top of that head, or of
    what ``retraction`` leaves. ``finalized`` and ``safe_number`` are what the node calls so among our
    blocks as they will be, None if it calls none so; they only ever raise what is stored."""

    chain_id: int
    based_on: BlockRef | None
    retraction: Retraction | None
    blocks: tuple[Block, ...]
    finalized: BlockRef | None
    safe_number: int | None
    node_head_number: int


@dataclass(frozen=True, slots=True)
class Leap:
    """Final blocks above our head, read as a range: ``rows`` of ``sources`` in those from ``based_on`` to the last of
    ``headers``, which are all of the range where they were verified, and the last alone where not. Our
    unfinalized blocks are final with it."""

    chain_id: int
    based_on: BlockRef | None
    headers: tuple[Header, ...]
    sources: tuple[Source, ...]
    rows: Rows
    node_head_number: int

    @property
    def to(self) -> Header:
        return self.headers[-1]


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A row of the feed without its seq. ``source_id`` None: every source that has joined. ``block_hash``
    None: a range of one source, all final."""

    op: Op
    from_block: int
    to_block: int
    block_hash: bytes | None
    source_id: int | None = None


@dataclass(frozen=True, slots=True)
class Joining:
    """A source that has caught up. ``blocks`` are ours from its coverage's end up to ``head``, with its
    rows; ``coverage`` the ranges that its backfill wrote; ``replaced`` the versions that end with it."""

    source: Source
    head: BlockRef | None
    coverage: tuple[FeedEntry, ...]
    blocks: tuple[Block, ...]
    replaced: tuple[int, ...]


def finalization(cursor: Cursor, final: BlockRef | None) -> FeedEntry | None:
    """The blocks that become final, if any."""
    if final is None:
        return None
    before = cursor.finalized
    first = cursor.start_block if before is None else before.number + 1
    if final.number < first:
        return None
    return FeedEntry("finalize", first, final.number, final.hash)


def following(cursor: Cursor, change: Change, feed_rows: int) -> Cursor:
    """The cursor after ``change``, which writes ``feed_rows`` rows to the feed."""
    head = cursor.head if change.retraction is None else change.retraction.to
    safe = cursor.safe_number
    if change.retraction is not None and safe is not None:
        # The safe block was not: what is left of the claim ends at the ancestor.
        safe = None if head is None else min(safe, head.number)
    if change.blocks:
        head = change.blocks[-1].header.ref
    final = change.finalized if finalization(cursor, change.finalized) else cursor.finalized
    safes = [safe, change.safe_number, None if final is None else final.number]
    return replace(
        cursor,
        head=head,
        safe_number=max((one for one in safes if one is not None), default=None),
        finalized=final,
        feed_seq=cursor.feed_seq + feed_rows,
        node_head_number=change.node_head_number,
    )


def leaping(cursor: Cursor, leap: Leap, feed_rows: int) -> Cursor:
    """The cursor after ``leap``."""
    to = leap.to.ref
    return replace(
        cursor,
        head=to,
        safe_number=to.number if cursor.safe_number is None else max(cursor.safe_number, to.number),
        finalized=to,
        feed_seq=cursor.feed_seq + feed_rows,
        node_head_number=leap.node_head_number,
    )


def sliding(window: Window, cursor: Cursor, change: Change) -> Window:
    """The window after ``change``, whose outcome is ``cursor``."""
    hashes = list(window.hashes)
    if change.retraction is not None:
        to = change.retraction.to
        kept = 0 if to is None else to.number - window.lowest_number + 1
        del hashes[kept:]
    hashes += [block.header.hash for block in change.blocks]
    final = cursor.finalized.number if cursor.finalized else None
    moved = Window(window.start_number, final, ())
    return Window(
        window.start_number, final, tuple(hashes[moved.lowest_number - window.lowest_number :])
    )
