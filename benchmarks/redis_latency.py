"""How soon after a block was mined its events are read by a consumer of Redis Streams."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from benchmarks.chain import Chain
from benchmarks.database import connected
from benchmarks.head_latency import (
    BEFORE,
    CALLS,
    EVENTS_PER_CALL,
    catch_up,
    latencies_of,
    on_small_tables,
)
from benchmarks.program import Options, Program
from benchmarks.result import Result, Wanted
from benchmarks.rows import require_exact
from benchmarks.session import Session
from daemon.embedded.valkey import EmbeddedValkey

ALLOWANCE_MS = 5.0
BLOCK_MS = 100
STREAM_S = 10.0
POLL_S = 0.1
READ_AT_ONCE = 1_000
Entry = Mapping[str, str]


def block_of(entry: Entry) -> int | None:
    """Number of the block whose events a stream's entry brings; None if it brings none, as when blocks become
    final."""
    data = json.loads(entry["event"])["data"]
    return int(data["from_block"]) if data["op"] == "apply" else None


class Consumer(threading.Thread):
    """Reads streams from given entries on. `seen` maps the number of a block to the
    time.perf_counter() of the last entry about it, `entries` to how many there were.

    A thread, so that the times do not wait for whoever mines.
    """

    def __init__(self, url: str, last: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, float] = {}
        self.entries: dict[int, int] = {}
        self._url = url
        self._last: Any = dict(last)
        self._stopping = threading.Event()

    def run(self) -> None:
        asyncio.run(self._consume())

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    async def _consume(self) -> None:
        async with Redis.from_url(self._url, decode_responses=True) as client:
            while not self._stopping.is_set():
                answer = await client.xread(self._last, count=READ_AT_ONCE, block=BLOCK_MS)
                now = time.perf_counter()
                for name, entries in _by_stream(answer):
                    self._last[name] = entries[-1][0]
                    for _, entry in entries:
                        self._take(now, entry)

    def _take(self, now: float, entry: Entry) -> None:
        number = block_of(entry)
        if number is not None:
            self.seen[number] = now
            self.entries[number] = self.entries.get(number, 0) + 1


async def streams_of(program: Program, url: str) -> dict[str, str]:
    """The last entry of each stream, once there is one. Raises NotReachedError."""
    async with Redis.from_url(url, decode_responses=True) as client:

        async def names() -> list[str]:
            return [str(name) async for name in client.scan_iter(_type="stream")]

        async def is_any() -> bool:
            return bool(await names())

        await program.until("a stream in Redis", is_any, timeout_s=STREAM_S, poll_s=POLL_S)
        return {
            name: (await client.xinfo_stream(name))["last-generated-id"] for name in await names()
        }


def _by_stream(answer: Any) -> list[tuple[str, list[tuple[str, Entry]]]]:
    """XREAD answers with pairs or, in a newer protocol, with a map of lists of lists."""
    if isinstance(answer, Mapping):
        return [(name, lists[0]) for name, lists in answer.items()]
    return list(answer or [])


async def redis_latency(session: Session) -> Result:
    """p99 in milliseconds, against that of the head's rows and five more."""
    before = await on_small_tables(session)
    async with (
        Chain() as chain,
        EmbeddedValkey() as valkey,
        session.database("redis") as dsn,
        connected(dsn) as connection,
    ):
        await chain.generate(BEFORE)
        options = Options(websocket=True, redis_url=valkey.url)
        async with Program(session.program, chain, dsn, options) as program:
            await catch_up(chain, program, connection)
            consumer = Consumer(valkey.url, await streams_of(program, valkey.url))
            consumer.start()
            try:
                blocks = session.sizes.head_blocks
                latencies = await latencies_of(chain, program, blocks, lambda: consumer.seen)
            finally:
                await asyncio.to_thread(consumer.stop)
            await require_exact(chain, connection)
        async with Redis.from_url(valkey.url) as client:
            server = await client.info("server")
    return Result(
        "redis_latency",
        latencies.summary["p99_ms"],
        "ms (p99)",
        f"head_latency's p99 + {ALLOWANCE_MS:g} ms",
        round(before.summary["p99_ms"] + ALLOWANCE_MS, 1),
        Wanted("<=", 1.0),
        await session.versions(valkey=str(server.get("valkey_version", server["redis_version"]))),
        {
            "exact": True,
            **latencies.facts(),
            "entries_per_block": sorted(set(consumer.entries.values())),
            "events_per_block": CALLS * EVENTS_PER_CALL,
        },
    )
