"""Connections to Postgres, a bounded number of them, none of which is ever lost."""

from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy


class Pool(asyncpg.Pool):
    """asyncpg's pool, which counts a connection as lent for good if it was found closed before asyncpg noticed that
    it was lost: Postgres ends a transaction that was left idle, the next query fails, and the place is never free
    again. A process that was frozen lost one of its few places each time, until it could do nothing any more."""

    async def release(
        self, connection: PoolConnectionProxy, *, timeout: float | None = None
    ) -> None:
        try:
            is_closed = connection.is_closed()
        except asyncpg.InterfaceError:
            return  # it was given back already
        if is_closed:
            connection.terminate()
        else:
            await super().release(connection, timeout=timeout)


async def _keep(_: asyncpg.Connection) -> None:
    """What asyncpg would clear by a question to Postgres each time that a connection is given back. Nothing here lasts
    longer than its transaction, but for :class:`indexer.presence.Presence`, which ends its session."""


async def open_pool(
    dsn: str,
    *,
    min_size: int,
    max_size: int,
    timeout_s: float,
    command_timeout_s: float,
    **settings: str,
) -> Pool:
    """``settings`` are those of Postgres, for every session."""
    # A plan is kept for as long as its session, and made while tables may still be small: with the usual price of a
    # page out of order, which is that of a spinning disk, a table that has grown since would be read as a whole.
    settings.setdefault("random_page_cost", "1.1")
    options: dict[str, Any] = {
        "timeout": timeout_s,
        "command_timeout": command_timeout_s,
        "server_settings": settings,
    }
    pool = Pool(
        dsn,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        min_size=min_size,
        max_size=max_size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        reset=_keep,
        loop=None,
        **options,
    )
    await pool
    return pool
