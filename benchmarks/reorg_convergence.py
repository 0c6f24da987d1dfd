"""How soon the rows are those of the new branch after a reorg, seen live or missed while stopped."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Sequence

import asyncpg

from benchmarks import rows
from benchmarks.chain import Chain, Shape
from benchmarks.database import connected
from benchmarks.errors import NotReachedError
from benchmarks.head_latency import CALLS, CATCH_UP_S, EVENTS_PER_CALL, catch_up
from benchmarks.program import Options, Program
from benchmarks.result import Result, Wanted
from benchmarks.session import Session, progress

BEFORE = Shape(blocks=250, calls=1, events_per_call=10)
# Below the finality of 64 blocks: a deeper one is not to be converged to but to halt at.
DEEP_BLOCKS = (20, 40)
LIVE_DEPTH_BLOCKS = 5
OFFLINE_DEPTHS_BLOCKS = (5, 40)
KILLED_DEPTH_BLOCKS = 5
MINED_WHILE_STOPPED = 3
LIVE_LIMIT_S = 0.5
OFFLINE_LIMIT_S = 1.5
POLL_S = 0.005
SEED = 7


async def reorg_convergence(session: Session) -> Result:
    """The slowest of the live ones, in seconds; that of the offline ones beside it."""
    async with (
        Chain() as chain,
        session.database("reorg") as dsn,
        connected(dsn) as connection,
    ):
        await chain.generate(BEFORE)
        async with Program(session.program, chain, dsn, Options(websocket=True)) as program:
            await catch_up(chain, program, connection)
            live = await _live(session.sizes.live_reorgs, chain, program, connection)
            deep = [await _reorg(depth, chain, program, connection) for depth in DEEP_BLOCKS]
            offline = [
                await _offline(depth, signal.SIGTERM, chain, program, connection)
                for depth in OFFLINE_DEPTHS_BLOCKS
            ]
            # A killed process leaves its lease behind, and the next one waits until that expires.
            killed_s = await _offline(
                KILLED_DEPTH_BLOCKS, signal.SIGKILL, chain, program, connection
            )
            await rows.require_exact(chain, connection)
    slowest_s = max(live + deep)
    return Result(
        "reorg_convergence",
        round(slowest_s, 3),
        "s",
        "the limit for a live reorg",
        LIVE_LIMIT_S,
        Wanted("<=", 1.0),
        await session.versions(),
        {
            "exact": True,
            "live_s": [round(seconds, 3) for seconds in live],
            "deep_s": _by_depth(DEEP_BLOCKS, deep),
            "offline_value": round(max(offline), 3),
            "offline_limit_s": OFFLINE_LIMIT_S,
            "offline_met": max(offline) <= OFFLINE_LIMIT_S,
            "offline_s": _by_depth(OFFLINE_DEPTHS_BLOCKS, offline),
            "offline_killed_s": round(killed_s, 3),
        },
    )


def _by_depth(depths: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    pairs = zip(depths, seconds, strict=True)
    return {f"{depth} blocks": round(took_s, 3) for depth, took_s in pairs}


async def _live(
    times: int, chain: Chain, program: Program, connection: asyncpg.Connection
) -> list[float]:
    """Shallow ones at random times between blocks."""
    dice = random.Random(SEED)  # noqa: S311
    found = []
    for _ in range(times):
        for _ in range(dice.randint(0, 3)):
            await chain.mine(CALLS, EVENTS_PER_CALL)
            await asyncio.sleep(dice.uniform(0.02, 0.3))
        found.append(await _reorg(LIVE_DEPTH_BLOCKS, chain, program, connection))
    return found


async def _reorg(
    depth_blocks: int, chain: Chain, program: Program, connection: asyncpg.Connection
) -> float:
    """Seconds from the return of anvil_reorg, without any further block, to the new rows."""
    await chain.reorg(depth_blocks, CALLS, EVENTS_PER_CALL)
    started_at = time.perf_counter()
    seconds = await _until_exact(started_at, depth_blocks, chain, program, connection)
    progress(f"a live reorg of {depth_blocks} blocks: {seconds:.3f} s")
    return seconds


async def _offline(
    depth_blocks: int,
    number: signal.Signals,
    chain: Chain,
    program: Program,
    connection: asyncpg.Connection,
) -> float:
    """Seconds from the process's start to the new rows; the reorg happened while it was stopped."""
    await program.stop(number)
    await chain.reorg(depth_blocks, CALLS, EVENTS_PER_CALL)
    for _ in range(MINED_WHILE_STOPPED):
        await chain.mine(CALLS, EVENTS_PER_CALL)
    await program.start()
    seconds = await _until_exact(program.started_at, depth_blocks, chain, program, connection)
    progress(f"an offline reorg of {depth_blocks} blocks ({number.name}): {seconds:.3f} s")
    return seconds


async def _until_exact(
    started_at: float,
    depth_blocks: int,
    chain: Chain,
    program: Program,
    connection: asyncpg.Connection,
) -> float:
    """The chain stands still meanwhile, so it is asked once; older blocks are compared at the end."""
    head = await chain.head()
    first = max(0, head - depth_blocks - BEFORE.blocks)
    wanted = await rows.chain_rows(chain, first, head)
    while not rows.difference(await rows.stored_rows(connection, first, head), wanted).exact:
        if time.perf_counter() - started_at > CATCH_UP_S:
            raise NotReachedError(what="the new branch", timeout_s=CATCH_UP_S, log=program.log())
        program.require_alive()
        await asyncio.sleep(POLL_S)
    return time.perf_counter() - started_at
