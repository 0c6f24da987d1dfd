"""What ``landbridge index prune`` does, as the owner: shows what may be removed, removes it, and drops the tables
of versions that were replaced. Each step is a transaction of its own, so it can be broken off and begun again."""

from dataclasses import dataclass

import asyncpg

from indexer import retention
from indexer.database import Connection
from indexer.follower import role

# The owner removes beside the daemon; Postgres lets each of them remove only what may go.
FENCE = "SELECT set_config('landbridge.fence', $1, true)"
FEED = """
    SELECT greatest($2 - feed_from, 0) AS feed_rows, n.finalized_number
    FROM chain.pruned p JOIN chain.snapshot n USING (chain_id) WHERE p.chain_id = $1 AND n.seq = $2"""
BEHIND = "SELECT name FROM chain.consumer WHERE chain_id = $1 AND seq < $2 ORDER BY name"
TABLES = """
    SELECT 'event' AS schema, t.name AS table, format('event.%I', t.name) AS place, 'block_number' AS height,
           'true' AS which
    FROM chain.source s CROSS JOIN unnest(s.tables) AS t (name)
    WHERE s.chain_id = $1 AND NOT s.evidence AND s.dropped_at IS NULL
    UNION ALL
    SELECT 'chain', 'log', 'chain.log', 'block_number',
           format('chain_id = %s AND NOT (SELECT s.evidence FROM chain.source s WHERE s.source_id = l.source_id)', $1)
    UNION ALL
    SELECT 'chain', 'block', 'chain.block', 'number', format('chain_id = %s', $1)
    WHERE NOT EXISTS (SELECT FROM chain.source s WHERE s.chain_id = $1 AND s.evidence)"""
COUNT = "SELECT count(*) FROM {place} AS l WHERE NOT canonical AND {height} <= $1 AND {which}"
REPLACED = """
    SELECT s.source_id, s.name, s.version, s.tables FROM chain.source s
    WHERE s.chain_id = $1 AND chain.may_drop(s, $2) ORDER BY s.source_id"""
DROPPED = "UPDATE chain.source SET dropped_at = clock_timestamp() WHERE source_id = $1"


@dataclass(frozen=True, slots=True)
class Version:
    """One that was replaced, and the tables that it filled."""

    source_id: int
    name: str
    version: int
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What may be removed: below the snapshot at ``to_seq``, None if there is none that is old enough and that
    every consumer has passed. ``waits_for`` are consumers that have not passed a later one. ``orphans`` counts
    rows by table."""

    to_seq: int | None
    waits_for: tuple[str, ...] = ()
    feed_rows: int = 0
    orphans: tuple[tuple[str, int], ...] = ()
    versions: tuple[Version, ...] = ()


async def take_snapshot(connection: Connection, chain_id: int) -> int | None:
    """Its seq; None while nothing is final."""
    async with connection.transaction():
        await connection.execute(FENCE, role(chain_id))
        seq: int | None = await connection.fetchval(retention.TAKE, chain_id)
    return seq


async def plan(connection: Connection, chain_id: int, keep_s: float) -> Plan:
    """What may go of what is older than ``keep_s``."""
    wanted = await connection.fetchval(retention.OLD_ENOUGH, chain_id, keep_s)
    to_seq = await connection.fetchval(retention.PASSED, chain_id, keep_s)
    behind = [] if wanted is None else await connection.fetch(BEHIND, chain_id, wanted)
    waits_for = tuple(row["name"] for row in behind)
    if to_seq is None:
        return Plan(None, waits_for)
    below = await connection.fetchrow(FEED, chain_id, to_seq)
    if below is None:
        return Plan(None, waits_for)
    orphans = []
    for row in await connection.fetch(TABLES, chain_id):
        count = COUNT.format(place=row["place"], height=row["height"], which=row["which"])
        number = await connection.fetchval(count, below["finalized_number"])
        if number:
            orphans.append((f"{row['schema']}.{row['table']}", number))
    return Plan(
        to_seq,
        waits_for,
        below["feed_rows"],
        tuple(orphans),
        await replaced(connection, chain_id, to_seq),
    )


async def plan_with_new_snapshot(connection: Connection, chain_id: int, keep_s: float) -> Plan:
    """The plan as it would be with a snapshot of now, which is not kept."""
    outer = connection.transaction()
    await outer.start()
    try:
        await take_snapshot(connection, chain_id)
        return await plan(connection, chain_id, keep_s)
    finally:
        await outer.rollback()


async def replaced(connection: Connection, chain_id: int, begins: int) -> tuple[Version, ...]:
    """Versions whose tables may go once the feed begins with the snapshot at ``begins``."""
    rows = await connection.fetch(REPLACED, chain_id, begins)
    return tuple(
        Version(row["source_id"], row["name"], row["version"], tuple(row["tables"])) for row in rows
    )


async def remove_some(connection: Connection, chain_id: int, to_seq: int) -> int:
    """How many rows went; 0 when nothing is left to be removed below the snapshot at ``to_seq``."""
    async with connection.transaction():
        await connection.execute(FENCE, role(chain_id))
        removed: int = await connection.fetchval(
            retention.PRUNE, chain_id, to_seq, retention.ROWS_A_STEP
        )
    return removed


async def drop(connection: Connection, chain_id: int, version: Version) -> bool:
    """Drop the tables of a version; False if a view still shows one of them."""
    try:
        async with connection.transaction():
            await connection.execute(FENCE, role(chain_id))
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute(DROPPED, version.source_id)
            for table in version.tables:
                await connection.execute(f'DROP TABLE event."{table}"')
    except asyncpg.DependentObjectsStillExistError:
        return False
    return True
