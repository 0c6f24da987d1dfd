"""Keeps loops running: each under its role's lease, restarted with backoff, stopped in order.

A loop decides nothing about its own failures. ``Retryable`` errors, and errors that nobody foresaw,
restart it after a growing pause; so does a ``Fatal`` one, which also halts money movement in the database if
the loop is one that money depends on. Whatever happens to a loop, those of other roles go on.
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
from daemon.errors import of_chain
from daemon.health import LoopFacts
from daemon.keeper import Keeper, coroutine, look_at
from indexer.database import AWAY
from indexer.errors import DatabaseUnavailable, LeaseLost
from indexer.lease import Fence
from indexer.presence import Presence

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
SHUTDOWN_GRACE_S: Final = 10.0
CANCEL_GRACE_S: Final = 3.0

# The internal error is what asyncpg says when a server that shuts down ends a connection between two
# statements of a transaction.
_POSTGRES_AWAY: Final = (*AWAY, DatabaseUnavailable)
_FATAL: Final = (bridge.errors.Fatal, indexer.errors.Fatal)

Step = Callable[[Fence], Awaitable[bool]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loop:
    """A step that is repeated while this daemon holds its role's lease.

    ``open`` runs before the first step, and again after each failure and each lease that was lost; ``close``
    after the last one, and likewise. A step without work is followed by ``rest``, or by ``idle_s`` seconds; a stop
    ends either. ``halts_money``: whether a fatal error of it does; ``needed``: whether the daemon is not ready
    without it. ``chain`` is the name of the one that it is about. ``all_fenced``: a holder that lost its lease
    without knowing can do no harm, since Postgres or whoever else it speaks to refuses it; so if its process seems
    to have died, nobody waits for the lease's end.
    """

    name: str
    role: str
    step: Step
    idle_s: float
    open: Callable[[Fence], Awaitable[None]] | None = None
    rest: Callable[[], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    halts_money: bool = True
    needed: bool = True
    chain: str | None = None
    all_fenced: bool = False


class _State:
    """What is known of one loop while it runs."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.running = False
        self.last_success: float | None = None
        self.last_error: str | None = None
        self.error_kind: str | None = None
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
            error_kind=self.error_kind,
            needed=self.loop.needed,
        )

    def succeeded(self) -> None:
        self.running = True
        self.last_success = time.monotonic()
        self.last_error = self.error_kind = None
        self.failures_in_a_row = 0


class Supervisor:
    """Runs loops until :meth:`stop`; :meth:`facts` tells how they fare."""

    def __init__(
        self, pool: asyncpg.Pool, holder: str, lease_ttl_s: float, loops: list[Loop]
    ) -> None:
        self._pool = pool
        self._states = [_State(loop) for loop in loops]
        self._presence = Presence(pool)
        self._keepers = {
            role: Keeper(pool, role, holder, lease_ttl_s, self._presence_for(role, loops))
            for role in {loop.role for loop in loops}
        }
        self._stopping = asyncio.Event()

    def _presence_for(self, role: str, loops: list[Loop]) -> Presence | None:
        all_fenced = all(loop.all_fenced for loop in loops if loop.role == role)
        return self._presence if all_fenced else None

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
            with suppress(*_POSTGRES_AWAY, asyncpg.PostgresError):
                await asyncio.wait_for(self._presence.close(), CANCEL_GRACE_S)

    async def _run_loop(self, state: _State) -> None:
        while not self._stopping.is_set():
            try:
                await self._run_lease(state)
            except LeaseLost as error:
                state.last_error, state.error_kind = str(error), type(error).__name__
                # Postgres may know of the loss before our keeper does.
                await self._rest(FIRST_PAUSE_S)
            except Exception as error:  # noqa: BLE001 - the supervisor is where every failure ends
                pause_s = min(FIRST_PAUSE_S * 2**state.failures_in_a_row, LONGEST_PAUSE_S)
                await self._report(state, error, pause_s)
                await self._rest(pause_s)

    async def _run_lease(self, state: _State) -> None:
        """Run one loop for as long as one lease lasts."""
        keeper = self._keepers[state.loop.role]
        fence = await self._or_stop(keeper.held())
        if fence is None:
            return
        try:
            if state.loop.open is not None:
                await keeper.run(fence, state.loop.open)
            while not self._stopping.is_set():
                worked = await keeper.run(fence, state.loop.step)
                # Only now: a loop that fails at every try does not run, not even while it tries.
                state.succeeded()
                await (asyncio.sleep(0) if worked else self._rest_of(state.loop))
        finally:
            # Before any pause that follows: a loop does not run while it waits to be tried again.
            state.running = False
            if state.loop.close is not None:
                await state.loop.close()

    async def _report(self, state: _State, error: Exception, pause_s: float) -> None:
        state.restarts += 1
        state.failures_in_a_row = min(state.failures_in_a_row + 1, 10)
        state.error_kind = type(error).__name__
        text = str(error) if state.loop.chain is None else of_chain(error, state.loop.chain)
        state.last_error = f"{state.error_kind}: {text}"[:500]
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
        if isinstance(error, _FATAL) and state.loop.halts_money:
            with suppress(*_POSTGRES_AWAY, asyncpg.PostgresError):
                async with self._pool.acquire() as connection:
                    await halts.halt(
                        connection, "money", f"{state.loop.name}: {text}"[:1000], "daemon"
                    )

    async def _rest_of(self, loop: Loop) -> None:
        if loop.rest is None:
            await self._rest(loop.idle_s)
        else:
            await self._or_stop(coroutine(loop.rest()))

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


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait a while: one on a mute connection ends when the connection is closed."""
    for task in tasks:
        task.cancel()
        task.add_done_callback(look_at)
    await asyncio.wait(tasks, timeout=CANCEL_GRACE_S)
