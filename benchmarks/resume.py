"""How soon after a kill every transaction that was in flight is in the daemon's hands again."""

from __future__ import annotations

import time

from benchmarks import desk
from benchmarks.database import connected
from benchmarks.desk import AMOUNT_MINOR, Desk
from benchmarks.errors import NotReachedError
from benchmarks.result import Result, Wanted
from benchmarks.session import Session

# Each carries 64 transactions of 250 at most.
LANES = 8
BATCH_ITEMS = 250
LIMIT_S = 30.0
TIMEOUT_S = 1_800.0
SUBMITTED = "SELECT count(*) FROM bridge.operation WHERE kind = 'issuance' AND state = 'submitted'"
# Of those that had no outcome when it was killed. They stand in no block, so that each is given to a node once more.
NOT_RESUMED = """
    SELECT count(*) FROM bridge.tx t WHERE t.outcome IS NULL AND NOT EXISTS (
        SELECT FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id AND a.last_sent_at > $1)"""
NOW = "SELECT clock_timestamp()"


async def resume_in_flight(session: Session) -> Result:
    """The chain stands still meanwhile; when it goes on, everything is minted, once."""
    operations = session.sizes.in_flight
    async with desk.opened(session, lanes=LANES, batch_items=BATCH_ITEMS) as made:
        await made.fund(0)
        async with made.daemon() as worker, connected(made.dsn) as connection:

            async def is_ready() -> bool:
                return bool(await connection.fetchval(desk.JOINED))

            await worker.until("the token's history", is_ready, TIMEOUT_S)
        desk.told(f"booking {operations} deposits")
        await made.fund(operations)
        # No blocks come any more.
        await made.node.rpc("evm_setIntervalMining", 0)
        desk.told("the daemon sends them")
        async with made.daemon() as worker, connected(made.dsn) as connection:

            async def are_submitted() -> bool:
                return bool(await connection.fetchval(SUBMITTED) >= operations)

            await worker.until(f"{operations} mints in flight", are_submitted, TIMEOUT_S)
            await worker.kill()
        resumed_s, peak_rss_mb, minted_s = await _resume(made, operations)
    return Result(
        "resume_in_flight",
        round(resumed_s, 2),
        "s",
        "the limit",
        LIMIT_S,
        Wanted("<=", 1),
        await session.versions(),
        {
            "operations": operations,
            "lanes": LANES,
            "minted_s": round(minted_s, 2),
            "peak_rss_mb": peak_rss_mb,
        },
    )


async def _resume(made: Desk, operations: int) -> tuple[float, float, float]:
    """Seconds from the start until all are resumed, peak memory by then, and seconds until all are minted."""
    async with connected(made.dsn) as connection:
        killed_at = await connection.fetchval(NOW)
        started_at = time.perf_counter()
        async with made.daemon() as worker:
            meter = worker.meter()

            async def are_resumed() -> bool:
                return not await connection.fetchval(NOT_RESUMED, killed_at)

            await worker.until("all transactions sent again", are_resumed, TIMEOUT_S)
            resumed_s = time.perf_counter() - started_at
            usage = await meter.stop()
            desk.told(f"resumed after {resumed_s:.1f} s; the chain goes on")
            went_on_at = time.perf_counter()
            await made.node.rpc("evm_setIntervalMining", 1)

            async def are_mined() -> bool:
                return bool(await connection.fetchval(desk.MINED) >= operations)

            await worker.until(f"{operations} mints", are_mined, TIMEOUT_S)
            minted_s = time.perf_counter() - went_on_at
    supply = await made.contract.ask("totalSupply()", returns=["uint256"])
    if supply != operations * AMOUNT_MINOR:
        what = f"{operations} mints, each once"
        raise NotReachedError(
            what=what, timeout_s=TIMEOUT_S, log=f"{supply / AMOUNT_MINOR:g} mints"
        )
    return resumed_s, usage.peak_rss_mb, minted_s
