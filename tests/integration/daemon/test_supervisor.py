"""The supervisor: loops live and die with their lease, failures are met by their kind, stops are in order.

The first part runs it in this process over a real Postgres; the second one kills and freezes real
daemons.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from yarl import URL

import bridge.errors
import indexer.errors
from daemon import supervisor as supervision
from daemon.embedded.postgres import EmbeddedPostgres, free_port
from daemon.supervisor import Loop, Supervisor
from indexer import lease
from indexer.errors import DatabaseUnavailable, LeaseLost
from indexer.lease import Fence, fenced
from tests.conftest import Database, Template
from tests.faultproxy import FaultProxy
from tests.integration.daemon.audit import check_exact
from tests.integration.daemon.running import Daemon, eventually
from tests.integration.daemon.staging import copied, opened
from tests.integration.daemon.world import World

TTL_S = 1.2
WAIT_S = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=6) as opened_pool:
        yield opened_pool


class Work:
    """A loop's step that notes what becomes of it; `hold` makes it last until `release`."""

    def __init__(self, role: str = "work", *, holds: bool = False) -> None:
        self.fences: list[Fence] = []
        self.finished = 0
        self.cancelled = 0
        self.failures: list[Exception] = []
        self._released = asyncio.Event()
        if not holds:
            self.release()
        self.loop = Loop("worker", role, self.step, idle_s=0.01)

    def release(self) -> None:
        self._released.set()

    async def step(self, fence: Fence) -> bool:
        self.fences.append(fence)
        if self.failures:
            raise self.failures.pop(0)
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return False

    async def steps(self, count: int = 1) -> None:
        await seen("the loop took a step", lambda: len(self.fences) >= count)


async def seen(what: str, look: Any) -> None:
    async def looked() -> bool:
        return bool(look())

    await eventually(what, looked, WAIT_S)


@asynccontextmanager
async def supervised(
    pool: asyncpg.Pool, *loops: Loop, holder: str = "us"
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(pool, holder, TTL_S, list(loops))
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        supervisor.stop()
        await running


async def take_over(pool: asyncpg.Pool, role: str = "work", for_s: float = 60.0) -> int:
    """What another daemon would do once the lease has run out, at once."""
    epoch: int = await pool.fetchval(
        """UPDATE ops.lease SET epoch = epoch + 1, holder = 'another',
               expires_at = clock_timestamp() + make_interval(secs => $2)
           WHERE role = $1 RETURNING epoch""",
        role,
        for_s,
    )
    return epoch


async def open_halts(pool: asyncpg.Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT scope, reason FROM ops.halt WHERE closed_at IS NULL")
    return [tuple(row) for row in rows]


async def test_a_step_runs_under_a_fence_that_holds(pool: asyncpg.Pool) -> None:
    work = Work()
    async with supervised(pool, work.loop) as supervisor:
        await work.steps()
        async with fenced(pool, work.fences[0]):
            pass
        (facts,) = supervisor.facts()
        assert (facts.name, facts.role, facts.running) == ("worker", "work", True)
        assert facts.last_success_age_s is not None


async def test_a_lost_lease_cancels_what_runs_under_it(pool: asyncpg.Pool) -> None:
    work = Work(holds=True)
    async with supervised(pool, work.loop) as supervisor:
        await work.steps()
        await take_over(pool)
        await seen("the step is cancelled", lambda: work.cancelled == 1)
        await asyncio.sleep(TTL_S)
        (facts,) = supervisor.facts()
        assert len(work.fences) == 1, "a step began without the lease"
        assert not facts.running
        assert "another daemon has it" in (facts.last_error or "")
    assert await pool.fetchval("SELECT holder FROM ops.lease") == "another"


async def test_a_lease_that_is_free_again_is_taken_at_a_higher_epoch(pool: asyncpg.Pool) -> None:
    work = Work()
    async with supervised(pool, work.loop) as supervisor:
        await work.steps()
        epoch = await take_over(pool, for_s=TTL_S)
        await seen("the loop runs again", lambda: work.fences[-1].epoch > epoch)
        assert supervisor.facts()[0].running


async def test_a_step_that_writes_after_the_lease_was_taken_writes_nothing(
    pool: asyncpg.Pool,
) -> None:
    """The keeper has not noticed yet; Postgres has. The loop does not spin meanwhile."""
    refused = []

    async def write(fence: Fence) -> bool:
        try:
            async with fenced(pool, fence):
                return False
        except LeaseLost as error:
            refused.append(error)
            raise

    async with supervised(pool, Loop("writer", "work", write, idle_s=0.05)):
        await eventually(
            "the lease is taken", lambda: pool.fetchval("SELECT count(*) FROM ops.lease"), WAIT_S
        )
        await take_over(pool)
        await asyncio.sleep(TTL_S)
    assert 1 <= len(refused) <= 5


async def test_a_role_that_never_rests_keeps_its_lease(pool: asyncpg.Pool) -> None:
    """Renewing waits for the fenced transactions under way, and must come to its turn all the same."""
    epochs = set()

    async def write(fence: Fence) -> bool:
        async with fenced(pool, fence) as connection:
            await connection.execute("SELECT pg_sleep(0.02)")
        epochs.add(fence.epoch)
        return True

    async with supervised(
        pool, *(Loop(f"writer {n}", "work", write, idle_s=0.01) for n in range(4))
    ):
        await asyncio.sleep(2 * TTL_S)
    assert epochs == {1}


@pytest.mark.parametrize("fault", ["refused", "mute"])
async def test_a_lease_that_cannot_be_renewed_is_given_up_before_another_can_take_it(
    database: Database, fault: str
) -> None:
    url = URL(database.daemon_dsn)
    work = Work(holds=True)
    async with (
        FaultProxy(str(url.host), url.port or 0) as proxy,
        asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=1) as another,
        asyncpg.create_pool(str(url.with_port(proxy.port)), min_size=1, max_size=4) as ours,
        supervised(ours, work.loop),
    ):
        await work.steps()
        if fault == "mute":
            proxy.black_hole()
        else:
            await proxy.refuse()
        taken = await eventually("another takes it", lambda: acquire(another), WAIT_S)
        assert work.cancelled == 1, "both held the lease"
        await proxy.heal()
        async with another.acquire() as connection:
            await lease.release(connection, taken)
        work.release()
        await work.steps(2)
        assert work.fences[1].epoch > taken.epoch


async def acquire(pool: asyncpg.Pool, role: str = "work") -> Fence | None:
    async with pool.acquire() as connection:
        return await lease.acquire(connection, role, "another", TTL_S)


async def test_a_connection_left_in_a_transaction_holds_no_takeover_up(
    database: Database, pool: asyncpg.Pool
) -> None:
    """As of a daemon that was frozen in the middle of a fenced transaction; the limit is `app`'s."""
    limit = {"idle_in_transaction_session_timeout": str(int(TTL_S * 1000 / 2))}
    async with asyncpg.create_pool(
        database.daemon_dsn, min_size=1, max_size=1, server_settings=limit
    ) as frozen:
        ours = await acquire(frozen)
        assert ours is not None
        with pytest.raises(DatabaseUnavailable):
            async with fenced(frozen, ours) as connection:
                began = time.monotonic()
                theirs = await eventually("it is taken", lambda: acquire(pool), WAIT_S)
                assert time.monotonic() - began < 2 * TTL_S
                await connection.execute("SELECT 1")
        assert theirs.epoch == ours.epoch + 1
        with pytest.raises(LeaseLost):
            async with fenced(frozen, ours):
                pass


async def test_a_holder_that_stands_still_in_the_middle_of_a_query_is_evicted(
    database: Database, pool: asyncpg.Pool
) -> None:
    """Between its preparation and its execution: Postgres does not count that as idle, and would wait for ever."""
    limit = {"idle_in_transaction_session_timeout": str(int(TTL_S * 1000 / 2))}
    frozen = await asyncpg.connect(database.daemon_dsn, server_settings=limit)
    ours = await lease.acquire(frozen, "work", "frozen", TTL_S)
    assert ours is not None
    await frozen.execute("BEGIN")
    await lease.enter(frozen, ours)
    await frozen.prepare("SELECT $1::integer")
    work = Work()
    async with supervised(pool, work.loop):
        await work.steps(1)
    assert work.fences[0].epoch == ours.epoch + 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await frozen.execute("COMMIT")
    await frozen.close()


@pytest.mark.parametrize("error", [bridge.errors.Fatal, indexer.errors.Fatal])
async def test_a_fatal_error_halts_money_and_nothing_else_stops(
    pool: asyncpg.Pool, error: type[Exception]
) -> None:
    broken, well = Work("broken"), Work("well")
    broken.failures = [error("mend it")] if error is bridge.errors.Fatal else [error()]
    async with supervised(pool, broken.loop, well.loop) as supervisor:
        await broken.steps(2)
        ((scope, reason),) = await open_halts(pool)
        assert scope == "money"
        assert reason.startswith("worker: ")
        count = len(well.fences)
        await well.steps(count + 3)
        assert supervisor.facts()[0].restarts == 1


async def test_a_fatal_error_of_a_loop_that_money_does_not_depend_on_halts_nothing(
    pool: asyncpg.Pool,
) -> None:
    broken, well = Work("follow:2"), Work("well")
    broken.failures = [indexer.errors.Fatal()]
    async with supervised(pool, replace(broken.loop, halts_money=False), well.loop) as supervisor:
        await broken.steps(2)
        count = len(well.fences)
        await well.steps(count + 3)
        assert await open_halts(pool) == []
        assert supervisor.facts()[0].restarts == 1


async def test_the_kind_of_an_error_is_told_until_the_next_success(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.3)
    work = Work()
    work.failures = [indexer.errors.WrongChain(endpoint="x", expected=1, found=2)]
    loop = replace(work.loop, halts_money=False, chain="mainnet")
    async with supervised(pool, loop) as supervisor:
        await seen("it is told", lambda: supervisor.facts()[0].error_kind == "WrongChain")
        assert "chains.mainnet.id says 1" in (supervisor.facts()[0].last_error or "")
        await seen("it is forgotten", lambda: supervisor.facts()[0].error_kind is None)


async def test_a_loop_does_not_run_while_it_waits_to_be_tried_again(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 1.0)
    work = Work()
    async with supervised(pool, work.loop) as supervisor:
        await seen("it runs", lambda: supervisor.facts()[0].running)
        work.failures = [bridge.errors.Retryable("not now")]
        await seen("it fails", lambda: supervisor.facts()[0].last_error is not None)
        assert not supervisor.facts()[0].running


async def test_a_loop_rests_as_it_likes_and_a_stop_ends_its_rest_at_once(
    pool: asyncpg.Pool,
) -> None:
    rested, woken = asyncio.Event(), asyncio.Event()

    async def rest() -> None:
        rested.set()
        await woken.wait()
        woken.clear()

    work = Work()
    async with supervised(pool, replace(work.loop, rest=rest)) as supervisor:
        await rested.wait()
        assert len(work.fences) == 1
        woken.set()
        await work.steps(2)
        await asyncio.sleep(0.2)
        assert len(work.fences) == 2
        began = time.monotonic()
        supervisor.stop()
    assert time.monotonic() - began < 1


async def test_a_loop_is_closed_after_a_failure_a_lost_lease_and_the_stop(
    pool: asyncpg.Pool,
) -> None:
    closed = []

    async def close() -> None:
        closed.append(work.finished)

    work = Work()
    work.failures = [bridge.errors.Retryable("not now")]
    async with supervised(pool, replace(work.loop, close=close)):
        await seen("it is closed after the failure", lambda: closed == [0])
        await work.steps(3)
        await take_over(pool, for_s=TTL_S)
        await seen("it is closed after the loss", lambda: len(closed) == 2)
        count = len(work.fences)
        await work.steps(count + 1)
    assert len(closed) == 3


async def test_a_passing_error_restarts_the_loop_with_growing_pauses_and_halts_nothing(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.1)
    work = Work()
    work.failures = [bridge.errors.Retryable("not now") for _ in range(3)]
    async with supervised(pool, work.loop) as supervisor:
        began = time.monotonic()
        await work.steps(4)
        assert time.monotonic() - began >= 0.1 + 0.2 + 0.4
        await seen("it has recovered", lambda: supervisor.facts()[0].last_error is None)
        (facts,) = supervisor.facts()
        assert (facts.restarts, facts.running) == (3, True)
        assert await open_halts(pool) == []


async def test_an_error_that_nobody_foresaw_restarts_the_loop_and_is_told(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.5)
    work = Work()
    work.failures = [KeyError("oops")]
    async with supervised(pool, work.loop) as supervisor:
        await work.steps()
        await seen("it is told", lambda: supervisor.facts()[0].last_error == "KeyError: 'oops'")
        await work.steps(2)
        assert await open_halts(pool) == []


async def test_a_stop_lets_the_step_finish_and_gives_the_lease_back_at_once(
    pool: asyncpg.Pool,
) -> None:
    work = Work(holds=True)
    async with supervised(pool, work.loop) as supervisor:
        await work.steps()
        supervisor.stop()
        await asyncio.sleep(0.3)
        assert work.cancelled == 0
        work.release()
    assert (work.finished, work.cancelled, len(work.fences)) == (1, 0, 1)
    assert await acquire(pool) is not None


async def test_a_step_that_does_not_finish_is_cancelled_after_the_grace_period(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "SHUTDOWN_GRACE_S", 0.3)
    work = Work(holds=True)
    async with supervised(pool, work.loop):
        await work.steps()
    assert (work.finished, work.cancelled) == (0, 1)
    assert await acquire(pool) is not None


async def test_a_stop_ends_in_time_while_postgres_is_mute(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "SHUTDOWN_GRACE_S", 0.3)
    monkeypatch.setattr(supervision, "CANCEL_GRACE_S", 0.5)
    url = URL(database.daemon_dsn)
    async with FaultProxy(str(url.host), url.port or 0) as proxy:
        pool = await asyncpg.create_pool(str(url.with_port(proxy.port)), min_size=1, max_size=4)

        async def ask(_: Fence) -> bool:
            return bool(await pool.fetchval("SELECT true"))

        work = Loop("asker", "work", ask, idle_s=0.01)
        try:
            async with asyncio.timeout(5), supervised(pool, work) as supervisor:
                await seen("it runs", lambda: supervisor.facts()[0].running)
                proxy.black_hole()
                await asyncio.sleep(0.3)
        finally:
            pool.terminate()
            await asyncio.sleep(0.1)


async def test_of_two_daemons_one_works_and_the_other_takes_over_when_it_stops(
    pool: asyncpg.Pool,
) -> None:
    first, second = Work(), Work()
    async with supervised(pool, second.loop, holder="second"):
        await second.steps()
        async with supervised(pool, first.loop, holder="first"):
            await asyncio.sleep(TTL_S)
            assert first.fences == []
    # The second one has stopped: had the first still run, the lease would be its by now.
    async with supervised(pool, first.loop, holder="first"):
        began = time.monotonic()
        await first.steps()
        assert time.monotonic() - began < TTL_S
    assert first.fences[0].epoch == second.fences[0].epoch + 1


async def test_a_keeper_outlives_any_failure_of_its_own(
    database: Database, pool: asyncpg.Pool
) -> None:
    work = Work(holds=True)
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        async with supervised(pool, work.loop):
            await work.steps()
            await owner.execute("ALTER TABLE ops.lease RENAME TO gone")
            await seen("the step is cancelled", lambda: work.cancelled == 1)
            await owner.execute("ALTER TABLE ops.gone RENAME TO lease")
            work.release()
            await work.steps(2)
    finally:
        await owner.close()


# Real daemons.


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    postgres: EmbeddedPostgres, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with (
        copied(postgres, template) as database,
        opened(tmp_path_factory.mktemp("supervisor"), database, holders=1) as made,
    ):
        await made.daemon.start()
        yield made


@asynccontextmanager
async def second_daemon(world: World) -> AsyncIterator[Daemon]:
    daemon = Daemon(world.configuration, free_port())
    try:
        await daemon.start()
        yield daemon
    finally:
        with suppress(ProcessLookupError):
            await daemon.close()


async def holders_of_leases(world: World) -> set[str]:
    rows = await world.owner.fetch(
        "SELECT DISTINCT holder FROM ops.lease WHERE expires_at > clock_timestamp()"
    )
    return {row["holder"] for row in rows}


async def all_leases_go_to(world: World, daemon: Daemon) -> None:
    async def taken() -> bool:
        holders = await holders_of_leases(world)
        return len(holders) == 1 and holders.pop().endswith(f":{daemon.pid}")

    await eventually("the daemon holds every lease", taken, WAIT_S)


async def test_when_a_daemon_is_frozen_another_takes_over_and_the_woken_one_writes_nothing(
    world: World,
) -> None:
    first = world.daemon
    await all_leases_go_to(world, first)
    holder = world.holders[0]
    await world.minted(await world.pay_in(holder, 5_00))
    async with second_daemon(world) as second:
        # In the middle of work: what it has begun must be ended by the other one.
        for _ in range(5):
            await world.pay_in(holder, 5_00)
        first.signal(signal.SIGSTOP)
        try:
            await world.redeem(holder, 2_00)
            await all_leases_go_to(world, second)
            await world.pay_in(holder, 7_00)
            await world.settled()
            epochs = await world.owner.fetch("SELECT role, epoch FROM ops.lease ORDER BY role")
            before = len(first.log())
        finally:
            first.signal(signal.SIGCONT)
        await first.logs("lease_lost", since=before)
        await world.minted(await world.pay_in(holder, 8_00))
        await asyncio.sleep(1.0)
        assert await world.owner.fetch("SELECT role, epoch FROM ops.lease ORDER BY role") == epochs
        await all_leases_go_to(world, second)
        ready = await first.get("/readyz")
        assert ready.status == 200, ready.text
        await world.settled()
        await check_exact(world)


async def test_when_a_daemon_is_killed_another_takes_over_and_nothing_is_done_twice(
    world: World,
) -> None:
    first, holder = world.daemon, world.holders[0]
    await all_leases_go_to(world, first)
    async with second_daemon(world) as second:
        for _ in range(5):
            await world.pay_in(holder, 5_00)
        await world.redeem(holder, 3_00)
        await first.kill()
        await all_leases_go_to(world, second)
        await world.settled()
        await check_exact(world)
        assert await second.stop() == 0
