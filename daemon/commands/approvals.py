"""``landbridge approvals``: what people are asked about, and what becomes of what they rejected."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

import asyncpg
import click
from rich.console import Console
from rich.table import Table

from bridge import intents
from bridge.custody.intent import Approval, Intent, typed_data
from bridge.intents import IntentStanding
from daemon import settings as settings_module
from daemon.bridge_wiring import approval_rule_of
from daemon.commands.context import connected, spoken_errors
from daemon.errors import StartError
from daemon.settings import Settings
from indexer.database import Connection


@click.group()
def approvals() -> None:
    """What people approve before it is carried out."""


@approvals.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
@spoken_errors
def list_approvals(config: Path | None, as_json: bool) -> None:
    """Each intent that waits for people or for its nonce, and each that was rejected."""

    async def tell(connection: Connection) -> None:
        found = await intents.standing(connection)
        if as_json:
            click.echo(json.dumps({"intents": [_as_json(one) for one in found]}))
        else:
            Console().print(_table(found))

    _with_database(settings_module.load(config), tell)


@approvals.command()
@click.argument("intent_id", metavar="ID", type=click.IntRange(min=1))
@click.pass_obj
@spoken_errors
def show(config: Path | None, intent_id: int) -> None:
    """The intent as typed data (EIP-712), to be signed with a wallet."""

    async def tell(connection: Connection) -> None:
        click.echo(json.dumps(typed_data(await _intent(connection, intent_id)), indent=2))

    _with_database(settings_module.load(config), tell)


@approvals.command()
@click.argument("intent_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--by", required=True, help="Who approves: a name of [bank.approvals.approvers].")
@click.option("--hash", "digest", required=True, help="The intent's hash, as you have seen it.")
@click.option("--signature", required=True, help="Your signature of it (EIP-712), 65 bytes.")
@click.pass_obj
@spoken_errors
def approve(config: Path | None, intent_id: int, by: str, digest: str, signature: str) -> None:
    """Approve one intent by a signature of its hash."""
    settings = settings_module.load(config)
    rule = approval_rule_of(None if settings.bank is None else settings.bank.approvals)
    if rule is None:
        raise StartError("bank.approvals: is missing; nobody is named who may approve")
    if by not in rule.approvers:
        raise StartError(f"--by: {by} is not among {', '.join(sorted(rule.approvers))}")
    approval = Approval(by, _bytes("--signature", signature))

    async def keep(connection: Connection) -> None:
        intent = await _intent(connection, intent_id)
        if _bytes("--hash", digest) != intent.hash:
            raise StartError(f"--hash: intent {intent_id} has another one: look at it again")
        if not rule.approved_by(intent, [approval]):
            raise StartError(f"--signature: is not {by}'s, of this intent")
        try:
            await intents.sign(connection, intent_id, approval)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise StartError(str(error)) from None
        given = (await intents.approvals(connection, [intent.hash]))[intent.hash]
        click.echo(
            f"{len(rule.approved_by(intent, given))} of {rule.needed} have approved intent {intent_id}"
        )

    _with_database(settings, keep)


@approvals.command()
@click.argument("intent_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--by", required=True, help="Who reopens it.")
@click.pass_obj
@spoken_errors
def reopen(config: Path | None, intent_id: int, by: str) -> None:
    """Free the operations of a rejected intent: they are proposed anew, or taken by another lane."""

    async def free(connection: Connection) -> None:
        try:
            found = await intents.reopen(connection, intent_id, by)
        except asyncpg.IntegrityConstraintViolationError as error:
            raise StartError(str(error)) from None
        if not found:
            raise StartError(f"there is no intent {intent_id}")
        click.echo(f"intent {intent_id} is reopened")

    _with_database(settings_module.load(config), free)


async def _intent(connection: Connection, intent_id: int) -> Intent:
    found = await intents.find(connection, intent_id)
    if found is None:
        raise StartError(f"there is no intent {intent_id}; see `landbridge approvals list`")
    return found


def _bytes(option: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise StartError(f"{option}: is not hexadecimal") from None


def _as_json(one: IntentStanding) -> dict[str, object]:
    return {**asdict(one), "hash": f"0x{one.hash.hex()}", "amount_minor": str(one.amount_minor)}


def _table(found: list[IntentStanding]) -> Table:
    table = Table(title="Intents", title_justify="left")
    for column in ("id", "state", "purpose", "operations", "minor units", "approved by", "hash"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            str(one.intent_id),
            one.state,
            one.purpose,
            str(one.operations),
            str(one.amount_minor),
            ", ".join(one.approvers) or "nobody yet",
            f"0x{one.hash.hex()}",
        )
    return table


def _with_database(settings: Settings, work: Callable[[Connection], Awaitable[None]]) -> None:
    async def run() -> None:
        async with connected(settings) as connection:
            await work(connection)

    asyncio.run(run())
