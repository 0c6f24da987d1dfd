"""The pool of connections, when Postgres ends sessions while nobody looks."""

from __future__ import annotations

import time

import asyncpg
import pytest

from indexer.pool import open_pool
from tests.conftest import Database

IDLE_MS = 100


async def test_a_connection_that_was_ended_while_the_process_was_frozen_is_replaced(
    database: Database,
) -> None:
    """More often than there are places: each time, Postgres has ended the open transaction."""
    pool = await open_pool(
        database.daemon_dsn,
        min_size=1,
        max_size=2,
        timeout_s=10.0,
        command_timeout_s=10.0,
        idle_in_transaction_session_timeout=str(IDLE_MS),
    )
    async with pool:
        for _ in range(5):
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                async with pool.acquire(timeout=5.0) as connection, connection.transaction():
                    await connection.fetchval("SELECT 1")
                    time.sleep(4 * IDLE_MS / 1000)
                    await connection.fetchval("SELECT $1::int + length($2::text)", 2, "x")
        assert await pool.fetchval("SELECT 1", timeout=5.0) == 1
        assert pool.get_idle_size() == pool.get_size()
