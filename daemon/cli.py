"""The one command, ``landbridge``."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec

import asyncpg
import click
import uvloop
from rich.console import Console

import indexer.errors
from bridge import beneficiaries as register_of_beneficiaries
from bridge import halts
from bridge.calldata import load_abi
from bridge.errors import Fatal
from daemon import app, check, demo, migrations
from daemon import settings as settings_module
from daemon.errors import StartError
from daemon.logs import configure
from daemon.settings import CONFIG_VARIABLE, Settings, SettingsError
from daemon.status import read_status
from daemon.status_table import render
from daemon.wiring import token_of
from indexer import tables
from indexer.database import Connection

EXIT_FAULT: Final = 1
EXIT_USAGE: Final = 2
MAX_LIST_BYTES: Final = 8 * 1024 * 1024

P = ParamSpec("P")


def _spoken_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Expected errors become one clear line each and exit status 1, never a traceback."""

    @wraps(command)
    def speak(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SettingsError as error:
            for fault in error.faults:
                click.echo(f"landbridge: {fault}", err=True)
            sys.exit(EXIT_USAGE)
        except (
            StartError,
            Fatal,
            migrations.MigrationError,
            indexer.errors.Fatal,
            register_of_beneficiaries.BeneficiaryConflictError,
        ) as error:
            click.echo(f"landbridge: {error}", err=True)
            sys.exit(EXIT_FAULT)
        except (asyncpg.PostgresError, OSError) as error:
            click.echo(f"landbridge: Postgres: {error}; see `landbridge check`", err=True)
            sys.exit(EXIT_FAULT)

    return speak


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help=f"The TOML file with the settings; also {CONFIG_VARIABLE}.",
)
@click.version_option(package_name="landbridge")
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Keeps a bank's books and a deposit token on an EVM chain in step."""
    configure("info")
    context.obj = config


@main.command()
@click.pass_obj
@_spoken_errors
def run(config: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C."""
    settings = settings_module.load(config)
    configure(settings.daemon.log_level)
    uvloop.run(app.run(settings))


@main.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
@_spoken_errors
def check_command(config: Path | None, as_json: bool) -> None:
    """Look at the settings and everything they name, before a start."""
    findings = asyncio.run(check.check_all(settings_module.load(config)))
    ok = all(finding.fault is None for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": ok, "checks": [asdict(finding) for finding in findings]}))
    else:
        for finding in findings:
            click.echo(
                f"{'ok   ' if finding.fault is None else 'FAULT'} {finding.fault or finding.detail}"
            )
    sys.exit(0 if ok else EXIT_FAULT)


@main.command()
@click.pass_obj
@_spoken_errors
def migrate(config: Path | None) -> None:
    """Bring the database to this program's schema, as its owner (database.owner_url)."""
    settings = settings_module.load(config)
    if settings.database.owner_url is None:
        raise StartError(
            "database.owner_url: is missing; migrate needs a role that may create tables"
        )
    asyncio.run(_migrate(settings, settings.database.owner_url.get_secret_value()))


async def _migrate(settings: Settings, owner_url: str) -> None:
    applied = await migrations.migrate(
        owner_url, migrations.MIGRATIONS_DIR, on_applied=_say_applied
    )
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        await tables.create(connection, settings.token.contract, load_abi())
    finally:
        await connection.close()
    click.echo(f"{len(applied)} migrations applied; the schema is current")


def _say_applied(migration: migrations.Migration) -> None:
    click.echo(f"applied {migration.name}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on standard output.")
@click.pass_obj
@_spoken_errors
def status(config: Path | None, as_json: bool) -> None:
    """Where both ledgers stand, read from the database."""
    settings = settings_module.load(config)

    async def read(connection: Connection) -> None:
        found = await read_status(connection, token_of(settings), settings, [])
        if as_json:
            click.echo(found.model_dump_json())
        else:
            Console().print(render(found))

    _with_database(settings, read)


@main.command()
@click.option("--reason", required=True, help="Why; kept and shown in the status.")
@click.option("--by", required=True, help="Who halts.")
@click.pass_obj
@_spoken_errors
def halt(config: Path | None, reason: str, by: str) -> None:
    """Stop signing, payouts and refunds on every daemon, until `resume`."""

    async def stop(connection: Connection) -> None:
        await halts.halt(connection, "money", reason, by)
        click.echo("money movement is halted; indexing and status go on")

    _with_database(settings_module.load(config), stop)


@main.command()
@click.option("--by", required=True, help="Who resumes.")
@click.pass_obj
@_spoken_errors
def resume(config: Path | None, by: str) -> None:
    """Lift every halt; prints what each one was for."""

    async def lift(connection: Connection) -> None:
        lifted = await halts.resume(connection, by)
        for each in lifted:
            click.echo(
                f"lifted {each.scope}: {each.reason} (by {each.opened_by}, {each.opened_at:%Y-%m-%d %H:%M:%S})"
            )
        if not lifted:
            click.echo("nothing was halted")

    _with_database(settings_module.load(config), lift)


@main.group()
def beneficiaries() -> None:
    """The register of wallets and the bank accounts behind them."""


@beneficiaries.command("add")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--proposed-by", required=True)
@click.option("--approved-by", required=True, help="Somebody else.")
@click.pass_obj
@_spoken_errors
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


@main.command("demo")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
@click.option("--once", is_flag=True, help="Exit at the end, on a terminal too.")
def demo_command(as_json: bool, once: bool) -> None:
    """Show everything on embedded parts: deposits, mints, a reorg, a crash, redemptions, payouts, the proof."""
    sys.exit(demo.main(json_output=as_json, once=once))


def _with_database(
    settings: Settings, work: Callable[[Connection], Coroutine[Any, Any, None]]
) -> None:
    async def connected() -> None:
        await check.check_database(settings)
        connection = await asyncpg.connect(settings.database.url.get_secret_value(), timeout=10)
        try:
            await work(connection)
        finally:
            await connection.close()

    asyncio.run(connected())
