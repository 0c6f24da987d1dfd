"""What was audited of a chain, and which differences are open."""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from indexer.database import Connection

MAX_SHOWN: Final = 20

RANGES: Final = """
    SELECT outcome, count(*) AS ranges, sum(to_block - from_block + 1)::bigint AS blocks,
           extract(epoch FROM $2::timestamptz - max(at))::float8 AS age_s
    FROM chain.audit WHERE chain_id = $1 GROUP BY outcome ORDER BY outcome"""
# Of all final blocks of all contracts that have joined, how many were read again at least once.
SHARE: Final = """
    SELECT sum(c.finalized_number - s.start_block + 1)::bigint AS wanted,
           coalesce(sum(seen.blocks), 0)::bigint AS seen
    FROM chain.source s JOIN chain.cursor c USING (chain_id)
    CROSS JOIN LATERAL (
        SELECT sum(upper(part) - lower(part)) AS blocks
        FROM (SELECT unnest(range_agg(int8range(a.from_block, a.to_block + 1))) AS part FROM chain.audit a
              WHERE a.source_id = s.source_id AND a.outcome <> 'unanswerable') AS parts) AS seen
    WHERE s.chain_id = $1 AND s.joined_seq IS NOT NULL AND s.retired_seq IS NULL
      AND s.start_block <= c.finalized_number"""
# What a newer version has replaced is nobody's concern any more.
OPEN: Final = """
    SELECT a.audit_id, s.name AS contract, s.version, a.from_block, a.to_block, a.at
    FROM chain.audit a JOIN chain.source s USING (source_id)
    WHERE a.chain_id = $1 AND a.outcome = 'differs' AND s.retired_seq IS NULL
      AND NOT EXISTS (SELECT FROM chain.audit_acknowledgement k WHERE k.audit_id = a.audit_id)
    ORDER BY a.audit_id DESC"""


class AuditDifference(BaseModel):
    """A range where two readings of the chain say that the tables differ, and that nobody has taken note of."""

    model_config = ConfigDict(frozen=True)

    audit_id: int
    contract: str
    version: int
    from_block: int
    to_block: int
    at: datetime


class AuditStatus(BaseModel):
    """``ranges`` and ``blocks`` count by outcome, each time that they were read; ``percent`` is of the final blocks
    of contracts that have joined, rounded down to a tenth. Of the open differences the newest are shown."""

    model_config = ConfigDict(frozen=True)

    blocks_per_hour: int
    age_s: float | None
    percent: float
    ranges: dict[str, int]
    blocks: dict[str, int]
    open: int
    differences: list[AuditDifference]


async def read_audit(
    connection: Connection, chain_id: int, blocks_per_hour: int, at: datetime
) -> AuditStatus:
    """``at`` is the database's clock."""
    rows = await connection.fetch(RANGES, chain_id, at)
    share = await connection.fetchrow(SHARE, chain_id)
    differing = await connection.fetch(OPEN, chain_id)
    ages = [max(row["age_s"], 0.0) for row in rows]
    wanted, seen = (None, 0) if share is None else (share["wanted"], share["seen"])
    return AuditStatus(
        blocks_per_hour=blocks_per_hour,
        age_s=min(ages, default=None),
        percent=seen * 1000 // wanted / 10 if wanted else 0.0,
        ranges={row["outcome"]: row["ranges"] for row in rows},
        blocks={row["outcome"]: row["blocks"] for row in rows},
        open=len(differing),
        differences=[AuditDifference(**row) for row in differing[:MAX_SHOWN]],
    )
