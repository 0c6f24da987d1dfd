"""A chain, a Redis, and relays between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from indexer import lease
from indexer.lease import Fence
from indexer.stream.redis_stream import RedisStream, client_of, stream_key
from indexer.stream.relay import Relay, RelaySettings, role
from indexer.stream.replay import replay
from tests.conftest import Database
from tests.integration.indexer.feed_chain import CHAIN_ID, FeedChain, feed_chain

KEY = stream_key(CHAIN_ID)
# An idle relay looks at once whether its stream is still there.
EAGER = RelaySettings(poll_s=0.01, check_s=0.0)
TABLES = ("token_transfer", "token_paused", "token_noted")


@dataclass
class Rig:
    """``relay`` can be replaced by another one, as after a crash."""

    chain: FeedChain
    redis: Redis
    fence: Fence
    relay: Relay

    def restart(self, settings: RelaySettings = EAGER, redis: Redis | None = None) -> Relay:
        """Another process takes over, which knows nothing."""
        self.relay = Relay(self.chain.pool, redis or self.redis, CHAIN_ID, settings)
        return self.relay

    async def run(self) -> None:
        """Until there is nothing to do."""
        while await self.relay.step(self.fence):
            pass

    async def position(self) -> int:
        seq: int = await self.chain.owner.fetchval(
            "SELECT seq FROM chain.consumer WHERE name = 'redis'"
        )
        return seq

    async def raw(self, key: str = KEY) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Every entry, as Redis has it."""
        return await self.redis.xrange(key)  # type: ignore[return-value]

    async def ids(self, key: str = KEY) -> list[str]:
        return [identifier.decode() for identifier, _ in await self.raw(key)]

    async def events(self, key: str = KEY) -> list[dict[str, Any]]:
        """Every CloudEvent."""
        return [json.loads(fields[b"event"]) for _, fields in await self.raw(key)]

    async def truth(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What a stream with the whole feed in it looks like, made by a single process in one go."""
        await self.redis.delete("truth")
        await replay(self.chain.pool, self.redis, CHAIN_ID, 1, "truth")
        found = await self.raw("truth")
        await self.redis.delete("truth")
        return found

    async def believed(self) -> set[tuple[str, str, int]]:
        """Table, block and place of every canonical event in Postgres."""
        found = set()
        for table in TABLES:
            for row in await self.chain.owner.fetch(
                f"SELECT block_hash, log_index FROM event.{table} WHERE canonical"
            ):
                found.add((table, "0x" + row["block_hash"].hex(), row["log_index"]))
        return found

    @property
    def stream(self) -> RedisStream:
        return RedisStream(self.redis, KEY)


def fold(events: Sequence[dict[str, Any]]) -> set[tuple[str, str, int]]:
    """What a reader of the stream believes; an event that is applied twice or retracted unapplied is a fault."""
    believed: set[tuple[str, str, int]] = set()
    for one in events:
        found = [
            (each["table"], each["block_hash"], each["log_index"]) for each in one["data"]["events"]
        ]
        assert len(set(found)) == len(found)
        if one["data"]["op"] == "apply":
            assert believed.isdisjoint(found)
            believed.update(found)
        elif one["data"]["op"] == "retract":
            assert believed.issuperset(found)
            believed.difference_update(found)
    return believed


@asynccontextmanager
async def new_rig(database: Database, url: str) -> AsyncIterator[Rig]:
    async with feed_chain(database.owner_dsn, database.daemon_dsn) as chain:
        redis = client_of(url)
        try:
            await redis.flushall()
            fence = await lease.acquire(chain.owner, role(CHAIN_ID), "the test", 600.0)
            assert fence is not None
            yield Rig(chain, redis, fence, Relay(chain.pool, redis, CHAIN_ID, EAGER))
        finally:
            await redis.aclose()


def entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries in an answer about one stream, however the client gives it."""
    [(_, inner)] = found.items() if isinstance(found, dict) else found
    shown: list[tuple[bytes, dict[bytes, bytes]]]
    shown = inner[0] if inner and isinstance(inner[0], list) else inner
    return shown
