"""``landbridge index acknowledge``: somebody takes note of what the auditor found."""

import asyncio
from pathlib import Path

import click

from daemon import settings as settings_module
from daemon.commands.context import connected, spoken_errors
from daemon.errors import StartError
from indexer import audit_log


@click.command("acknowledge")
@click.argument("number", type=click.IntRange(min=1, max=2**63 - 1))
@click.option("--reason", required=True, help="What it was, and what was done; kept.")
@click.option("--by", required=True, help="Who says so.")
@click.pass_obj
@spoken_errors
def acknowledge(config: Path | None, number: int, reason: str, by: str) -> None:
    """Take note of difference NUMBER, which is then no longer open. It lifts no halt and mends nothing."""
    settings = settings_module.load(config)

    async def note() -> bool:
        async with connected(settings) as connection:
            return await audit_log.acknowledge(connection, number, by, reason)

    if not asyncio.run(note()):
        raise StartError(f"there is no open difference {number}; see `landbridge index status`")
    click.echo(f"difference {number} is acknowledged")
