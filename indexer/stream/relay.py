"""Keeps a chain's stream in step with its feed: a consumer of the feed, under the lease ``relay:<chain id>``.

A step reads what comes next, adds it to the stream, and moves the consumer's position in Postgres; nothing of
Postgres is held while Redis is asked. Where it goes on is what the stream itself says. Three things can have
happened since the last step, and each is settled before anything is added:

- It added entries and could not move its position: the stream is ahead, by entries of this very feed. They
  are not added again; Redis would refuse them.
- Redis was emptied: the newest rows are written again, as many as the stream keeps, up to the position, and
  from there on it goes on. A group that is made anew at its own position misses nothing.
- Redis fell back to an older state: it goes on from where the stream ends now.

A stream that is ahead by entries of another feed is left alone: :class:`StreamForeign`. So is one that fell back
so far that the feed no longer has what comes next: :class:`FeedPruned`. A new stream begins with the oldest row
that the feed has.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog
from redis.asyncio import Redis

from indexer import feed
from indexer.database import reachable
from indexer.errors import StreamMoved
from indexer.lease import Fence, fenced
from indexer.stream.cloud_event import Entry, EntryId
from indexer.stream.feed_reader import FeedReader, Place
from indexer.stream.redis_stream import TIMEOUT_S, RedisStream, stream_key
from indexer.stream.resuming import resume
from indexer.stream.trim import StreamLimits, trim

log = structlog.get_logger()

CONSUMER: Final = "redis"
OPENED: Final = "SELECT EXISTS (SELECT FROM chain.cursor WHERE chain_id = $1)"

Clock = Callable[[], float]


def role(chain_id: int) -> str:
    """The lease under which a chain's stream is written."""
    return f"relay:{chain_id}"


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """``poll_s``: how often the feed is looked at when nobody in this process tells; ``check_s``: how often an
    idle relay looks whether the stream is still there."""

    limits: StreamLimits = field(default_factory=StreamLimits)
    poll_s: float = 0.05
    check_s: float = 1.0
    timeout_s: float = TIMEOUT_S


@dataclass(slots=True)
class _Known:
    """``position`` is the consumer's, ``end`` the stream's, and ``place`` what comes next."""

    position: int
    end: EntryId | None
    place: Place


class Relay:
    """``wake`` is set by the follower in this process after each commit."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        redis: Redis,
        chain_id: int,
        settings: RelaySettings | None = None,
        wake: asyncio.Event | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._settings = settings or RelaySettings()
        self._stream = RedisStream(redis, stream_key(chain_id), self._settings.timeout_s)
        self._reader = FeedReader(chain_id)
        self._clock = clock
        self._known: _Known | None = None
        self._looked_s = 0.0
        self._added_bytes = 0
        self.wake = wake or asyncio.Event()

    async def step(self, fence: Fence) -> bool:
        """Add what comes next; answers whether there was anything.

        Raises Retryable errors: :class:`RedisUnavailable`, :class:`StreamForeign`, :class:`LeaseLost`,
        :class:`ConsumerMoved`, :class:`DatabaseUnavailable`; and :class:`FeedPruned`.
        """
        try:
            return await self._step(fence)
        except StreamMoved as moved:
            log.info("stream_moved", reason=str(moved))
            self._known = None
            return True
        except BaseException:
            # What of the step took place is found out by the next one.
            self._known = None
            raise

    async def rest(self) -> None:
        """Until there may be something to do."""
        try:
            async with asyncio.timeout(self._settings.poll_s):
                await self.wake.wait()
        except TimeoutError:
            pass
        # Before the next reading, so that what is committed during it is told again.
        self.wake.clear()

    async def _step(self, fence: Fence) -> bool:
        if self._known is None:
            self._known = await self._find_out()
        known = self._known
        if known is None:
            return False
        entries = await self._next(known.place)
        if entries:
            await self._add(known, entries)
        elif await self._was_lost(known):
            self._known = None
            return True
        return await self._advance(fence, known) or bool(entries)

    async def _find_out(self) -> _Known | None:
        """Where the stream is; None before the chain is first followed."""
        async with reachable(), self._pool.acquire() as connection:
            if not await connection.fetchval(OPENED, self._chain_id):
                return None
            begins = await feed.beginning(connection, self._chain_id)
            position = await feed.position(
                connection, CONSUMER, self._chain_id, new_at_seq=begins - 1
            )
        end = await self._stream.end()
        self._looked_s = self._clock()
        if end is None:
            kept = Place(max(begins - 1, position - self._settings.limits.max_entries))
            if kept.seq < position:
                log.warning(
                    "stream_lost",
                    stream=self._stream.key,
                    again_from_seq=kept.seq + 1,
                    up_to_seq=position,
                )
            elif begins > 1:
                # Older rows were removed before there was a stream, or with the consent of its relay.
                log.warning("stream_begins_late", stream=self._stream.key, from_seq=begins)
            return _Known(position, None, kept)
        text = await self._stream.text(end)
        async with reachable(), self._pool.acquire() as connection:
            place = await resume(
                connection, self._reader, self._stream.key, end, text, settled_seq=position
            )
        return _Known(position, end, place)

    async def _next(self, place: Place) -> list[Entry]:
        async with reachable(), self._pool.acquire() as connection:
            return await self._reader.read(connection, place)

    async def _add(self, known: _Known, entries: list[Entry]) -> None:
        length = await self._stream.append(known.end, entries)
        known.end = entries[-1].id
        known.place = known.place.after(entries[-1])
        self._looked_s = self._clock()
        self._added_bytes += sum(len(entry.text) for entry in entries)
        if self._settings.limits.is_due(length, self._added_bytes):
            self._added_bytes = 0
            await trim(self._stream, self._settings.limits)

    async def _was_lost(self, known: _Known) -> bool:
        """Notice it while nothing happens on the chain; looked for now and then."""
        if self._clock() - self._looked_s < self._settings.check_s:
            return False
        self._looked_s = self._clock()
        return await self._stream.end() != known.end

    async def _advance(self, fence: Fence, known: _Known) -> bool:
        """Rows that are written again lie before the position, which does not go back."""
        if known.place.seq <= known.position:
            return False
        async with fenced(self._pool, fence) as connection:
            await feed.advance(
                connection, CONSUMER, self._chain_id, known.position, known.place.seq
            )
        known.position = known.place.seq
        return True
