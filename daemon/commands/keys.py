"""``landbridge keys``: who holds the keys that the settings name."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.custody.log import CustodyLog
from daemon import settings as settings_module
from daemon.commands.context import EXIT_FAULT, spoken_errors
from daemon.commands.rotation import retire, rotate
from daemon.errors import StartError
from daemon.setting_types import checksummed
from daemon.settings import Settings
from daemon.signer_sections import Signer
from daemon.signers import open_signer


@click.group()
def keys() -> None:
    """The keys that sign."""


keys.add_command(rotate)
keys.add_command(retire)


@dataclass(frozen=True, slots=True)
class _Key:
    """``address`` is None where the signer does not tell; ``detail`` says how it fares."""

    name: str
    kind: str
    address: str | None
    ok: bool
    detail: str


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
@spoken_errors
def list_keys(config: Path | None, as_json: bool) -> None:
    """Each signer of the settings: its kind, its address, and whether it would sign; exit 1 if one would not."""
    settings = settings_module.load(config)
    found = asyncio.run(_look_at_all(settings))
    if as_json:
        click.echo(json.dumps({"keys": [asdict(one) for one in found]}))
    else:
        Console().print(_table(found))
    sys.exit(0 if all(one.ok for one in found) else EXIT_FAULT)


async def _look_at_all(settings: Settings) -> list[_Key]:
    log = CustodyLog(settings.daemon.custody_log)
    return list(
        await asyncio.gather(
            *(_look_at(name, signer, log) for name, signer in settings.signers.items())
        )
    )


async def _look_at(name: str, signer: Signer, log: CustodyLog) -> _Key:
    try:
        custody = await open_signer(name, signer, log)
    except StartError as error:
        return _Key(name, signer.kind, None, ok=False, detail=str(error))
    try:
        health = await custody.health()
        address = checksummed(await custody.identity())
    finally:
        await custody.close()
    return _Key(name, signer.kind, address, ok=health.ok, detail=health.detail)


def _table(found: list[_Key]) -> Table:
    table = Table(title="Keys", title_justify="left")
    for column in ("name", "kind", "address", "state"):
        table.add_column(column, overflow="fold")
    for one in found:
        state = Text(one.detail, style="" if one.ok else "red")
        table.add_row(one.name, one.kind, one.address or "not known", state)
    return table
