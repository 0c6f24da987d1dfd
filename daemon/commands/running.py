"""``landbridge run`` and ``landbridge backfill``."""

import sys
from pathlib import Path

import click
import structlog
import uvloop

from daemon import app
from daemon import settings as settings_module
from daemon.backfilling import BackfillEnd, backfill_until
from daemon.commands.context import owner_url, spoken_errors
from daemon.commands.schema import said
from daemon.contracts import contracts_of
from daemon.errors import StartError
from daemon.local import with_database, with_parts
from daemon.logs import configure
from daemon.schema import register
from daemon.settings import Settings

log = structlog.get_logger()

EXIT_INTERRUPTED = 130


@click.command()
@click.pass_obj
@spoken_errors
def run(config: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C."""
    settings = settings_module.load(config)
    configure(settings.daemon.log_level)
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with with_parts(settings) as ready:
        await _register(settings, ready)
        await app.run(ready)


@click.command("backfill")
@click.option(
    "--until-caught-up", is_flag=True, help="End as soon as the history of every contract is there."
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output.")
@click.pass_obj
@spoken_errors
def backfill_command(config: Path | None, until_caught_up: bool, as_json: bool) -> None:
    """Read the history of every contract and follow the chains, without the rest of the daemon.

    It shows how far it has come. It can be ended or killed at any moment and goes on from there.
    """
    settings = settings_module.load(config)
    end = uvloop.run(_backfill(settings, until_caught_up=until_caught_up, as_json=as_json))
    if end.fault is not None:
        raise StartError(end.fault)
    sys.exit(EXIT_INTERRUPTED if until_caught_up and not end.caught_up else 0)


async def _backfill(settings: Settings, *, until_caught_up: bool, as_json: bool) -> BackfillEnd:
    async with with_database(settings) as ready:
        await _register(settings, ready)
        return await backfill_until(ready, until_caught_up=until_caught_up, as_json=as_json)


async def _register(settings: Settings, ready: Settings) -> None:
    """The embedded database is brought in line by whoever uses it; any other one by `migrate`."""
    if settings.database is not None:
        return
    contracts = contracts_of(settings.chains, settings.contracts, settings.token)
    for change in await register(owner_url(ready), contracts, settings.token):
        if change.kind != "unchanged":
            log.info("registered", what=said(change))
