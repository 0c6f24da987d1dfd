"""Keeps one role's lease: takes it, renews it, gives it up in time, and cancels what runs under it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from indexer import lease
from indexer.database import AWAY
from indexer.errors import DatabaseUnavailable, LeaseLost
from indexer.lease import Fence
from indexer.presence import Presence

log = structlog.get_logger()

# Shares of a lease's duration. One renewal may fail; whatever happens to the next one, the lease is
# given up here before it ends in Postgres.
RENEW_EVERY: Final = 1 / 3
RENEW_WITHIN: Final = 1 / 4
GIVE_UP_AFTER: Final = 1 / 2

T = TypeVar("T")


class Keeper:
    """Holds one role's lease and cancels what runs under it as soon as it is lost.

    With ``presence``, others need not wait for the lease's end if this process dies.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        role: str,
        holder: str,
        ttl_s: float,
        presence: Presence | None,
    ) -> None:
        self.role = role
        self._pool = pool
        self._presence = presence
        self._holder = holder
        self._ttl_s = ttl_s
        self._fence: Fence | None = None
        self._renewed = 0.0
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting_pid: int | None = None

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
        task = asyncio.create_task(coroutine(work(fence)))
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
        attempt.add_done_callback(look_at)
        try:
            done, _ = await asyncio.wait([attempt], timeout=self._ttl_s * RENEW_WITHIN)
            if not done and await self._evict():
                # It is through now, and would hold the lease without our knowing.
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
        presence = await self._presence.key() if self._presence else None
        async with self._pool.acquire(timeout=self._ttl_s * RENEW_WITHIN) as connection:
            if fence is None:
                self._waiting_pid = connection.get_server_pid()
                try:
                    taken = await lease.acquire(
                        connection, self.role, self._holder, self._ttl_s, presence
                    )
                finally:
                    self._waiting_pid = None
                self._take(taken)
            elif not await lease.renew(connection, fence, self._ttl_s):
                self._lose()

    async def _evict(self) -> int:
        """End the sessions that keep us from a lease that has run out; how many."""
        if self._waiting_pid is None:
            return 0
        limit_s = self._ttl_s * RENEW_WITHIN
        async with asyncio.timeout(limit_s), self._pool.acquire(timeout=limit_s) as connection:
            ended = await lease.evict(connection, self.role, self._waiting_pid)
        if ended:
            log.warning("holder_evicted", role=self.role, sessions=ended)
        return ended

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
        with suppress(*AWAY, DatabaseUnavailable, asyncpg.PostgresError):
            async with asyncio.timeout(limit_s), self._pool.acquire(timeout=limit_s) as connection:
                await lease.release(connection, self._fence)


async def coroutine(work: Awaitable[T]) -> T:
    """Anything awaitable as what a task can be made of."""
    return await work


def look_at(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, which asyncio would complain about otherwise."""
    if not task.cancelled():
        task.exception()
