"""What ``landbridge migrate`` does, as the owner of the database: schema, tables, and which contracts are wanted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from bridge.token import require_first_version, require_kept
from daemon import migrations
from daemon.migrations import Migration
from daemon.sections import Token
from indexer import registry
from indexer.contract import Contract

CONNECT_TIMEOUT_S = 10.0

WANTED = "SELECT name, version FROM chain.source WHERE wanted"

ChangeKind = Literal["new", "changed", "back", "unchanged", "retired"]


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What became of a contract. ``version`` is the one that is wanted now, or was until now if it is retired;
    ``back``: it is a version that was there before."""

    name: str
    version: int
    kind: ChangeKind


async def migrate(
    owner_url: str,
    contracts: Sequence[Contract],
    token: Token | None,
    on_applied: Callable[[Migration], None] | None = None,
) -> tuple[list[str], list[SourceChange]]:
    """Bring the database to the schema and register the contracts; the names of the migrations that were applied,
    and what became of each contract. May be run any number of times, and by several at once.

    Raises :class:`bridge.token.TokenVersionError`, and then nothing of the contracts is written.
    """
    applied = await migrations.migrate(owner_url, migrations.MIGRATIONS_DIR, on_applied=on_applied)
    return applied, await register(owner_url, contracts, token)


async def register(
    owner_url: str, contracts: Sequence[Contract], token: Token | None
) -> list[SourceChange]:
    """Make the tables that are missing, and say which sources are wanted; ``token`` is the bridge's, if there is
    one."""
    connection = await asyncpg.connect(owner_url, timeout=CONNECT_TIMEOUT_S)
    try:
        before = {row["name"]: row["version"] for row in await connection.fetch(WANTED)}
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", registry.LOCK)
            for contract in contracts:
                if token is not None and contract.name == token.contract:
                    await require_first_version(connection, contract)
            await require_kept(connection, {contract.name for contract in contracts})
            done = await registry.register(connection, contracts)
    finally:
        await connection.close()
    changes = [
        SourceChange(one.name, one.version, _kind(before.get(one.name), one)) for one in done
    ]
    kept = {one.name for one in done}
    return changes + [
        SourceChange(name, version, "retired")
        for name, version in sorted(before.items())
        if name not in kept
    ]


def _kind(before: int | None, now: registry.Registered) -> ChangeKind:
    if before == now.version:
        return "unchanged"
    if not now.made:
        return "back"
    return "new" if now.version == 1 else "changed"
