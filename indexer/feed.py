"""Reading the feed: every change of what we believe of the chain, numbered without gaps.

A consumer reads rows past its position, acts on them, and advances, all in one transaction of its own
under its own fence; so each row acts exactly once. Rows name blocks; the events are in the event tables
by block hash, orphaned ones included. Replaying all rows rebuilds the canonical view at every prefix.
"""

from dataclasses import dataclass
from typing import Literal

from indexer.database import Connection
from indexer.errors import ConsumerMoved

Op = Literal["apply", "retract", "finalize"]

READ = """
    SELECT seq, op, from_block, to_block, block_hash, source_id FROM chain.feed
    WHERE chain_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"""
CREATE = "INSERT INTO chain.consumer (name, chain_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"
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


async def read(connection: Connection, chain_id: int, after_seq: int, limit: int) -> list[FeedRow]:
    """At most ``limit`` rows past ``after_seq``, in order and without gaps."""
    rows = await connection.fetch(READ, chain_id, after_seq, limit)
    return [FeedRow(*row) for row in rows]


async def position(connection: Connection, consumer: str, chain_id: int) -> int:
    """The last seq that ``consumer`` has acted on; 0 for a new one, which is then registered.

    Raises asyncpg's ForeignKeyViolationError before the follower has opened the chain's cursor.
    """
    seq = await connection.fetchval(POSITION, consumer, chain_id)
    if seq is None:
        await connection.execute(CREATE, consumer, chain_id)
        seq = await connection.fetchval(POSITION, consumer, chain_id)
    return int(seq)


async def advance(
    connection: Connection, consumer: str, chain_id: int, from_seq: int, to_seq: int
) -> None:
    """Move a consumer on; raises :class:`ConsumerMoved` if it is not at ``from_seq``."""
    if await connection.fetchval(ADVANCE, consumer, chain_id, from_seq, to_seq) is None:
        found = await connection.fetchval(POSITION, consumer, chain_id)
        raise ConsumerMoved(consumer=consumer, expected=from_seq, found=found)
