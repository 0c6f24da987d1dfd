"""``landbridge operations``: what people decide about single operations."""

import asyncio
from pathlib import Path

import click

from bridge import cancellations
from daemon import settings as settings_module
from daemon.commands.context import connected, spoken_errors


@click.group()
def operations() -> None:
    """Single operations of the bridge."""


@operations.command("cancel")
@click.argument("operation_id", type=click.IntRange(min=1), metavar="ID")
@click.option("--by", required=True, help="Who. The first proposes it, another person agrees.")
@click.option("--reason", help="Why; needed to propose it.")
@click.pass_obj
@spoken_errors
def cancel(config: Path | None, operation_id: int, by: str, reason: str | None) -> None:
    """Cancel mint ID: called twice, by two people. Nothing is over before the chain has consumed its id for good."""
    settings = settings_module.load(config)

    async def decide() -> None:
        async with connected(settings) as connection:
            found = await cancellations.cancel(connection, operation_id, by, reason)
        if found.approved_by is None:
            click.echo(f"proposed by {found.proposed_by}; it waits for somebody else to agree")
            return
        click.echo(
            f"operation {operation_id} ({found.state}) is cancelled by {found.proposed_by} and {found.approved_by}: "
            f"{found.reason}. If its mint is mined first, it stands; `landbridge status` shows how it ends"
        )

    asyncio.run(decide())
