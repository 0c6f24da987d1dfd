"""The database of a simulation: its tables are made once, and emptied before each seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import asyncpg

from indexer import registry
from tests.simulation import content
from tests.simulation.pool import Server

# As it was when nothing had happened yet.
KEEP: Final = "CREATE TABLE public.pristine_source AS TABLE chain.source"
RESTORE: Final = """
    UPDATE chain.source s SET start_block = p.start_block, joined_seq = NULL, joined_at = NULL,
        indexed_at = p.indexed_at, published_at = p.published_at, retired_seq = NULL,
        verify = 'none', wanted = s.source_id = ANY ($1::bigint[])
    FROM public.pristine_source p WHERE p.source_id = s.source_id"""
TABLES: Final = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND (n.nspname IN ('event', 'event_part') OR n.nspname = 'chain' AND c.relname <> 'source'
        OR n.nspname = 'ops' AND c.relname = 'lease') ORDER BY 1"""
# Deleting from small tables is quicker than making them anew, until too many dead rows lie about.
TRUNCATE_EVERY: Final = 40


class Stage:
    """``owner`` is a superuser's connection, which belongs to the server's loop."""

    def __init__(self, server: Server, owner: asyncpg.Connection) -> None:
        self.server = server
        self.owner = owner
        self._sources: dict[str, int] = {}
        self._resets = 0
        self._first_views = ""

    @classmethod
    async def make(cls, server: Server, owner_dsn: str) -> Stage:
        """Runs on the server's loop."""
        owner = await asyncpg.connect(owner_dsn)
        stage = cls(server, owner)
        named = content.contracts()
        first = [contract for name, contract in named.items() if name != "renamed"]
        await registry.register(owner, first)
        await registry.register(owner, list(named.values())[1:])
        rows = await owner.fetch("SELECT source_id, name, version, view_sql FROM chain.source")
        for row in rows:
            label = "renamed" if row["version"] == 2 else row["name"]
            stage._sources[label] = row["source_id"]
            if label == "coin":
                stage._first_views = row["view_sql"]
        await owner.execute(KEEP)
        return stage

    async def reset(self, wanted: Iterable[str]) -> None:
        """Empty everything; ``wanted`` are the sources that the configuration asks for at first."""
        owner = self.owner
        await owner.execute("SET session_replication_role = replica")
        if await owner.fetchval("SELECT published_at FROM chain.source WHERE version = 2"):
            await owner.execute(self._first_views)
        tables = [row[0] for row in await owner.fetch(TABLES)]
        if self._resets % TRUNCATE_EVERY == 0:
            await owner.execute(f"TRUNCATE {', '.join(tables)}")
            # This one stays, and each seed leaves a dead row of each source in it.
            await owner.execute("VACUUM chain.source")
        else:
            await owner.execute(";".join(f"DELETE FROM {table}" for table in tables))
        self._resets += 1
        await owner.execute(RESTORE, [self._sources[name] for name in wanted])
        await owner.execute("SET session_replication_role = origin")

    def source_id(self, name: str) -> int:
        return self._sources[name]

    async def close(self) -> None:
        await self.owner.close()


def fetch(stage: Stage, query: str, *args: Any) -> list[asyncpg.Record]:
    """Rows as the superuser sees them, from inside a simulated task."""
    rows: list[asyncpg.Record] = stage.server.call(stage.owner.fetch(query, *args))
    return rows
