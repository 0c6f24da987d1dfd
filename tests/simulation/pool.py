"""The pool that a simulated daemon has: real asyncpg connections to a real server, cut where a seed says.

Each call goes to Postgres and comes back while the simulated world stands still, so that a transaction is one
moment of it; other tasks run before and after. Connections are cut before a statement has reached the server, or
after the server has executed it: a COMMIT whose answer is lost is the second kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import asyncpg

from tests.simulation.loop import apart

# Nothing may wait for a lock: whoever held one would never come to its turn again.
LONGEST = "20s"

When = Literal["before", "after"]
What = Literal["cut", "kill", "look"]


class Killed(BaseException):
    """The process ends here: nothing of it runs any more."""


@dataclass
class Mishap:
    """What happens at a statement to come: ``statements`` are still to pass. ``look``: a reader comes by."""

    what: What
    statements: int
    when: When


class Server:
    """How the simulation itself and its daemons reach Postgres: a loop of its own, and connections that are
    kept for the next seed."""

    def __init__(self, daemon_dsn: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._dsn = daemon_dsn
        self._idle: list[asyncpg.Connection] = []

    def call(self, work: Any) -> Any:
        """The result of a coroutine that talks to Postgres, from inside a simulated task."""
        return apart(self.loop, work)

    async def take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await asyncpg.connect(self._dsn, server_settings={"statement_timeout": LONGEST})

    def give_back(self, connection: asyncpg.Connection) -> None:
        if not connection.is_closed():
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle = []
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


class Pool:
    """One daemon's. ``look`` is called when a mishap of that kind is due; it must not wait."""

    def __init__(
        self,
        server: Server,
        random: Random,
        look: Callable[[], None],
        committed: Callable[[], None],
    ) -> None:
        self._server = server
        self._random = random
        self._look = look
        self._committed = committed
        self.mishaps: list[Mishap] = []
        self.is_killed = False
        self.statements = 0

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Connection]:
        # Another task may be first.
        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.001, 0.01)))
        if self.is_killed:
            raise Killed
        raw: asyncpg.Connection = self._server.call(self._server.take())
        try:
            yield Connection(self, raw)
        finally:
            if not raw.is_closed() and raw.is_in_transaction():
                raw.terminate()
            self._server.give_back(raw)

    def statement(
        self, raw: asyncpg.Connection, work: Callable[[], Any], *, commits: bool = False
    ) -> Any:
        """Execute one statement, with whatever befalls it."""
        if self.is_killed:
            raise Killed
        self.statements += 1
        due = self._due()
        for one in due:
            if one.when == "before":
                self._befall(one, raw)
        result = self._server.call(work())
        if commits:
            self._committed()
        for one in due:
            if one.when == "after":
                self._befall(one, raw)
        return result

    def undo(self, work: Callable[[], Any]) -> Any:
        """A statement that is not counted: ROLLBACK."""
        return self._server.call(work())

    def _due(self) -> list[Mishap]:
        due = [one for one in self.mishaps if one.statements <= 0]
        self.mishaps = [one for one in self.mishaps if one.statements > 0]
        for one in self.mishaps:
            one.statements -= 1
        return due

    def _befall(self, mishap: Mishap, raw: asyncpg.Connection) -> None:
        if mishap.what == "look":
            self._look()
            return
        raw.terminate()
        if mishap.what == "kill":
            self.is_killed = True
            raise Killed
        raise asyncpg.ConnectionDoesNotExistError(
            "connection was closed in the middle of operation"
        )


class Connection:
    """As much of asyncpg's connection as the indexer uses."""

    def __init__(self, pool: Pool, raw: asyncpg.Connection) -> None:
        self._pool = pool
        self._raw = raw
        self._is_inside = False

    def is_in_transaction(self) -> bool:
        # One that was cut in a transaction believes that it is still in it.
        return self._is_inside

    async def execute(self, *args: Any, **more: Any) -> Any:
        return self._pool.statement(self._raw, lambda: self._raw.execute(*args, **more))

    async def fetch(self, *args: Any, **more: Any) -> Any:
        return self._pool.statement(self._raw, lambda: self._raw.fetch(*args, **more))

    async def fetchrow(self, *args: Any, **more: Any) -> Any:
        return self._pool.statement(self._raw, lambda: self._raw.fetchrow(*args, **more))

    async def fetchval(self, *args: Any, **more: Any) -> Any:
        return self._pool.statement(self._raw, lambda: self._raw.fetchval(*args, **more))

    async def copy_to_table(self, *args: Any, **more: Any) -> Any:
        return self._pool.statement(self._raw, lambda: self._raw.copy_to_table(*args, **more))

    @asynccontextmanager
    async def transaction(self, **more: Any) -> AsyncIterator[None]:
        inner = self._raw.transaction(**more)
        self._pool.statement(self._raw, inner.start)
        self._is_inside = True
        try:
            yield
        except BaseException:
            # As asyncpg does: a broken connection shows here too, in place of what broke it.
            if not self._pool.is_killed:
                self._pool.undo(inner.rollback)
            raise
        self._pool.statement(self._raw, inner.commit, commits=True)
