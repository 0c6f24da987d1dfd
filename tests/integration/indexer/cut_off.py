"""Cuts a coroutine off where it waits for the nth time, whatever it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class CutOff:
    """``work`` is cancelled at its wait number ``place``: at once, or ``late``, when what it waited for has come.

    ``waits``: how often it has waited so far."""

    def __init__(self, work: Coroutine[Any, Any, object], place: int, *, late: bool) -> None:
        self._work = work
        self._place = place
        self._late = late
        self.waits = 0

    async def run(self) -> None:
        """As a task of its own."""
        await self

    def __await__(self) -> Generator[Any, Any, object]:
        steps, failure = self._work.__await__(), None
        while True:
            try:
                waited = next(steps) if failure is None else steps.throw(failure)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._place:
                self._cut(waited)
            failure = None
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - handed on as it is
                failure = error

    def _cut(self, waited: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and waited is not None:
            waited.add_done_callback(lambda _: task.cancel())
        else:
            asyncio.get_running_loop().call_soon(task.cancel)
