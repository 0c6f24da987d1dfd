"""Makes a new version of a source whose rows from some block on are read from the chain again.

What is below that block is copied from the version that is followed now; the rest is left to the backfill. The
present version goes on until the new one has joined and taken its place, so readers miss nothing. Run as the
owner; nothing that is stored is changed.
"""

import asyncpg

from indexer import registry
from indexer.contract import Contract
from indexer.database import Connection, reachable
from indexer.errors import ResyncRefused
from indexer.follower import role
from indexer.rows import LOG_COLUMNS
from indexer.table import MAX_VERSIONS, versioned

PRESENT = """
    SELECT s.source_id, s.version, s.fingerprint, s.start_block, s.tables, s.partition_blocks,
           CASE WHEN s.joined_seq IS NULL THEN
               (SELECT max(to_block) FROM chain.coverage c WHERE c.source_id = s.source_id)
           ELSE (SELECT finalized_number FROM chain.cursor k WHERE k.chain_id = s.chain_id) END AS covered_to,
           (SELECT max(version) FROM chain.source o WHERE o.name = s.name) AS newest
    FROM chain.source s WHERE s.name = $1 AND s.chain_id = $2 AND s.wanted"""
# The owner writes beside the daemon, not in its stead: nothing but tables that are not followed yet.
FENCE = "SELECT set_config('landbridge.fence', $1, true)"
MADE = "SELECT source_id FROM chain.source WHERE name = $1 AND version = $2"
BEGIN = "UPDATE chain.source SET start_block = $2 WHERE source_id = $1 AND start_block IS NULL"
PARTITION = "SELECT chain.make_partitions($1, $2)"
COVER = """
    INSERT INTO chain.coverage (source_id, from_block, to_block, row_count) VALUES ($1, $2, $3, $4)"""


async def resync(connection: Connection, contract: Contract, from_block: int) -> int:
    """The number of the version that is made. All of it is one transaction.

    Raises :class:`ResyncRefused`.
    """
    async with reachable(), connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", registry.LOCK)
        found = await connection.fetchrow(PRESENT, contract.name, contract.chain_id)
        present = _fit(contract, found, from_block)
        version: int = present["newest"] + 1
        await registry.make(connection, contract, version)
        source_id = await connection.fetchval(MADE, contract.name, version)
        await connection.execute(FENCE, role(contract.chain_id))
        await connection.execute(BEGIN, source_id, present["start_block"])
        if present["partition_blocks"] is not None:
            await connection.execute(PARTITION, source_id, from_block)
        rows = await _copy_rows(connection, contract, present, source_id, version, from_block)
        await connection.execute(COVER, source_id, present["start_block"], from_block - 1, rows)
        await connection.execute(registry.WANT, contract.name, version)
    return version


def _fit(contract: Contract, present: asyncpg.Record | None, from_block: int) -> asyncpg.Record:
    """The version that is followed now, if so much of it can be kept."""
    if present is None or present["fingerprint"] != contract.fingerprint:
        reason = "the settings have changed; run `landbridge migrate` first, which indexes it anew"
    elif present["newest"] >= MAX_VERSIONS:
        reason = f"it has {MAX_VERSIONS} versions, and no more are possible"
    elif present["start_block"] is None or present["covered_to"] is None:
        reason = "nothing of it has been read yet"
    elif not present["start_block"] < from_block <= present["covered_to"]:
        reason = (
            f"what it has and is final begins at block {present['start_block']} and ends at {present['covered_to']}; "
            "choose a block between them"
        )
    else:
        return present
    raise ResyncRefused(contract=contract.name, from_block=from_block, reason=reason)


async def _copy_rows(
    connection: Connection,
    contract: Contract,
    present: asyncpg.Record,
    source_id: int,
    version: int,
    from_block: int,
) -> int:
    """Canonical rows alone: what was orphaned below a final block will never come back."""
    count = 0
    for table, old in zip(registry.tables_of(contract), present["tables"], strict=True):
        columns = ", ".join(f'"{name}"' for name in table.column_names)
        status = await connection.execute(
            f"""INSERT INTO event."{versioned(table.name, version)}" ({columns})
                SELECT {columns} FROM event."{old}" WHERE canonical AND block_number < $1""",
            from_block,
        )
        count += int(status.rpartition(" ")[2])
    kept = ", ".join(name for name in LOG_COLUMNS if name != "source_id")
    status = await connection.execute(
        f"""INSERT INTO chain.log (source_id, {kept}) SELECT $1, {kept} FROM chain.log
            WHERE source_id = $2 AND canonical AND block_number < $3""",
        source_id,
        present["source_id"],
        from_block,
    )
    return count + int(status.rpartition(" ")[2])
