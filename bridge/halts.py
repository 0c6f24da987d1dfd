"""The switches that stop money: kept in Postgres, so they survive restarts and reach every daemon."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from indexer.database import Connection

Scope = Literal["money", "mint"]


@dataclass(frozen=True, slots=True)
class Halt:
    """One open halt. ``money`` stops signing, payouts and refunds; ``mint`` closes the mint gate only."""

    scope: Scope
    reason: str
    opened_by: str
    opened_at: datetime


async def halt(connection: Connection, scope: Scope, reason: str, by: str) -> None:
    """Stop money movement; the same reason twice is one halt."""
    await connection.execute(
        """INSERT INTO ops.halt (scope, reason, opened_by) VALUES ($1, $2, $3)
           ON CONFLICT (scope, reason) WHERE closed_at IS NULL DO NOTHING""",
        scope,
        reason,
        by,
    )


async def resume(connection: Connection, by: str) -> list[Halt]:
    """Close every open halt; answers with those that were open."""
    rows = await connection.fetch(
        """UPDATE ops.halt SET closed_by = $1, closed_at = clock_timestamp() WHERE closed_at IS NULL
           RETURNING scope, reason, opened_by, opened_at""",
        by,
    )
    return [Halt(*row) for row in rows]


async def open_halts(connection: Connection) -> list[Halt]:
    """The halts in force, oldest first."""
    rows = await connection.fetch(
        """SELECT scope, reason, opened_by, opened_at FROM ops.halt
           WHERE closed_at IS NULL ORDER BY halt_id"""
    )
    return [Halt(*row) for row in rows]


async def is_halted(connection: Connection | asyncpg.Pool, scope: Scope) -> bool:
    """Whether this kind of movement is stopped now."""
    halted: bool = await connection.fetchval("SELECT ops.is_halted($1)", scope)
    return halted
