"""How often and how many at once one provider may be asked: :mod:`indexer.pace`, waited for.

Requests wait in one line, first come, first served.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from indexer.gate import Outcome
from indexer.pace import Pace

Clock: TypeAlias = Callable[[], float]
Sleep: TypeAlias = Callable[[float], Awaitable[None]]


class Budget:
    """A :class:`Gate` of one provider: paces requests and bounds how many are under way."""

    def __init__(
        self,
        requests_per_s: float | None,
        concurrency: int,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if requests_per_s is not None and requests_per_s <= 0:
            raise ValueError("requests_per_s must be positive")
        self._clock = clock
        self._sleep = sleep
        self._places = asyncio.Semaphore(concurrency)
        self._line = asyncio.Lock()
        self._concurrency = concurrency
        self._waiting = 0
        self._pace = Pace(requests_per_s, clock())

    @property
    def load(self) -> float:
        """Requests under way and waiting, by how many may be under way: under 1, a place is free."""
        return self._waiting / self._concurrency

    @property
    def cooling_s(self) -> float:
        """How long nothing is sent, since the provider said that it was too much."""
        return self._pace.cooling_s(self._clock())

    @property
    def rate_per_s(self) -> float | None:
        """The rate that is kept now; None if there is none."""
        return self._pace.rate_per_s

    @property
    def largest_batch(self) -> int:
        return self._pace.largest_batch

    async def enter(self, requests: int) -> None:
        """Wait for a place, then for the pace; in the order of coming."""
        self._waiting += 1
        try:
            await self._places.acquire()
            try:
                async with self._line:
                    while (wait_s := self._pace.wait_s(requests, self._clock())) > 0:
                        await self._sleep(wait_s)
                    self._pace.take(requests, self._clock())
            except BaseException:
                self._places.release()
                raise
        except BaseException:
            self._waiting -= 1
            raise

    def leave(self, outcome: Outcome) -> None:
        self._waiting -= 1
        self._places.release()
        now_s = self._clock()
        if outcome.kind == "rate_limited":
            self._pace.limited(outcome.started_s, now_s, outcome.retry_after_s)
        elif outcome.kind in ("ok", "refused"):
            self._pace.answered(outcome.started_s, now_s)
