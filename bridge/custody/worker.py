"""A thread for a library that blocks, and may hang: whoever waits for it gives up in time, and so does the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from bridge.custody.errors import CustodyUnavailableError

T = TypeVar("T")


class Worker:
    """Does one thing after another. What nobody waits for any more is not begun."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            SimpleQueue()
        )
        # A thread that hangs in a library must not keep the process from ending.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, work: Callable[[], T], timeout_s: float) -> T:
        """What ``work`` answers or raises. :class:`CustodyUnavailableError` if that takes too long."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((work, future))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise CustodyUnavailableError(
                f"the signing module has not answered within {timeout_s:g} s"
            ) from None

    def do(self, work: Callable[[], object]) -> None:
        """Something that nobody waits for."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._queue.put((work, future))

    def stop(self) -> None:
        """After what it was given already."""
        self._queue.put(None)

    def _work(self) -> None:
        while (given := self._queue.get()) is not None:
            work, future = given
            if future.cancelled():
                continue
            try:
                result, error = work(), None
            except Exception as raised:  # noqa: BLE001 - whoever waits gets it
                result, error = None, raised
            # The loop may have ended while the library was busy.
            with suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
