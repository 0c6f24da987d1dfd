"""Postgres as the measurements use it: durable, with memory and log space for bulk work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from daemon.embedded.postgres import EmbeddedPostgres

# fsync and synchronous_commit stay on. The peers' harness has the same.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
STATEMENT_TIMEOUT_S = 600.0


def new_server() -> EmbeddedPostgres:
    """A server for one run of measurements, on a temporary folder."""
    return EmbeddedPostgres(settings=SETTINGS)


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres, name: str) -> AsyncIterator[str]:
    """URL of an empty database, as its owner; dropped afterwards."""
    await _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await _execute(server, f'CREATE DATABASE "{name}"')
    await _execute(server, "CHECKPOINT")
    try:
        yield server.dsn(name)
    finally:
        await _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the measurer's own."""
    connection = await asyncpg.connect(dsn, command_timeout=STATEMENT_TIMEOUT_S)
    try:
        yield connection
    finally:
        await connection.close()


async def _execute(server: EmbeddedPostgres, statement: str) -> None:
    async with connected(server.dsn()) as connection:
        await connection.execute(statement)
