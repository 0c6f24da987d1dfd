"""One stream in Redis, which is only ever appended to where it is known to end.

The check and the addition are one step of Redis's own, so no stream has a hole: if it was emptied, fell back,
or was added to by somebody else, nothing is added and :class:`StreamMoved` is raised.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from indexer.errors import RedisUnavailable, StreamMoved
from indexer.stream.cloud_event import Entry, EntryId

TIMEOUT_S: Final = 2.0
MISSING: Final = "no such key"

# Answers with the id at which the stream now ends, and its length. XINFO tells the id of the newest entry
# also where that entry is gone; it comes with the first and the last entry, which stay in Redis.
APPEND: Final = """
local function last()
    local facts = redis.pcall('XINFO', 'STREAM', KEYS[1])
    if facts['err'] then
        if string.find(facts['err'], 'no such key', 1, true) then return '0-0' end
        return facts
    end
    for place = 1, #facts, 2 do
        if facts[place] == 'last-generated-id' then return facts[place + 1] end
    end
end
local found = last()
if found ~= ARGV[1] then
    if type(found) == 'table' then return found end
    return {found, -1}
end
for place = 2, #ARGV, 5 do
    redis.call('XADD', KEYS[1], ARGV[place], 'type', ARGV[place + 1], 'seq', ARGV[place + 2],
               'part', ARGV[place + 3], 'event', ARGV[place + 4])
end
return {last(), redis.call('XLEN', KEYS[1])}
"""


def stream_key(chain_id: int) -> str:
    """The stream of a chain's feed."""
    return f"landbridge:feed:{chain_id}"


def client_of(url: str, timeout_s: float = TIMEOUT_S) -> Redis:
    """A client that gives up in time, and connects again by itself once; not yet connected."""
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 1),
        client_name="landbridge",
    )


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group. All entries up to ``delivered`` were handed out, of which ``pending`` were not
    acknowledged; the first of these is ``oldest_pending``."""

    name: str
    delivered: EntryId
    pending: int
    oldest_pending: EntryId | None

    @property
    def needed(self) -> EntryId:
        """Entries before this one are of no more use to it."""
        return self.oldest_pending or self.delivered


class RedisStream:
    """Raises :class:`RedisUnavailable` for whatever fails, after ``timeout_s`` at the latest."""

    def __init__(self, redis: Redis, key: str, timeout_s: float = TIMEOUT_S) -> None:
        self.key = key
        self._redis = redis
        self._timeout_s = timeout_s
        self._append = redis.register_script(APPEND)

    async def end(self) -> EntryId | None:
        """The id of the newest entry, whether it is still there or not; None if there never was one."""
        async with self._reachable():
            try:
                facts = await self._redis.xinfo_stream(self.key)
            except ResponseError as error:
                if MISSING in str(error):
                    return None
                raise
        found = _entry_id(facts["last-generated-id"])
        return None if found == (0, 0) else found

    async def text(self, identifier: EntryId) -> bytes | None:
        """What an entry says; None if there is no such entry."""
        async with self._reachable():
            found = await self._redis.xrange(self.key, str(identifier), str(identifier))
        if not found or found[0][1] is None:
            return None
        fields = {_text(name): value for name, value in found[0][1].items()}
        text = fields.get("event", b"")
        return text.encode() if isinstance(text, str) else text

    async def append(self, end: EntryId | None, entries: Sequence[Entry]) -> int:
        """Add all or none; answers with the stream's length. ``end`` is where it is expected to end.

        Raises :class:`StreamMoved` if it ends elsewhere. After any other error the entries may have been
        added.
        """
        arguments: list[str | bytes] = [str(end or EntryId(0, 0))]
        for one in entries:
            arguments += [str(one.id), one.type, str(one.id.seq), str(one.id.part), one.text]
        async with self._reachable():
            found, length = await self._append(keys=[self.key], args=arguments)
        at = _entry_id(found)
        # The client may have sent it a second time, without having heard of the first.
        if at != entries[-1].id:
            raise StreamMoved(key=self.key, expected=end or "its beginning", found=at)
        return int(length) if length >= 0 else await self.length()

    async def length(self) -> int:
        async with self._reachable():
            return await self._redis.xlen(self.key)

    async def size_bytes(self) -> int:
        """What it takes of Redis's memory; 0 if there is none, or if Redis does not tell us."""
        async with self._reachable():
            try:
                # All of its pages: those at the beginning may be short, and those at the end long.
                return await self._redis.memory_usage(self.key, samples=0) or 0
            except ResponseError:
                return 0

    async def groups(self) -> list[Group]:
        async with self._reachable():
            try:
                found = await self._redis.xinfo_groups(self.key)
            except ResponseError as error:
                if MISSING in str(error):
                    return []
                raise
            return [await self._group(facts) for facts in found]

    async def drop_before(self, needed: EntryId, at_most: int) -> int:
        """Remove about as many of the oldest entries, none at or after ``needed``; answers how many."""
        async with self._reachable():
            return await self._redis.xtrim(self.key, minid=str(needed), limit=at_most)

    async def drop_to(self, length: int) -> int:
        """Remove the oldest entries until about that many are left; answers how many."""
        async with self._reachable():
            return await self._redis.xtrim(self.key, maxlen=length)

    async def _group(self, facts: Mapping[str, Any]) -> Group:
        oldest = None
        if facts["pending"]:
            pending = await self._redis.xpending(self.key, facts["name"])
            oldest = _entry_id(pending["min"]) if pending["min"] else None
        delivered = _entry_id(facts["last-delivered-id"])
        return Group(_text(facts["name"]), delivered, int(facts["pending"]), oldest)

    @asynccontextmanager
    async def _reachable(self) -> AsyncIterator[None]:
        async with reachable_redis(self._timeout_s):
            yield


@asynccontextmanager
async def reachable_redis(timeout_s: float) -> AsyncIterator[None]:
    """Bound the time, and give every failure of Redis one type: :class:`RedisUnavailable`."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        reason = str(error) or f"it did not answer within {timeout_s:g} s"
        raise RedisUnavailable(reason=reason) from error


def _entry_id(value: str | bytes) -> EntryId:
    return EntryId.parse(_text(value))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
