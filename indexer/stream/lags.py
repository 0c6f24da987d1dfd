"""How far behind the feed a chain's stream is, and how far behind the stream its readers are. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from indexer.errors import RedisUnavailable
from indexer.stream.redis_stream import TIMEOUT_S, RedisStream, stream_key


@dataclass(frozen=True, slots=True)
class GroupLag:
    """``rows_behind``: rows of the feed in the stream that were not handed out; ``pending``: entries that were
    handed out and not acknowledged."""

    rows_behind: int
    pending: int


@dataclass(frozen=True, slots=True)
class StreamLag:
    """``length`` is in entries; ``rows_behind`` is how many rows the stream lacks of the feed."""

    length: int
    rows_behind: int
    groups: Mapping[str, GroupLag]


async def stream_lag(
    redis: Redis, chain_id: int, feed_seq: int, timeout_s: float = TIMEOUT_S
) -> StreamLag | None:
    """Of a chain whose feed ends at ``feed_seq``; None if Redis does not answer in time."""
    stream = RedisStream(redis, stream_key(chain_id), timeout_s)
    try:
        end = await stream.end()
        length = await stream.length()
        groups = await stream.groups()
    except RedisUnavailable:
        return None
    at = end.seq if end else 0
    return StreamLag(
        length=length,
        rows_behind=max(0, feed_seq - at),
        groups={
            group.name: GroupLag(max(0, at - group.delivered.seq), group.pending)
            for group in groups
        },
    )
