"""``landbridge check`` and ``landbridge status``."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from daemon import check
from daemon import settings as settings_module
from daemon.check import Finding
from daemon.commands.context import EXIT_FAULT, connected, spoken_errors
from daemon.local import with_database
from daemon.remote import read_everywhere
from daemon.settings import Settings
from daemon.status import Status
from daemon.status_table import render


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
@spoken_errors
def check_command(config: Path | None, as_json: bool) -> None:
    """Look at the settings and everything they name, before a start."""
    findings = asyncio.run(_check(settings_module.load(config)))
    ok = all(finding.fault is None for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": ok, "checks": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            _say(finding)
    sys.exit(0 if ok else EXIT_FAULT)


async def _check(settings: Settings) -> list[Finding]:
    async with with_database(settings) as ready:
        return await check.check_all(ready, embedded=settings.database is None)


def _say(finding: Finding) -> None:
    if finding.fault is not None:
        click.echo(f"FAULT {finding.fault}")
    else:
        click.echo(f"ok    {finding.detail.splitlines()[0]}")
    for line in finding.detail.splitlines()[1:]:
        click.echo(f"      {line}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on standard output.")
@click.pass_obj
@spoken_errors
def status(config: Path | None, as_json: bool) -> None:
    """Where everything stands: by the database, and by the daemon itself if it answers here."""
    found = asyncio.run(_status(settings_module.load(config)))
    if as_json:
        click.echo(found.model_dump_json())
    else:
        Console().print(render(found))


async def _status(settings: Settings) -> Status:
    async with connected(settings) as connection:
        return await read_everywhere(connection, settings)
