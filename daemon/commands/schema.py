"""``landbridge migrate``."""

import asyncio
from pathlib import Path
from typing import Final

import click

from daemon import schema
from daemon import settings as settings_module
from daemon.commands.context import owner_url, spoken_errors
from daemon.contracts import contracts_of
from daemon.local import with_database
from daemon.migrations import Migration
from daemon.schema import ChangeKind, SourceChange
from daemon.settings import Settings

SAID: Final[dict[ChangeKind, str]] = {
    "new": "is new: it will be indexed from its start",
    "changed": "has changed: version {version} will be indexed beside the one before, and take its place",
    "back": "is again as it was in version {version}, which is followed again",
    "unchanged": "is unchanged (version {version})",
    "retired": "is not in the settings any more: it is not followed further, and its rows stay",
}


@click.command()
@click.pass_obj
@spoken_errors
def migrate(config: Path | None) -> None:
    """Bring the database to this program's schema, and make the tables of the contracts, as its owner."""
    asyncio.run(_migrate(settings_module.load(config)))


async def _migrate(settings: Settings) -> None:
    contracts = contracts_of(settings.chains, settings.contracts, settings.token)
    if settings.database is not None:
        # Told before anything is connected to.
        owner_url(settings)
    async with with_database(settings) as ready:
        applied, changes = await schema.migrate(
            owner_url(ready), contracts, settings.token, _say_applied
        )
    click.echo(f"{len(applied)} migrations applied; the schema is current")
    for change in changes:
        click.echo(said(change))


def said(change: SourceChange) -> str:
    """What became of a contract, as a line."""
    return f"contract {change.name} {SAID[change.kind].format(version=change.version)}"


def _say_applied(migration: Migration) -> None:
    click.echo(f"applied {migration.name}")
