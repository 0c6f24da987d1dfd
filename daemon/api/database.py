"""The API's way to Postgres: bounded in time and in number, and a 503 that says when to come again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from daemon.api.problem import ProblemError
from indexer.database import Connection, reachable
from indexer.errors import DatabaseUnavailable

TIMEOUT_S: Final = 5.0
RETRY_AFTER_S: Final = 2


class ApiDatabase:
    """Lends the pool's connections to requests, never more than ``at_most`` of them at once.

    The daemon's loops draw on the same pool: however many ask from outside, they must not starve.
    """

    def __init__(self, pool: asyncpg.Pool, at_most: int) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(at_most)

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Connection]:
        """A connection for a few seconds' work; raises :class:`DatabaseUnavailable`."""
        async with (
            reachable(),
            asyncio.timeout(TIMEOUT_S),
            self._turns,
            # The pool takes a connection back within the time-out that it was asked for with.
            self._pool.acquire(timeout=TIMEOUT_S) as connection,
        ):
            yield connection

    @asynccontextmanager
    async def required(self) -> AsyncIterator[Connection]:
        """The same for a route that can do nothing without it; raises ProblemError 503."""
        try:
            async with self.reached() as connection:
                yield connection
        except DatabaseUnavailable:
            raise ProblemError(
                503,
                f"the database does not answer; try again in {RETRY_AFTER_S} s",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from None
