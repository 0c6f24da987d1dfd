"""The switches that stop money: kept in Postgres, so they survive restarts and reach every daemon.

One person stops it. That it goes on is proposed by one and approved by another, which Postgres demands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import asyncpg

from bridge.errors import BridgeError
from indexer.database import Connection

Scope = Literal["money", "mint"]

RESUME_REFUSED_SQLSTATE: Final = "LB006"
# Postgres refuses to journal a transaction or a payout while it is halted.
HALTED_SQLSTATE: Final = "LB003"

LATCH: Final = """
    INSERT INTO ops.halt (scope, reason, opened_by, state_loss) VALUES ('money', $1, $2, true)
    ON CONFLICT (scope, reason) WHERE closed_at IS NULL DO NOTHING"""
PROPOSE: Final = """
    INSERT INTO ops.resume_proposal (proposal, content, proposed_by)
    VALUES (sha256(convert_to($1, 'UTF8')), $1, $2)
    ON CONFLICT DO NOTHING RETURNING proposal"""
APPROVE: Final = """
    UPDATE ops.halt SET proposal = $1, closed_by = $2, closed_at = clock_timestamp()
    WHERE closed_at IS NULL AND halt_id = ANY ($3)
    RETURNING halt_id, scope, reason, opened_by, opened_at, state_loss"""


class ResumeRefusedError(BridgeError):
    """A halt is not lifted: by whom or by what it shall be does not suffice. The text says what does."""


@dataclass(frozen=True, slots=True)
class Halt:
    """One open halt. ``money`` stops signing, payouts and refunds; ``mint`` closes the mint gate only. After a
    ``state_loss`` this database is older than the world."""

    halt_id: int
    scope: Scope
    reason: str
    opened_by: str
    opened_at: datetime
    state_loss: bool


async def halt(connection: Connection, scope: Scope, reason: str, by: str) -> None:
    """Stop money movement; the same reason twice is one halt."""
    await connection.execute(
        """INSERT INTO ops.halt (scope, reason, opened_by) VALUES ($1, $2, $3)
           ON CONFLICT (scope, reason) WHERE closed_at IS NULL DO NOTHING""",
        scope,
        reason,
        by,
    )


async def latch(connection: Connection, losses: Sequence[str], by: str) -> None:
    """Stop money movement until a rescan: each of these says what this database does not know."""
    await connection.executemany(LATCH, [(f"state loss: {loss}"[:1000], by) for loss in losses])


async def propose(connection: Connection, content: str, by: str) -> bytes:
    """Keep what shall be lifted: JSON whose ``halts`` are their numbers. Answers with the hash that names it."""
    proposal: bytes = await connection.fetchval(PROPOSE, content, by)
    return proposal


async def proposed(connection: Connection, proposal: bytes) -> str | None:
    """The content of a proposal; None if there is none of that name."""
    content: str | None = await connection.fetchval(
        "SELECT content FROM ops.resume_proposal WHERE proposal = $1", proposal
    )
    return content


async def approve(
    connection: Connection, proposal: bytes, halt_ids: Sequence[int], by: str
) -> list[Halt]:
    """Lift these halts as it was proposed; answers with those that were open. Raises :class:`ResumeRefusedError`."""
    try:
        rows = await connection.fetch(APPROVE, proposal, by, halt_ids)
    except asyncpg.PostgresError as error:
        if error.sqlstate == RESUME_REFUSED_SQLSTATE:
            raise ResumeRefusedError(str(error)) from None
        raise
    return [Halt(**row) for row in rows]


async def open_halts(connection: Connection) -> list[Halt]:
    """The halts in force, oldest first."""
    rows = await connection.fetch(
        """SELECT halt_id, scope, reason, opened_by, opened_at, state_loss FROM ops.halt
           WHERE closed_at IS NULL ORDER BY halt_id"""
    )
    return [Halt(**row) for row in rows]


async def is_halted(connection: Connection | asyncpg.Pool, scope: Scope) -> bool:
    """Whether this kind of movement is stopped now."""
    halted: bool = await connection.fetchval("SELECT ops.is_halted($1)", scope)
    return halted
