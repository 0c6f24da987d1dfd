"""``landbridge index prune``: what is no longer needed is shown and removed, by the owner."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import click

from daemon import settings as settings_module
from daemon.commands.context import owner_url, spoken_errors
from daemon.database_check import check_schema
from daemon.environment import nearest
from daemon.errors import StartError
from daemon.local import with_database
from daemon.settings import Settings
from indexer import prune
from indexer.database import Connection
from indexer.prune import Plan, Version

DAY_S = 86_400.0


@click.command("prune")
@click.option("--chain", "chain_name", help="Only this chain; without it, all of them.")
@click.option(
    "--keep-days",
    type=click.IntRange(min=0, max=36_500),
    help="What is younger stays; by default chains.NAME.keep_days. 0: all goes that may.",
)
@click.option("--tables", is_flag=True, help="Drop the tables of replaced versions too.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
@spoken_errors
def prune_command(
    config: Path | None,
    chain_name: str | None,
    keep_days: int | None,
    tables: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the feed's oldest rows and final orphans below a snapshot; canonical rows stay.

    A running daemon is not disturbed. It can be broken off and begun again.
    """
    settings = settings_module.load(config)
    wanted = _Wanted(_chains(settings, chain_name, keep_days), tables=tables, dry_run=dry_run)
    if settings.database is not None:
        owner_url(settings)
    results = asyncio.run(_prune(settings, wanted))
    if as_json:
        chains = [result.values() for result in results]
        click.echo(json.dumps({"dry_run": dry_run, "chains": chains}))
        return
    for result in results:
        for line in result.lines():
            click.echo(line)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """``chains``: of each its id and how many days are kept."""

    chains: dict[str, tuple[int, int]]
    tables: bool
    dry_run: bool


@dataclass(slots=True)
class _Result:
    """What goes or went of one chain. ``shown`` are versions whose tables stay because a view shows them."""

    chain: str
    plan: Plan
    dry_run: bool
    versions: list[Version] = field(default_factory=list)
    shown: list[Version] = field(default_factory=list)

    def values(self) -> dict[str, object]:
        return {
            "chain": self.chain,
            "to_seq": self.plan.to_seq,
            "waits_for": list(self.plan.waits_for),
            "feed_rows": self.plan.feed_rows,
            "orphan_rows": dict(self.plan.orphans),
            "dropped": [_version(one) for one in self.versions],
            "still_shown": [_version(one) for one in self.shown],
        }

    def lines(self) -> list[str]:
        plan, lines = self.plan, []
        verb = "would go" if self.dry_run else "removed"
        if plan.to_seq is None:
            lines.append("nothing: no snapshot is old enough and passed by every consumer")
        else:
            lines.append(f"{verb}: {plan.feed_rows} rows of the feed, below seq {plan.to_seq}")
            lines += [f"{verb}: {count} orphaned rows of {name}" for name, count in plan.orphans]
        lines += [
            f"{verb}: the tables of {one.name} version {one.version}" for one in self.versions
        ]
        lines += [
            f"stays: {one.name} version {one.version}, of which a view is still shown"
            for one in self.shown
        ]
        if plan.waits_for:
            names = ", ".join(plan.waits_for)
            lines.append(f"more may go once these consumers have read on: {names}")
        return [f"chain {self.chain}: {line}" for line in lines]


def _version(version: Version) -> dict[str, object]:
    return {
        "contract": version.name,
        "version": version.version,
        "tables": list(version.tables),
    }


def _chains(
    settings: Settings, chain_name: str | None, keep_days: int | None
) -> dict[str, tuple[int, int]]:
    if chain_name is not None and chain_name not in settings.chains:
        raise StartError(
            f"--chain: there is no chain {chain_name}{nearest(chain_name, list(settings.chains))}"
        )
    found = {}
    for name, chain in settings.chains.items():
        if chain_name not in (None, name):
            continue
        days = chain.keep_days if keep_days is None else keep_days
        if days is None:
            raise StartError(
                f"chains.{name}.keep_days: is not set, so everything is kept; say --keep-days to remove all the same"
            )
        found[name] = (chain.id, days)
    return found


async def _prune(settings: Settings, wanted: _Wanted) -> list[_Result]:
    async with with_database(settings) as ready:
        await check_schema(ready)
        connection = await asyncpg.connect(owner_url(ready), timeout=10)
        try:
            return [
                await _prune_chain(connection, name, chain_id, days * DAY_S, wanted)
                for name, (chain_id, days) in wanted.chains.items()
            ]
        finally:
            await connection.close()


async def _prune_chain(
    connection: Connection, name: str, chain_id: int, keep_s: float, wanted: _Wanted
) -> _Result:
    if wanted.dry_run:
        plan = await prune.plan_with_new_snapshot(connection, chain_id, keep_s)
        versions = list(plan.versions) if wanted.tables else []
        return _Result(name, plan, dry_run=True, versions=versions)
    await prune.take_snapshot(connection, chain_id)
    plan = await prune.plan(connection, chain_id, keep_s)
    result = _Result(name, plan, dry_run=False)
    if plan.to_seq is None:
        return result
    while await prune.remove_some(connection, chain_id, plan.to_seq):
        pass
    for version in await prune.replaced(connection, chain_id, plan.to_seq) if wanted.tables else ():
        dropped = await prune.drop(connection, chain_id, version)
        (result.versions if dropped else result.shown).append(version)
    return result
