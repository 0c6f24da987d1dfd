"""The one command, ``landbridge``."""

import sys
from pathlib import Path
from typing import Final

import click

from daemon import demo
from daemon.commands import index, money, reading, running, schema
from daemon.environment import CONFIG_VARIABLE
from daemon.logs import configure

DEFAULT_CONFIG: Final = Path("landbridge.toml")
# Python's own default. A package below eth-account raises it so far that JSON which is nested deeply enough,
# from a node or a file, would overflow the stack and end the process where it should end in an error.
RECURSION_LIMIT: Final = 1000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=CONFIG_VARIABLE,
    help=f"The TOML file with the settings; also {CONFIG_VARIABLE}. By default ./landbridge.toml, if there is one.",
)
@click.version_option(package_name="landbridge")
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Indexes contracts of EVM chains into Postgres, and keeps a bank's books and a deposit token in step."""
    configure("info")
    sys.setrecursionlimit(RECURSION_LIMIT)
    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    context.obj = config


@click.command("demo")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
@click.option("--once", is_flag=True, help="Exit at the end, on a terminal too.")
def demo_command(as_json: bool, once: bool) -> None:
    """Show everything on embedded parts: deposits, mints, a reorg, a crash, redemptions, payouts, the proof."""
    sys.exit(demo.main(json_output=as_json, once=once))


for _command in (
    running.run,
    running.backfill_command,
    reading.check_command,
    reading.status,
    index.index,
    schema.migrate,
    money.halt,
    money.resume,
    money.beneficiaries,
    demo_command,
):
    main.add_command(_command)
