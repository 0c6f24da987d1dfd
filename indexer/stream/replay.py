"""Writes the feed again from any row on, into a stream that the caller names.

For a consumer that needs what its stream no longer has. The entries are the very same, ids included; so a
replay that was broken off goes on where its stream ends, and nothing comes twice.
"""

from collections.abc import Callable
from typing import Final

import asyncpg
from redis.asyncio import Redis

from indexer.database import reachable
from indexer.errors import FeedPruned, ReplayRefused
from indexer.stream.cloud_event import EntryId
from indexer.stream.feed_reader import FeedReader, Place
from indexer.stream.redis_stream import RedisStream
from indexer.stream.resuming import resume

LIVE_PREFIX: Final = "landbridge:feed:"
MAX_KEY_CHARACTERS: Final = 512
FEED_SEQ: Final = "SELECT feed_seq FROM chain.cursor WHERE chain_id = $1"

Progress = Callable[[int, int], None]


def default_stream(chain_id: int) -> str:
    """Where a replay is written if nobody says where."""
    return f"landbridge:replay:{chain_id}"


async def replay(
    pool: asyncpg.Pool,
    redis: Redis,
    chain_id: int,
    from_seq: int,
    to_stream: str,
    *,
    to_seq: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write all rows from ``from_seq`` up to ``to_seq``, or to what is the feed's end now; answers with that seq.

    ``progress`` hears after each batch which seq was reached, of which. Nothing is ever dropped from the
    stream: its reader should, or Redis must have room for all of it. Raises :class:`ReplayRefused` for rows that
    the feed does not have, and for a stream in which they cannot stand, :class:`StreamForeign` for one that holds
    something else, :class:`StreamMoved` if somebody else writes it too, :class:`RedisUnavailable` and
    :class:`DatabaseUnavailable`; after the last three it can be called again.
    """
    if not to_stream or len(to_stream) > MAX_KEY_CHARACTERS or to_stream.startswith(LIVE_PREFIX):
        reason = f"it needs a stream of its own, whose name is not empty and no {LIVE_PREFIX}…"
        raise _refused(chain_id, from_seq, reason)
    stream, reader = RedisStream(redis, to_stream), FeedReader(chain_id)
    up_to = await _up_to(pool, chain_id, from_seq, to_seq)
    end = await stream.end()
    try:
        place = await _place(pool, reader, stream, end, from_seq, chain_id)
        await _write(pool, reader, stream, (end, place), up_to, progress)
    except FeedPruned as gone:
        reason = (
            "row {wanted} was dropped, and the oldest one that is kept is {feed_from}; begin there, with another "
            "stream: v1.snapshot says what was before"
        )
        raise _refused(chain_id, from_seq, reason.format(**gone.details)) from gone
    return up_to


async def _write(
    pool: asyncpg.Pool,
    reader: FeedReader,
    stream: RedisStream,
    begin: tuple[EntryId | None, Place],
    up_to: int,
    progress: Progress | None,
) -> None:
    end, place = begin
    while place.seq < up_to:
        async with reachable(), pool.acquire() as connection:
            entries = await reader.read(connection, place, up_to)
        await stream.append(end, entries)
        end, place = entries[-1].id, place.after(entries[-1])
        if progress is not None:
            progress(place.seq, up_to)


async def _up_to(pool: asyncpg.Pool, chain_id: int, from_seq: int, to_seq: int | None) -> int:
    async with reachable(), pool.acquire() as connection:
        newest = await connection.fetchval(FEED_SEQ, chain_id) or 0
    wanted: int = newest if to_seq is None else to_seq
    if from_seq < 1:
        raise _refused(chain_id, from_seq, "its first row is 1")
    if not from_seq <= wanted <= newest:
        reason = f"rows {from_seq} to {wanted} are wanted, and its newest row is {newest}"
        raise _refused(chain_id, from_seq, reason)
    return wanted


async def _place(
    pool: asyncpg.Pool,
    reader: FeedReader,
    stream: RedisStream,
    end: EntryId | None,
    from_seq: int,
    chain_id: int,
) -> Place:
    """Where it begins, or goes on."""
    if end is None:
        return Place(from_seq - 1)
    if end.seq < from_seq - 1:
        reason = f"the stream {stream.key} ends with row {end.seq}, so rows between would be missing; use another one"
        raise _refused(chain_id, from_seq, reason)
    text = await stream.text(end)
    async with reachable(), pool.acquire() as connection:
        return await resume(connection, reader, stream.key, end, text, settled_seq=0)


def _refused(chain_id: int, from_seq: int, reason: str) -> ReplayRefused:
    return ReplayRefused(chain_id=chain_id, from_seq=from_seq, reason=reason)
