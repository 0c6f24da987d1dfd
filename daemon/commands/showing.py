"""``landbridge demo``."""

import sys

import click

from daemon import demo


@click.command("demo")
@click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line.")
@click.option("--once", is_flag=True, help="Exit at the end, on a terminal too.")
def demo_command(as_json: bool, once: bool) -> None:
    """Show everything on embedded parts: deposits, mints, a reorg, a crash, redemptions, payouts, the proof."""
    sys.exit(demo.main(json_output=as_json, once=once))
