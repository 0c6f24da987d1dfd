"""Writes match groups: which bank entry belongs to which chain event, for which operation.

A group is ``soft`` while its event may still be orphaned, ``final`` for good, or ``revoked``, which
frees what it had allocated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from indexer.database import Connection

Rule = Literal["op_id", "end_to_end_id"]

GROUPS = """
    INSERT INTO recon.match_group (operation_id, rule, state)
    SELECT m.operation_id, m.rule, 'soft' FROM unnest($1::bigint[], $2::text[]) AS m (operation_id, rule)
    RETURNING group_id, operation_id"""
# Two for each: of the entry, and of the event.
ALLOCATIONS = """
    WITH matched AS (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::integer[], $6::bigint[])
            AS m (group_id, entry_id, chain_id, block_hash, log_index, amount_minor))
    INSERT INTO recon.allocation (group_id, entry_id, chain_id, block_hash, log_index, amount_minor)
    SELECT group_id, entry_id, NULL, NULL, NULL, amount_minor FROM matched
    UNION ALL SELECT group_id, NULL, chain_id, block_hash, log_index, amount_minor FROM matched"""
MOVE = """
    UPDATE recon.match_group SET state = $2 WHERE operation_id = ANY ($1) AND state = 'soft'"""


@dataclass(frozen=True, slots=True)
class Match:
    """An entry and an event of equal amount, in minor units, that one operation explains."""

    operation_id: int
    rule: Rule
    entry_id: int
    chain_id: int
    block_hash: bytes
    log_index: int
    amount_minor: int


def match(operation: asyncpg.Record, event: asyncpg.Record, rule: Rule, entry_id: int) -> Match:
    """Of an operation with the row of its event."""
    return Match(
        operation_id=operation["operation_id"],
        rule=rule,
        entry_id=entry_id,
        chain_id=operation["chain_id"],
        block_hash=event["block_hash"],
        log_index=event["log_index"],
        amount_minor=operation["amount_minor"],
    )


async def open_matches(connection: Connection, matches: Sequence[Match]) -> None:
    """Record soft matches; Postgres refuses what would allocate an entry or an event beyond itself."""
    groups = await connection.fetch(
        GROUPS, [one.operation_id for one in matches], [one.rule for one in matches]
    )
    group_ids = {row["operation_id"]: row["group_id"] for row in groups}
    await connection.execute(
        ALLOCATIONS,
        [group_ids[one.operation_id] for one in matches],
        [one.entry_id for one in matches],
        [one.chain_id for one in matches],
        [one.block_hash for one in matches],
        [one.log_index for one in matches],
        [one.amount_minor for one in matches],
    )


async def settle_matches(connection: Connection, operation_ids: Sequence[int]) -> None:
    """Make the soft matches of operations final."""
    await connection.execute(MOVE, operation_ids, "final")


async def revoke_matches(connection: Connection, operation_ids: Sequence[int]) -> None:
    """Take the soft matches of operations back."""
    await connection.execute(MOVE, operation_ids, "revoked")
