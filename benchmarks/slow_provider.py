"""How much of what a rate-limited provider allows is made use of."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec

from benchmarks import rows
from benchmarks.chain import Chain
from benchmarks.database import connected
from benchmarks.errors import ProxyFailedError
from benchmarks.program import Options, Program
from benchmarks.result import Result, Wanted
from benchmarks.session import Session, progress
from benchmarks.slow_proxy import HOST, Counts, Limits
from daemon.embedded.account import new_temporary_path
from daemon.embedded.anvil import REPOSITORY
from daemon.embedded.log_tail import log_tail
from daemon.embedded.process import GuardedProcess

EVENTS_PER_CALL = 10
BLOCKS_BETWEEN_EVENTS = 1_000
SLOTS_IN_AN_EPOCH = 2  # few blocks are not final, since they are followed one by one
START_TIMEOUT_S = 30.0
TIMEOUT_S = 900.0
POLL_S = 0.05
LISTENING = re.compile(r"^Listening on (\d+)$", re.MULTILINE)


async def slow_provider(session: Session) -> Result:
    """The share, at best 1: the least time that the limits allow, by the time that it took.

    From the first request at the provider until all rows are visible. The rate is configured, as it is
    known to whoever pays for it; the length of a range is not.
    """
    limits = Limits()
    blocks = session.sizes.sparse_blocks
    async with (
        Chain(light=True, slots_in_an_epoch=SLOTS_IN_AN_EPOCH) as chain,
        session.database("slow") as dsn,
        connected(dsn) as connection,
    ):
        await _generate(chain, blocks)
        wanted = await _count_events(chain)
        async with (
            _proxy(chain.url) as proxy_url,
            Program(
                session.program,
                chain,
                dsn,
                Options(rpc_url=proxy_url, requests_per_s=limits.calls_per_s),
            ) as program,
        ):

            async def is_complete() -> bool:
                return await rows.count(connection) >= wanted

            wall_s = await program.until(
                f"{wanted} rows", is_complete, timeout_s=TIMEOUT_S, poll_s=POLL_S
            )
            done_at_s = time.monotonic()
            counts = await _counts(proxy_url)
            await rows.require_exact(chain, connection)
            usage = await program.stop()
        calls = limits.calls_for(await chain.finalized() + 1)
    took_s = done_at_s - (counts.first_at_s or done_at_s)
    progress(f"{blocks} blocks in {took_s:.1f} s, {counts.passed} calls, {counts.refused} refused")
    return Result(
        "slow_provider",
        round(limits.least_s(calls) / took_s, 3),
        "share of what the provider allows",
        "all of it",
        1.0,
        Wanted(">=", 0.9),
        await session.versions(),
        {
            "exact": True,
            "blocks": blocks,
            "events": wanted,
            "least_s": round(limits.least_s(calls), 2),
            "took_s": round(took_s, 2),
            "wall_s": round(wall_s, 2),
            "least_calls": calls,
            "calls_answered": counts.passed,
            "calls_refused_429": counts.refused,
            "calls_too_wide": counts.too_wide,
            "calls_by_method": dict(counts.methods),
            "cpu_s": usage.cpu_s,
            "peak_rss_mb": usage.peak_rss_mb,
        },
    )


async def _generate(chain: Chain, blocks: int) -> None:
    """Events in one block of a thousand, the first and the last final ones among them."""
    for start in range(0, blocks, BLOCKS_BETWEEN_EVENTS):
        await chain.send(1, EVENTS_PER_CALL)
        await chain.mine_empty(min(BLOCKS_BETWEEN_EVENTS, blocks - start))
    await chain.send(1, EVENTS_PER_CALL)
    await chain.mine_empty(2 * SLOTS_IN_AN_EPOCH + 1)


async def _count_events(chain: Chain) -> int:
    head = await chain.head()
    step = 10 * BLOCKS_BETWEEN_EVENTS
    return sum(
        [len(await chain.logs(i, min(i + step - 1, head))) for i in range(0, head + 1, step)]
    )


@asynccontextmanager
async def _proxy(upstream: str) -> AsyncIterator[str]:
    """URL of the provider, a process of its own so that its pauses are not ours."""
    log = new_temporary_path(None)
    argv = [sys.executable, "-m", "benchmarks.slow_proxy", "--upstream", upstream]
    try:
        async with await GuardedProcess.start(argv, log_path=log, cwd=REPOSITORY) as process:
            yield f"http://{HOST}:{await _port(process, log)}"
    finally:
        log.unlink(missing_ok=True)


async def _port(process: GuardedProcess, log: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.returncode is None and time.monotonic() < deadline:
        listening = LISTENING.search(log_tail(log))
        if listening is not None:
            return int(listening[1])
        await asyncio.sleep(POLL_S)
    raise ProxyFailedError(reason=log_tail(log) or "it was too slow")


async def _counts(proxy_url: str) -> Counts:
    async with aiohttp.ClientSession() as client, client.get(f"{proxy_url}/counts") as answer:
        return msgspec.json.decode(await answer.read(), type=Counts)
