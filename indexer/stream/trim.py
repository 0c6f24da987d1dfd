"""Keeps a stream short: the newest entries stay, and those that a consumer group still needs.

A group that falls too far behind loses what it has not read, so that it cannot fill Redis: it finds a hole in
the numbers and reads the feed in Postgres instead, or has it written again (``replay``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from indexer.stream.cloud_event import EntryId
from indexer.stream.redis_stream import Group, RedisStream

log = structlog.get_logger()

# Redis drops whole pages of a stream, so it is looked at only once it is so much longer than it may be.
SLACK: Final = 1.1
# Its size in bytes is looked at whenever so large a part of what it may have was added.
PART_OF_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """``max_entries`` are kept for whoever comes, up to ``max_unread_entries`` for groups that have not
    acknowledged them, and neither if they take more than ``max_bytes`` of Redis's memory. All are roughly
    kept."""

    max_entries: int = 10_000
    max_unread_entries: int = 100_000
    max_bytes: int = 128 * 1024 * 1024

    def __post_init__(self) -> None:
        if not 1 <= self.max_entries <= self.max_unread_entries or self.max_bytes < 1:
            raise ValueError("at least one entry is kept, and not more than max_unread_entries")

    def entries(self, length: int, size_bytes: int) -> tuple[int, int]:
        """How many entries may stay: those that nobody needs among them, and in all."""
        fitting = self.max_unread_entries
        if size_bytes > self.max_bytes:
            fitting = max(1, length * self.max_bytes // size_bytes)
        hard = min(self.max_unread_entries, fitting)
        return min(self.max_entries, hard), hard

    def is_due(self, length: int, added_bytes: int) -> bool:
        """Whether the stream is worth a look; ``added_bytes`` came since the last one."""
        return length > self.max_entries * SLACK or added_bytes > self.max_bytes // PART_OF_BYTES


def needed(groups: Sequence[Group]) -> EntryId | None:
    """The oldest entry that any group needs; None if there is no group."""
    return min((group.needed for group in groups), default=None)


async def trim(stream: RedisStream, limits: StreamLimits) -> int:
    """Drop what is too old; answers how many entries that were. Raises :class:`RedisUnavailable`."""
    length = await stream.length()
    soft, hard = limits.entries(length, await stream.size_bytes())
    if length <= soft:
        return 0
    groups = await stream.groups()
    oldest = needed(groups)
    if oldest is None:
        return await stream.drop_to(soft)
    dropped = await stream.drop_before(oldest, length - soft)
    if length - dropped > hard:
        log.warning(
            "stream_trimmed_unread",
            stream=stream.key,
            groups=[group.name for group in groups if group.needed == oldest],
            remedy="delete groups that nobody reads; let the others read the feed in Postgres, or replay it",
        )
        dropped += await stream.drop_to(hard)
    return dropped
