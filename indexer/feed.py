"""Reading the feed: every change of what we believe of the chain, numbered without gaps.

A consumer reads rows past its position, acts on them, and advances, all in one transaction of its own
under its own fence; so each row acts exactly once. Rows name blocks; the events are in the event tables
by block hash, orphaned ones included. Replaying all rows rebuilds the canonical view at every prefix. Where the
oldest rows were removed (``indexer.retention``), a snapshot stands in their stead: :func:`enter`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg

from indexer.database import Connection
from indexer.errors import ConsumerMoved, FeedPruned, FeedShortened

Op = Literal["apply", "retract", "finalize"]

PRUNED_SQLSTATE: Final = "LB005"

READ = """
    SELECT seq, op, from_block, to_block, block_hash, source_id FROM chain.feed
    WHERE chain_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"""
CREATE = (
    "INSERT INTO chain.consumer (name, chain_id, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
)
BEGINNING = "SELECT feed_from FROM chain.pruned WHERE chain_id = $1"
SNAPSHOT = """
    SELECT seq, finalized_number, hashes,
           (SELECT start_block FROM chain.source s WHERE s.source_id = $2 AND s.joined_seq <= n.seq
            AND (s.retired_seq IS NULL OR s.retired_seq > n.seq)) AS start_block
    FROM chain.snapshot n WHERE chain_id = $1 ORDER BY seq DESC LIMIT 1"""
POSITION = "SELECT seq FROM chain.consumer WHERE name = $1 AND chain_id = $2"
ADVANCE = """
    UPDATE chain.consumer SET seq = $4, updated_at = clock_timestamp()
    WHERE name = $1 AND chain_id = $2 AND seq = $3 RETURNING seq"""


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One change: blocks applied, a block retracted, or the blocks from ``from_block`` to ``to_block`` made
    final. ``block_hash`` is the hash of ``to_block``, None for a range of one source. ``source_id`` None
    means every source that had joined before."""

    seq: int
    op: Op
    from_block: int
    to_block: int
    block_hash: bytes | None
    source_id: int | None = None

    def speaks_for(self, source_id: int, joined_seq: int | None) -> bool:
        """Whether it concerns a source that joined at ``joined_seq``, None if it has not."""
        if self.source_id is not None:
            return self.source_id == source_id
        return joined_seq is not None and self.seq > joined_seq

    @property
    def rows(self) -> str:
        """The condition that picks this change's rows out of an event table; its arguments are
        :attr:`arguments`. A single block is named by its hash, orphaned or not; a range is final."""
        if not self.is_range:
            return (
                "(block_number = $1 AND block_hash = $2 AND canonical"
                " OR block_number = $1 AND block_hash = $2 AND NOT canonical)"
            )
        return "block_number BETWEEN $1 AND $2 AND canonical"

    @property
    def arguments(self) -> tuple[object, object]:
        if not self.is_range:
            return self.from_block, self.block_hash
        return self.from_block, self.to_block

    @property
    def is_range(self) -> bool:
        """Whether it speaks of final blocks by their numbers, and not of one block by its hash."""
        return self.from_block != self.to_block or self.block_hash is None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was believed of one source at ``seq``. ``hashes`` are those of the blocks above ``finalized_number``,
    lowest first; ``start_block`` is the source's, None if the feed did not speak for it then."""

    seq: int
    finalized_number: int
    hashes: tuple[bytes, ...]
    start_block: int | None

    def rows(self, source_id: int) -> list[FeedRow]:
        """Rows that are acted on in the stead of all that the feed had up to ``seq``."""
        if self.start_block is None:
            return []
        final, seq = self.finalized_number, self.seq
        blocks = [
            FeedRow(seq, "apply", number, number, block_hash, source_id)
            for number, block_hash in enumerate(self.hashes, start=final + 1)
        ]
        if self.start_block > final:
            return blocks
        return [FeedRow(seq, "apply", self.start_block, final, None, source_id), *blocks]


async def read(connection: Connection, chain_id: int, after_seq: int, limit: int) -> list[FeedRow]:
    """At most ``limit`` rows past ``after_seq``, in order and without gaps. Raises :class:`FeedPruned`."""
    rows = await connection.fetch(READ, chain_id, after_seq, limit)
    require_next(chain_id, after_seq, rows)
    return [FeedRow(*row) for row in rows]


def require_next(chain_id: int, after_seq: int, rows: Sequence[asyncpg.Record]) -> None:
    """Raises :class:`FeedPruned` unless rows read past ``after_seq`` begin with the very next one."""
    if rows and rows[0]["seq"] != after_seq + 1:
        raise FeedPruned(chain_id=chain_id, wanted=after_seq + 1, feed_from=rows[0]["seq"])


async def beginning(connection: Connection, chain_id: int) -> int:
    """The oldest row that the feed has, or will have."""
    return await connection.fetchval(BEGINNING, chain_id) or 1


async def snapshot(connection: Connection, chain_id: int, source_id: int) -> Snapshot | None:
    """The newest, as one source sees it."""
    row = await connection.fetchrow(SNAPSHOT, chain_id, source_id)
    if row is None:
        return None
    return Snapshot(row["seq"], row["finalized_number"], tuple(row["hashes"]), row["start_block"])


async def position(
    connection: Connection, consumer: str, chain_id: int, *, new_at_seq: int = 0
) -> int:
    """The last seq that ``consumer`` has acted on; a new one is registered, at ``new_at_seq``.

    Raises :class:`FeedPruned` if rows behind that are no longer there, and asyncpg's ForeignKeyViolationError
    before the follower has opened the chain's cursor.
    """
    seq = await connection.fetchval(POSITION, consumer, chain_id)
    if seq is None:
        await _register(connection, consumer, chain_id, new_at_seq)
        seq = await connection.fetchval(POSITION, consumer, chain_id)
    return int(seq)


async def enter(
    connection: Connection, consumer: str, chain_id: int, source_id: int
) -> tuple[int, list[FeedRow]]:
    """The position of a consumer of one source, and what it has to act on in this transaction before it reads
    on: a snapshot, for a new one where the feed no longer begins at its first row. Raises :class:`FeedShortened` where
    that came between."""
    known = await connection.fetchval(POSITION, consumer, chain_id)
    if known is None and await beginning(connection, chain_id) > 1:
        found = await snapshot(connection, chain_id, source_id)
        if found is None:
            raise LookupError("a feed that begins later than its first row begins with a snapshot")
        await _register(connection, consumer, chain_id, found.seq)
        return found.seq, found.rows(source_id)
    try:
        return await position(connection, consumer, chain_id), []
    except FeedPruned as error:
        raise FeedShortened(chain_id=chain_id, consumer=consumer) from error


async def _register(connection: Connection, consumer: str, chain_id: int, seq: int) -> None:
    try:
        await connection.execute(CREATE, consumer, chain_id, seq)
    except asyncpg.PostgresError as error:
        if error.sqlstate != PRUNED_SQLSTATE:
            raise
        # What it begins with by now is not asked of a transaction that has failed.
        raise FeedPruned(chain_id=chain_id, wanted=seq + 1, feed_from="a later one") from error


async def advance(
    connection: Connection, consumer: str, chain_id: int, from_seq: int, to_seq: int
) -> None:
    """Move a consumer on; raises :class:`ConsumerMoved` if it is not at ``from_seq``."""
    if await connection.fetchval(ADVANCE, consumer, chain_id, from_seq, to_seq) is None:
        found = await connection.fetchval(POSITION, consumer, chain_id)
        raise ConsumerMoved(consumer=consumer, expected=from_seq, found=found)
