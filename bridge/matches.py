"""Writes match groups: which bank entry belongs to which chain event, for which operation.

A group is ``soft`` while its event may still be orphaned, ``final`` for good, or ``revoked``, which
frees what it had allocated.
"""

from dataclasses import dataclass
from typing import Literal

from indexer.database import Connection

Rule = Literal["op_id", "end_to_end_id"]


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


async def open_match(connection: Connection, match: Match) -> None:
    """Record a soft match; Postgres refuses what would allocate an entry or an event beyond itself."""
    group_id = await connection.fetchval(
        """INSERT INTO recon.match_group (operation_id, rule, state) VALUES ($1, $2, 'soft')
           RETURNING group_id""",
        match.operation_id,
        match.rule,
    )
    await connection.execute(
        "INSERT INTO recon.allocation (group_id, entry_id, amount_minor) VALUES ($1, $2, $3)",
        group_id,
        match.entry_id,
        match.amount_minor,
    )
    await connection.execute(
        """INSERT INTO recon.allocation (group_id, chain_id, block_hash, log_index, amount_minor)
           VALUES ($1, $2, $3, $4, $5)""",
        group_id,
        match.chain_id,
        match.block_hash,
        match.log_index,
        match.amount_minor,
    )


async def settle_match(connection: Connection, operation_id: int) -> None:
    """Make an operation's soft match final."""
    await _move(connection, operation_id, "final")


async def revoke_match(connection: Connection, operation_id: int) -> None:
    """Take an operation's soft match back."""
    await _move(connection, operation_id, "revoked")


async def _move(connection: Connection, operation_id: int, state: str) -> None:
    await connection.execute(
        "UPDATE recon.match_group SET state = $2 WHERE operation_id = $1 AND state = 'soft'",
        operation_id,
        state,
    )
