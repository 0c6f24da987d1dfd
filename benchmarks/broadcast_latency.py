"""How soon after a deposit was accepted its mint is given to a node, at a steady rate of deposits."""

from __future__ import annotations

import asyncio
import time

from benchmarks import desk
from benchmarks.database import connected
from benchmarks.latencies import summary_ms
from benchmarks.result import Result, Wanted
from benchmarks.session import Session
from daemon.demo.scenario import Deposit, Holder

LANES = 4
PER_S = 50
LIMIT_MS = 250.0
TIMEOUT_S = 120.0
# The bytes are given to the node once: a block comes long before they would be sent again.
SENT = """
    SELECT extract(epoch FROM min(a.last_sent_at) - min(r.received_at))::float8 AS took_s
    FROM bridge.operation o JOIN bank.observation b USING (entry_id) JOIN bank.raw r USING (raw_id)
    JOIN bridge.tx_operation l USING (op_id) JOIN bridge.tx_attempt a USING (tx_id)
    WHERE a.sends > 0 GROUP BY o.operation_id"""


async def broadcast_latency(session: Session) -> Result:
    """From the commit of the webhook's bytes, which is when the bank is answered, until a node has answered."""
    deposits = session.sizes.deposits
    async with desk.opened(session, lanes=LANES, batch_items=250) as made:
        await made.fund(0)
        async with made.daemon() as worker, connected(made.dsn) as connection:

            async def is_ready() -> bool:
                return bool(await connection.fetchval(desk.JOINED))

            await worker.until("the token's history", is_ready, TIMEOUT_S)
            desk.told(f"{deposits} deposits, {PER_S} a second")
            await _pay_in(made, deposits)

            async def are_sent() -> bool:
                return len(await connection.fetch(SENT)) >= deposits

            await worker.until(f"{deposits} broadcasts", are_sent, TIMEOUT_S)
            took = summary_ms([row["took_s"] for row in await connection.fetch(SENT)])
    return Result(
        "broadcast_latency",
        took["p99_ms"],
        "ms (p99)",
        "the limit",
        LIMIT_MS,
        Wanted("<=", 1),
        await session.versions(),
        {
            "deposits": deposits,
            "deposits_per_s": PER_S,
            **took,
        },
    )


async def _pay_in(made: desk.Desk, deposits: int) -> None:
    """At a steady rate, whatever each of them takes."""
    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(deposits):
            await asyncio.sleep(max(0.0, started_at + number / PER_S - time.perf_counter()))
            group.create_task(_deposit(made, number))


async def _deposit(made: desk.Desk, number: int) -> None:
    place = number % len(made.holders)
    holder = Holder(place, made.holders[place], desk.iban(place), "bench")
    await made.bank.book(Deposit(number, holder, desk.AMOUNT_MINOR, "normal"))
