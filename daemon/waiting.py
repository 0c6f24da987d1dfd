"""Waiting for what a start needs, for as long as waiting can help."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from daemon.errors import StartError

log = structlog.get_logger()

T = TypeVar("T")

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0


async def wait_for(stop: asyncio.Event, attempt: Callable[[], Awaitable[T]]) -> T | None:
    """Repeat an attempt for as long as waiting can help; None if the stop comes first."""
    wait_s = FIRST_WAIT_S
    while not stop.is_set():
        try:
            return await attempt()
        except StartError as error:
            if not error.retryable:
                raise
            log.warning("waiting", why=str(error), again_in_s=wait_s)
        try:
            await asyncio.wait_for(stop.wait(), wait_s)
        except TimeoutError:
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
    return None
