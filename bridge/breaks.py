"""Breaks: what does not fit, opened once for each subject and closed when it does."""

from collections.abc import Sequence
from dataclasses import dataclass

from indexer.database import Connection


@dataclass(frozen=True, slots=True)
class Break:
    """Something that does not fit. ``subject`` names it stably, so that it is opened once."""

    kind: str
    severity: str
    subject: str
    detail: str
    operation_id: int | None = None
    entry_id: int | None = None
    raw_id: int | None = None


async def open_break(connection: Connection, found: Break) -> None:
    """Record a break unless the same one is open."""
    await connection.execute(
        """INSERT INTO recon.break (kind, severity, subject, detail, operation_id, entry_id, raw_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO NOTHING""",
        found.kind,
        found.severity,
        found.subject,
        found.detail[:2000],
        found.operation_id,
        found.entry_id,
        found.raw_id,
    )


async def close_breaks(connection: Connection, kinds: list[str], subject: str, why: str) -> None:
    """Close the open breaks of these kinds about a subject."""
    await connection.execute(
        """UPDATE recon.break SET closed_at = clock_timestamp(), closed_why = $3
           WHERE kind = ANY($1) AND subject = $2 AND closed_at IS NULL""",
        kinds,
        subject,
        why,
    )


async def close_breaks_of(
    connection: Connection, kinds: Sequence[str], operation_ids: Sequence[int], why: str
) -> None:
    """Close the open breaks of these kinds about any of these operations."""
    await connection.execute(
        """UPDATE recon.break SET closed_at = clock_timestamp(), closed_why = $3
           WHERE kind = ANY($1) AND operation_id = ANY($2) AND closed_at IS NULL""",
        kinds,
        operation_ids,
        why,
    )
