"""Writes the feed again from any row on, into a stream that the caller names.

For a consumer that needs what its stream no longer has. The entries are the very same, ids included; so a
replay that was broken off goes on where its stream ends, and nothing comes twice.
"""

from collections.abc import Callable
from typing import Final

import asyncpg
from redis.asyncio import Redis

from indexer.database import reachable
from indexer.stream.feed_reader import FeedReader, Place
from indexer.stream.redis_stream import RedisStream
from indexer.stream.resuming import resume

LIVE_PREFIX: Final = "landbridge:feed:"
MAX_KEY_CHARACTERS: Final = 512
FEED_SEQ: Final = "SELECT feed_seq FROM chain.cursor WHERE chain_id = $1"

Progress = Callable[[int, int], None]


async def replay(
    pool: asyncpg.Pool,
    redis: Redis,
    chain_id: int,
    from_seq: int,
    to_stream: str,
    *,
    progress: Progress | None = None,
) -> int:
    """Write all rows from ``from_seq`` up to what is the feed's end now; answers with that seq.

    ``progress`` hears after each batch which seq was reached, of which. Nothing is ever dropped from the
    stream: its reader should, or Redis must have room for all of it. Raises ``ValueError`` for a stream that
    the relay writes, :class:`StreamForeign` for one that holds something else, :class:`StreamMoved` if
    somebody else writes it too, :class:`RedisUnavailable` and :class:`DatabaseUnavailable`; after these it
    can be called again.
    """
    if not to_stream or len(to_stream) > MAX_KEY_CHARACTERS or to_stream.startswith(LIVE_PREFIX):
        raise ValueError(f"a replay needs a stream of its own, whose name is no {LIVE_PREFIX}…")
    if from_seq < 1:
        raise ValueError("the feed's first row is 1")
    stream, reader = RedisStream(redis, to_stream), FeedReader(chain_id)
    async with reachable(), pool.acquire() as connection:
        up_to = await connection.fetchval(FEED_SEQ, chain_id) or 0
    place, end = Place(from_seq - 1), await stream.end()
    if end is not None and end.seq >= from_seq:
        text = await stream.text(end)
        async with reachable(), pool.acquire() as connection:
            place = await resume(connection, reader, to_stream, end, text, settled_seq=0)
    while place.seq < up_to:
        async with reachable(), pool.acquire() as connection:
            entries = await reader.read(connection, place, up_to)
        if not entries:
            break
        await stream.append(end, entries)
        end, place = entries[-1].id, place.after(entries[-1])
        if progress is not None:
            progress(place.seq, up_to)
    return up_to
