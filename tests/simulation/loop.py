"""An event loop whose time is nobody's but its own.

Nothing in a simulation waits for the world: when every task sleeps, the clock jumps to the next one that wakes. So
a minute of timeouts and pauses costs nothing, and the order of everything follows from the seed alone. What has
to talk to the world all the same (Postgres) does so on a loop of its own, while this one stands still.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Standstill(Exception):
    """Every task waits for another one: nothing will ever happen again."""


class _Jump(selectors.SelectSelector):
    """Waits by putting the clock forward. It watches no socket."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Standstill
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` begins at 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


def apart(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on another loop, from inside a task of the running one, which stands still."""
    here, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    asyncio._leave_task(here, task)
    asyncio._set_running_loop(None)
    try:
        return loop.run_until_complete(work)
    finally:
        asyncio._set_running_loop(here)
        asyncio._enter_task(here, task)
