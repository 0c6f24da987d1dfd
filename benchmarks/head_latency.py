"""How soon after a block was mined all its rows are visible to another connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks import rows, stored
from benchmarks.chain import Chain, Shape
from benchmarks.database import connected
from benchmarks.errors import NotReachedError
from benchmarks.latencies import summary_ms
from benchmarks.meter import tree_cpu_s
from benchmarks.program import Options, Program
from benchmarks.result import Result, Wanted, ratio
from benchmarks.session import Session, progress
from benchmarks.sightings import Sightings

PEER = "ponder-0.17-ws"
BEFORE = Shape(blocks=200, calls=1, events_per_call=10)
CALLS, EVENTS_PER_CALL = 2, 10
EVERY_S = 0.25
WARM_UP_BLOCKS = 20
SETTLE_S = 1.0
CATCH_UP_S = 120.0
SEEN_WITHIN_S = 30.0
POLL_S = 0.02
WANTED, WANTED_P99 = Wanted("<=", 0.6), Wanted("<=", 0.5)
WANTED_10M = Wanted("<=", 1.2)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of so many blocks; the program's CPU time is of the whole while."""

    blocks: int
    summary: Mapping[str, float]
    program_cpu_s: float

    def facts(self) -> dict[str, Any]:
        return {"blocks": self.blocks, **self.summary, "cpu_s": round(self.program_cpu_s, 2)}


async def catch_up(
    chain: Chain, program: Program, connection: asyncpg.Connection, from_block: int = 0
) -> None:
    """Wait until the rows are the chain's, then let it follow some blocks."""

    async def is_exact() -> bool:
        return (await rows.compare(chain, connection, from_block)).exact

    await program.until("the chain's head", is_exact, timeout_s=CATCH_UP_S, poll_s=POLL_S)
    for _ in range(WARM_UP_BLOCKS):
        await chain.mine(CALLS, EVENTS_PER_CALL)
        await asyncio.sleep(EVERY_S)
    await program.until("the chain's head", is_exact, timeout_s=CATCH_UP_S, poll_s=POLL_S)
    await asyncio.sleep(SETTLE_S)


async def mine_steadily(chain: Chain, blocks: int) -> dict[int, float]:
    """Mine a block each quarter of a second; when each was there, by its number."""
    base = await chain.head()
    mined_at: dict[int, float] = {}
    due_at = time.perf_counter()
    for number in range(base + 1, base + 1 + blocks):
        await chain.mine(CALLS, EVENTS_PER_CALL)
        mined_at[number] = time.perf_counter()
        due_at += EVERY_S
        await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
    return mined_at


async def latencies_of(
    chain: Chain, program: Program, blocks: int, seen: Callable[[], Mapping[int, float]]
) -> Latencies:
    """Mine, and wait until all the blocks were seen. Raises NotReachedError."""
    cpu_s = tree_cpu_s(program.pid)
    mined_at = await mine_steadily(chain, blocks)
    deadline = time.perf_counter() + SEEN_WITHIN_S
    while not mined_at.keys() <= seen().keys():
        if time.perf_counter() > deadline:
            what = f"sight of all {blocks} blocks"
            raise NotReachedError(what=what, timeout_s=SEEN_WITHIN_S, log=program.log())
        program.require_alive()
        await asyncio.sleep(POLL_S)
    await asyncio.sleep(SETTLE_S)  # what tells of a block several times may not have ended
    summary = summary_ms([seen()[number] - at for number, at in mined_at.items()])
    progress(f"{blocks} blocks: p50 {summary['p50_ms']} ms, p99 {summary['p99_ms']} ms")
    return Latencies(blocks, summary, tree_cpu_s(program.pid) - cpu_s)


async def follow(
    session: Session, chain: Chain, program: Program, dsn: str, from_block: int = 0
) -> Latencies:
    """Catch up, measure, and compare all rows. Raises RowsDifferError, NotReachedError."""
    async with connected(dsn) as connection:
        await catch_up(chain, program, connection, from_block)
        sightings = Sightings(dsn, await chain.head(), CALLS * EVENTS_PER_CALL)
        sightings.start()
        try:
            blocks = session.sizes.head_blocks
            latencies = await latencies_of(chain, program, blocks, lambda: sightings.seen)
        finally:
            await asyncio.to_thread(sightings.stop)
        await rows.require_exact(chain, connection, from_block)
    return latencies


async def on_small_tables(session: Session) -> Latencies:
    """The latencies that others compare with."""

    async def measure() -> Latencies:
        async with Chain() as chain, session.database("head") as dsn:
            await chain.generate(BEFORE)
            options = Options(websocket=True)
            async with Program(session.program, chain, dsn, options) as program:
                return await follow(session, chain, program, dsn)

    return await session.once("head_latency", measure)


def _p99_against(latencies: Latencies, against_ms: float | None, wanted: Wanted) -> dict[str, Any]:
    """For the line of JSON: the slowest but one, beside the other's."""
    found = ratio(latencies.summary["p99_ms"], against_ms)
    return {
        "against_p99_ms": against_ms,
        "p99_ratio": found,
        "p99_wanted": str(wanted),
        "p99_met": wanted.met(found),
    }


async def head_latency(session: Session) -> Result:
    """The median in milliseconds; p99 beside it."""
    latencies = await on_small_tables(session)
    peer = (await session.peers("w2", PEER)).get(PEER)
    return Result(
        "head_latency",
        latencies.summary["p50_ms"],
        "ms (p50)",
        PEER if peer else None,
        peer["p50_ms"] if peer else None,
        WANTED,
        await session.versions(**({PEER: peer["version"]} if peer else {})),
        {
            "exact": True,
            **latencies.facts(),
            **_p99_against(latencies, peer["p99_ms"] if peer else None, WANTED_P99),
        },
    )


async def head_latency_10m(session: Session) -> Result:
    """The same where a finished backfill has left ten million rows."""
    before = await on_small_tables(session)
    wanted = session.sizes.stored_rows
    async with Chain(light=True) as chain, session.database("head_10m") as dsn:
        await chain.mine_empty(stored.blocks_for(wanted))
        first = await chain.head() + 1
        await chain.generate(BEFORE)
        async with Program(session.program, chain, dsn, Options(websocket=True)) as program:
            async with connected(dsn) as connection:
                await catch_up(chain, program, connection)
                await program.stop()
                progress(f"loading {wanted} rows")
                await stored.load(chain, connection, wanted)
                await program.start()
            latencies = await follow(session, chain, program, dsn, first)
    return Result(
        "head_latency_10m",
        latencies.summary["p50_ms"],
        "ms (p50)",
        "head_latency",
        before.summary["p50_ms"],
        WANTED_10M,
        await session.versions(),
        {
            "exact": True,
            "stored_rows": wanted,
            **latencies.facts(),
            **_p99_against(latencies, before.summary["p99_ms"], WANTED_10M),
        },
    )
