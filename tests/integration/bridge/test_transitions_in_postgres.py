"""Postgres holds the same transition table as bridge/operations.py, and refuses by itself."""

import asyncpg

from bridge.operations import TRANSITIONS
from tests.conftest import Database


async def test_postgres_and_python_hold_the_same_table(database: Database) -> None:
    connection = await asyncpg.connect(database.daemon_dsn)
    try:
        rows = await connection.fetch(
            "SELECT kind, from_state, to_state FROM bridge.transition_allowed"
        )
    finally:
        await connection.close()
    in_python = {
        (str(kind), from_state, to_state)
        for kind, table in TRANSITIONS.items()
        for from_state, onward in table.items()
        for to_state in onward
    }
    assert {tuple(row) for row in rows} == in_python
