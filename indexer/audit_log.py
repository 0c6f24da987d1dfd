"""What audits found: the only writer of ``chain.audit`` and of what is acknowledged in it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from indexer.audit_choice import Candidate, Choice
from indexer.audit_reading import Outcome, Reading, judge
from indexer.database import Connection, reachable
from indexer.lease import Fence, fenced
from indexer.source import Source
from indexer.spans import Span

INSERT = """
    INSERT INTO chain.audit (chain_id, source_id, kind, from_block, to_block, outcome, provider, verify,
        confirmed_by, row_count, differences, detail, final_block)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"""
SWEPT = """
    SELECT s.source_id, a.audit_id, a.to_block, a.final_block
    FROM unnest($1::bigint[]) AS s (source_id)
    CROSS JOIN LATERAL (SELECT audit_id, to_block, final_block FROM chain.audit a
                        WHERE a.source_id = s.source_id AND a.kind = 'sweep'
                        ORDER BY a.audit_id DESC LIMIT 1) AS a"""
ACKNOWLEDGE = """
    INSERT INTO chain.audit_acknowledgement (audit_id, acknowledged_by, reason)
    SELECT a.audit_id, $2, $3 FROM chain.audit a WHERE a.audit_id = $1 AND a.outcome = 'differs'
    ON CONFLICT DO NOTHING RETURNING true"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in ``span``, a part of the ``choice`` or all of it. ``second`` is the reading that was to
    confirm a difference."""

    source: Source
    choice: Choice
    span: Span
    first: Reading
    second: Reading | None = None

    @property
    def outcome(self) -> Outcome:
        return judge(self.first, self.second)

    def detail(self) -> str | None:
        """Both readings as JSON; None where there is nothing to tell."""
        if self.outcome == "exact":
            return None
        second = None if self.second is None else self.second.values()
        return json.dumps({"first": self.first.values(), "second": second})


Alarm: TypeAlias = Callable[[Connection, Finding], Awaitable[None]]
"""What else a difference must lead to, in the transaction that tells of it."""


async def record(
    pool: asyncpg.Pool, fence: Fence, findings: Sequence[Finding], alarm: Alarm
) -> None:
    """Write findings, and raise the alarm for each that differs: all of it or nothing."""
    async with fenced(pool, fence) as connection:
        for one in findings:
            await connection.execute(INSERT, *_values(one))
            if one.outcome == "differs":
                await alarm(connection, one)


async def candidates(connection: Connection, sources: Sequence[Source]) -> list[Candidate]:
    """Of the sources whose start is known, with how far each was swept."""
    async with reachable():
        rows = await connection.fetch(SWEPT, [source.source_id for source in sources])
    swept = {row["source_id"]: row for row in rows}
    return [
        _candidate(source.source_id, source.start_block, swept.get(source.source_id))
        for source in sources
        if source.start_block is not None
    ]


async def acknowledge(connection: Connection, audit_id: int, by: str, reason: str) -> bool:
    """Take note of a difference; False if there is none of that number, or it was acknowledged before."""
    return bool(await connection.fetchval(ACKNOWLEDGE, audit_id, by, reason))


def _values(one: Finding) -> tuple[object, ...]:
    return (
        one.source.contract.chain_id,
        one.source.source_id,
        one.choice.kind,
        one.span.first,
        one.span.last,
        one.outcome,
        one.first.provider,
        one.first.verify,
        None if one.second is None else one.second.provider,
        one.first.rows,
        one.first.differences,
        one.detail(),
        one.choice.final,
    )


def _candidate(source_id: int, start_block: int, swept: asyncpg.Record | None) -> Candidate:
    if swept is None:
        return Candidate(source_id, start_block)
    return Candidate(
        source_id, start_block, swept["to_block"], swept["final_block"], swept["audit_id"]
    )
