"""The one command, ``landbridge``."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from daemon.environment import CONFIG_VARIABLE
from daemon.logs import configure

DEFAULT_CONFIG: Final = Path("landbridge.toml")
# Python's own default. A package below eth-account raises it so far that JSON which is nested deeply enough,
# from a node or a file, would overflow the stack and end the process where it should end in an error.
RECURSION_LIMIT: Final = 1000
COMMANDS: Final = {
    "run": "daemon.commands.running:run",
    "backfill": "daemon.commands.running:backfill_command",
    "check": "daemon.commands.reading:check_command",
    "status": "daemon.commands.reading:status",
    "index": "daemon.commands.index:index",
    "migrate": "daemon.commands.schema:migrate",
    "halt": "daemon.commands.halting:halt",
    "resume": "daemon.commands.halting:resume",
    "operations": "daemon.commands.operations:operations",
    "beneficiaries": "daemon.commands.money:beneficiaries",
    "approvals": "daemon.commands.approvals:approvals",
    "keys": "daemon.commands.keys:keys",
    "demo": "daemon.commands.showing:demo_command",
}
"""Where each command is. Its module is imported when it is called for: nobody waits for what others need."""


class Commands(click.Group):
    """The commands above, in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
