"""``landbridge beneficiaries``: who may be paid."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import click

from bridge import beneficiaries as register_of_beneficiaries
from daemon import settings as settings_module
from daemon.commands.context import connected, spoken_errors
from daemon.errors import StartError
from daemon.settings import Settings
from indexer.database import Connection

MAX_LIST_BYTES: Final = 8 * 1024 * 1024


@click.group()
def beneficiaries() -> None:
    """The register of wallets and the bank accounts behind them."""


@beneficiaries.command("add")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--proposed-by", required=True)
@click.option("--approved-by", required=True, help="Somebody else.")
@click.pass_obj
@spoken_errors
def add_beneficiaries(config: Path | None, file: Path, proposed_by: str, approved_by: str) -> None:
    """Register the wallets of FILE, a JSON list of {wallet, iban, name, proof}; all or none."""
    settings = settings_module.load(config)
    found = _read_beneficiaries(file)
    if proposed_by == approved_by:
        raise StartError("--approved-by: needs another person than --proposed-by")

    async def add(connection: Connection) -> None:
        async with connection.transaction():
            for each in found:
                await register_of_beneficiaries.register(
                    connection, each, proposed_by=proposed_by, approved_by=approved_by
                )
        click.echo(f"{len(found)} beneficiaries are registered")

    _with_database(settings, add)


def _read_beneficiaries(file: Path) -> list[register_of_beneficiaries.Beneficiary]:
    with file.open("rb") as opened:
        text = opened.read(MAX_LIST_BYTES + 1)
    try:
        if len(text) > MAX_LIST_BYTES:
            raise ValueError(f"over {MAX_LIST_BYTES} bytes")
        return [register_of_beneficiaries.read(item) for item in json.loads(text)]
    except (ValueError, TypeError, KeyError) as error:
        raise StartError(f"{file}: not a list of {{wallet, iban, name, proof}}: {error}") from None


def _with_database(
    settings: Settings, work: Callable[[Connection], Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        async with connected(settings) as connection:
            await work(connection)

    asyncio.run(run())
