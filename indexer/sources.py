"""Reads the sources of a chain, and says of one where it begins and that its tables have their indexes."""

import json
from collections.abc import Sequence
from dataclasses import replace

import asyncpg

from indexer.contract import STRICTNESS, Contract
from indexer.database import Connection, reachable
from indexer.lease import Fence, fenced
from indexer.source import Source

LIVE = """
    SELECT s.source_id, s.name, s.version, s.fingerprint, s.definition, s.tables, s.start_block, s.joined_seq,
           s.verify, s.indexed_at IS NOT NULL AS indexed, s.published_at IS NOT NULL AS published, s.wanted,
           (SELECT max(to_block) FROM chain.coverage c WHERE c.source_id = s.source_id) AS covered_to
    FROM chain.source s
    WHERE s.chain_id = $1 AND s.retired_seq IS NULL AND (s.wanted OR s.joined_seq IS NOT NULL)
    ORDER BY s.source_id"""
BEGIN = "UPDATE chain.source SET start_block = $2 WHERE source_id = $1 AND start_block IS NULL"
INDEXED = "UPDATE chain.source SET indexed_at = clock_timestamp() WHERE source_id = $1 AND indexed_at IS NULL"


async def live(
    connection: Connection, chain_id: int, contracts: Sequence[Contract]
) -> list[Source]:
    """The sources that are to be followed, each with the contract of the configuration where there is one.

    How a contract is verified is no part of what it is: the stricter counts of what these settings say, and of what
    was said when the tables were last brought in line, by settings that may be newer.
    """
    async with reachable():
        rows = await connection.fetch(LIVE, chain_id)
    configured = {contract.fingerprint: contract for contract in contracts}
    return [_source(row, configured.get(row["fingerprint"])) for row in rows]


async def begin(pool: asyncpg.Pool, fence: Fence, source_id: int, start_block: int) -> None:
    """Say where a source begins, once it has been found."""
    async with fenced(pool, fence) as connection:
        await connection.execute(BEGIN, source_id, start_block)


async def indexed(pool: asyncpg.Pool, fence: Fence, source_id: int) -> None:
    """Say that all indexes of a source's tables are built."""
    async with fenced(pool, fence) as connection:
        await connection.execute(INDEXED, source_id)


def _source(row: asyncpg.Record, configured: Contract | None) -> Source:
    contract = configured or Contract.from_definition(json.loads(row["definition"]))
    said = [row["verify"], *([configured.options.verify] if configured else [])]
    verify = max(said, key=STRICTNESS.index)
    return Source(
        source_id=row["source_id"],
        version=row["version"],
        contract=replace(contract, options=replace(contract.options, verify=verify)),
        start_block=row["start_block"],
        covered_to=row["covered_to"],
        tables=tuple(row["tables"]),
        joined=row["joined_seq"] is not None,
        indexed=row["indexed"],
        published=row["published"],
        wanted=row["wanted"],
    )
