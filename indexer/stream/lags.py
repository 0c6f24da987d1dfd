"""How far behind the feed its stream and everybody who reads it are: plain values for status and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
from redis.asyncio import Redis

from indexer import feed
from indexer.database import reachable
from indexer.errors import RedisUnavailable
from indexer.stream.redis_stream import TIMEOUT_S, RedisStream, stream_key

FEED_SEQ = "SELECT feed_seq FROM chain.cursor WHERE chain_id = $1"


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


@dataclass(frozen=True, slots=True)
class Lags:
    """``consumers``: rows of the feed that each consumer in Postgres has to act on, by name. ``stream`` is None
    if Redis does not answer."""

    feed_seq: int
    consumers: Mapping[str, int]
    stream: StreamLag | None


async def lags(
    pool: asyncpg.Pool, redis: Redis | None, chain_id: int, timeout_s: float = TIMEOUT_S
) -> Lags:
    """``redis`` None: there is none. Raises :class:`DatabaseUnavailable`."""
    async with reachable(), pool.acquire() as connection:
        seq = await connection.fetchval(FEED_SEQ, chain_id) or 0
        consumers = await feed.lag(connection, chain_id)
    stream = None if redis is None else await _stream(redis, chain_id, seq, timeout_s)
    return Lags(seq, consumers, stream)


async def _stream(redis: Redis, chain_id: int, seq: int, timeout_s: float) -> StreamLag | None:
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
        rows_behind=max(0, seq - at),
        groups={
            group.name: GroupLag(max(0, at - group.delivered.seq), group.pending)
            for group in groups
        },
    )
