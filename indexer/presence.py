"""How others can tell at once that a daemon has died: a session of it keeps an advisory lock."""

import asyncio
import secrets
from contextlib import suppress

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from indexer.database import reachable

KEY_BITS = 63


class Presence:
    """Keeps one connection of the pool, and on it a lock whose number nobody else has.

    If the connection breaks, the lock is taken again on another one when :meth:`key` is next asked for.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._key = secrets.randbits(KEY_BITS)
        self._connection: PoolConnectionProxy | None = None
        self._taking = asyncio.Lock()

    async def key(self) -> int:
        """The lock's number, once it is kept. Raises :class:`DatabaseUnavailable`."""
        async with self._taking:
            if self._connection is not None and _is_gone(self._connection):
                await self.close()
            if self._connection is None:
                async with reachable():
                    connection = await self._pool.acquire()
                    try:
                        await connection.execute("SELECT pg_advisory_lock($1)", self._key)
                    except BaseException:
                        await self._end(connection)
                        raise
                self._connection = connection
        return self._key

    async def close(self) -> None:
        """Give the lock back, and the connection's place."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._end(connection)

    async def _end(self, connection: PoolConnectionProxy) -> None:
        """The lock goes with its session."""
        with suppress(asyncpg.InterfaceError):
            connection.terminate()
        await self._pool.release(connection)


def _is_gone(connection: PoolConnectionProxy) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool has taken a broken connection back by itself.
        return True
