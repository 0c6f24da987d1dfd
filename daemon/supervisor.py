"""Keeps loops running: each under its role's lease, restarted with backoff, stopped in order.

A loop decides nothing about its own failures. ``Retryable`` errors, and errors that nobody foresaw,
restart it after a growing pause; a ``Fatal`` one halts money movement in the database, while indexing
and status go on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg
import structlog

import bridge.errors
import indexer.errors
from bridge import halts
from daemon.health import LoopFacts
from indexer import lease
from indexer.database import AWAY
from indexer.errors import DatabaseUnavailable, LeaseLost
from indexer.lease import Fence

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
SHUTDOWN_GRACE_S: Final = 10.0
CANCEL_GRACE_S: Final = 3.0

# Shares of a lease's duration. One renewal may fail; whatever happens to the next one, the lease is
# given up here before it ends in Postgres.
RENEW_EVERY: Final = 1 / 3
RENEW_WITHIN: Final = 1 / 4
GIVE_UP_AFTER: Final = 1 / 2

# The internal error is what asyncpg says when a server that shuts down ends a connection between two
# statements of a transaction.
_POSTGRES_AWAY: Final = (*AWAY, DatabaseUnavailable)
_FATAL: Final = (bridge.errors.Fatal, indexer.errors.Fatal)

Step = Callable[[Fence], Awaitable[bool]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loop:
    """A step that is repeated while this daemon holds its role's lease.

    ``open`` runs before the first step, and again after each failure and each lease that was lost;
    ``idle_s`` is the rest after a step without work.
    """

    name: str
    role: str
    step: Step
    idle_s: float
    open: Callable[[Fence], Awaitable[None]] | None = None


class _State:
    """What is known of one loop while it runs."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.running = False
        self.last_success: float | None = None
        self.last_error: str | None = None
        self.restarts = 0
        self.failures_in_a_row = 0

    def facts(self) -> LoopFacts:
        age_s = None if self.last_success is None else time.monotonic() - self.last_success
        return LoopFacts(
            name=self.loop.name,
            role=self.loop.role,
            running=self.running,
            last_success_age_s=age_s,
            last_error=self.last_error,
            restarts=self.restarts,
        )


class _Keeper:
    """Holds one role's lease and cancels what runs under it as soon as it is lost."""

    def __init__(self, pool: asyncpg.Pool, role: str, holder: str, ttl_s: float) -> None:
        self.role = role
        self._pool = pool
        self._holder = holder
        self._ttl_s = ttl_s
        self._fence: Fence | None = None
        self._renewed = 0.0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def held(self) -> Fence:
        """Wait until the lease is ours."""
        while self._fence is None:
            self._changed.clear()
            await self._changed.wait()
        return self._fence

    async def run(self, fence: Fence, work: Callable[[Fence], Awaitable[T]]) -> T:
        """Run something under the lease; raises LeaseLost if it is lost meanwhile."""
        if fence != self._fence:
            raise LeaseLost(role=self.role, epoch=fence.epoch)
        task = asyncio.create_task(_coroutine(work(fence)))
        self._tasks.add(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                raise
            if fence == self._fence:
                raise
            raise LeaseLost(role=self.role, epoch=fence.epoch) from None
        finally:
            self._tasks.discard(task)

    async def keep(self) -> None:
        """Take the lease and renew it for ever; on cancellation it is given back."""
        try:
            while True:
                await self._once()
                await asyncio.sleep(self._ttl_s * RENEW_EVERY)
        finally:
            await self._give_back()

    async def _once(self) -> None:
        began = time.monotonic()
        # Not wait_for: it would wait for a mute connection to be cancelled, and that can take long.
        attempt = asyncio.create_task(self._acquire_or_renew())
        attempt.add_done_callback(_look_at)
        try:
            done, _ = await asyncio.wait([attempt], timeout=self._ttl_s * RENEW_WITHIN)
            if not done:
                raise TimeoutError
            await attempt
            self._renewed = began
        except Exception as error:  # noqa: BLE001 - whatever the reason, the lease is not renewed
            log.warning(
                "lease_unreachable", role=self.role, error=f"{type(error).__name__}: {error}"
            )
            if time.monotonic() - self._renewed > self._ttl_s * GIVE_UP_AFTER:
                self._lose()
        finally:
            attempt.cancel()

    async def _acquire_or_renew(self) -> None:
        fence = self._fence
        async with self._pool.acquire(timeout=self._ttl_s * RENEW_WITHIN) as connection:
            if fence is None:
                self._take(await lease.acquire(connection, self.role, self._holder, self._ttl_s))
            elif not await lease.renew(connection, fence, self._ttl_s):
                self._lose()

    def _take(self, fence: Fence | None) -> None:
        if fence is not None:
            self._fence = fence
            log.info("lease_taken", role=self.role, epoch=fence.epoch)
            self._changed.set()

    def _lose(self) -> None:
        if self._fence is None:
            return
        log.warning("lease_lost", role=self.role, epoch=self._fence.epoch)
        self._fence = None
        for task in self._tasks:
            task.cancel()

    async def _give_back(self) -> None:
        if self._fence is None:
            return
        limit_s = self._ttl_s * RENEW_WITHIN
        with suppress(*_POSTGRES_AWAY, asyncpg.PostgresError):
            async with asyncio.timeout(limit_s), self._pool.acquire(timeout=limit_s) as connection:
                await lease.release(connection, self._fence)


class Supervisor:
    """Runs loops until :meth:`stop`; :meth:`facts` tells how they fare."""

    def __init__(
        self, pool: asyncpg.Pool, holder: str, lease_ttl_s: float, loops: list[Loop]
    ) -> None:
        self._pool = pool
        self._states = [_State(loop) for loop in loops]
        self._keepers = {
            role: _Keeper(pool, role, holder, lease_ttl_s) for role in {loop.role for loop in loops}
        }
        self._stopping = asyncio.Event()

    def facts(self) -> list[LoopFacts]:
        """One entry for each loop."""
        return [state.facts() for state in self._states]

    def stop(self) -> None:
        """Ask every loop to finish its step and end."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped: steps in progress get a grace period, then leases are given back."""
        keepers = [asyncio.create_task(keeper.keep()) for keeper in self._keepers.values()]
        loops = [asyncio.create_task(self._run_loop(state)) for state in self._states]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            tasks = [stopping, *keepers, *loops]
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            await asyncio.wait(loops, timeout=SHUTDOWN_GRACE_S)
            for task in ended:
                task.result()  # a fault of the supervisor's own ends the daemon, and is told
        finally:
            await _cancel([stopping, *loops])
            await _cancel(keepers)

    async def _run_loop(self, state: _State) -> None:
        while not self._stopping.is_set():
            try:
                await self._run_lease(state)
            except LeaseLost as error:
                state.last_error = str(error)
                # Postgres may know of the loss before our keeper does.
                await self._rest(FIRST_PAUSE_S)
            except Exception as error:  # noqa: BLE001 - the supervisor is where every failure ends
                pause_s = min(FIRST_PAUSE_S * 2**state.failures_in_a_row, LONGEST_PAUSE_S)
                await self._report(state, error, pause_s)
                await self._rest(pause_s)
            finally:
                state.running = False

    async def _run_lease(self, state: _State) -> None:
        """Run one loop for as long as one lease lasts."""
        keeper = self._keepers[state.loop.role]
        fence = await self._or_stop(keeper.held())
        if fence is None:
            return
        if state.loop.open is not None:
            await keeper.run(fence, state.loop.open)
        while not self._stopping.is_set():
            worked = await keeper.run(fence, state.loop.step)
            # Only now: a loop that fails at every try does not run, not even while it tries.
            state.running = True
            state.last_success = time.monotonic()
            state.last_error = None
            state.failures_in_a_row = 0
            await (asyncio.sleep(0) if worked else self._rest(state.loop.idle_s))

    async def _report(self, state: _State, error: Exception, pause_s: float) -> None:
        state.restarts += 1
        state.failures_in_a_row = min(state.failures_in_a_row + 1, 10)
        state.last_error = f"{type(error).__name__}: {error}"[:500]
        known = isinstance(
            error, (*_FATAL, *_POSTGRES_AWAY, bridge.errors.Retryable, indexer.errors.Retryable)
        )
        log.error(
            "loop_failed",
            loop=state.loop.name,
            error=state.last_error,
            again_in_s=pause_s,
            exc_info=None if known else error,
        )
        if isinstance(error, _FATAL):
            with suppress(*_POSTGRES_AWAY, asyncpg.PostgresError):
                async with self._pool.acquire() as connection:
                    await halts.halt(
                        connection, "money", f"{state.loop.name}: {error}"[:1000], "daemon"
                    )

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _or_stop(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of ``work``, or None if the stop comes first."""
        task, stopping = asyncio.create_task(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await _cancel([task, stopping])


async def _coroutine(work: Awaitable[T]) -> T:
    return await work


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait a while: one on a mute connection ends when the connection is closed."""
    for task in tasks:
        task.cancel()
        task.add_done_callback(_look_at)
    await asyncio.wait(tasks, timeout=CANCEL_GRACE_S)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, which asyncio would complain about otherwise."""
    if not task.cancelled():
        task.exception()
