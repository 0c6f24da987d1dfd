"""``landbridge keys rotate`` and ``retire``: a key gives its work to another one, and ends."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import click

from bridge import roles, rotation
from bridge.node import Node
from bridge.rotation import SignerStanding
from daemon import settings as settings_module
from daemon.bridge_wiring import BestRpc
from daemon.commands.context import EXIT_FAULT, connected, spoken_errors
from daemon.errors import StartError
from daemon.setting_types import checksummed
from daemon.settings import Bridge, Settings
from daemon.wiring import chains_of
from indexer.database import Connection

Work = Callable[[Connection, Node, Bridge], Awaitable[bool]]


@click.command()
@click.argument("old")
@click.option("--to", "new", required=True, help="The signer that takes over its work.")
@click.pass_obj
@spoken_errors
def rotate(config: Path | None, old: str, new: str) -> None:
    """Let signer OLD take nothing new and see through what it has; the other signer works meanwhile.

    First it is made sure that the other one may on chain what OLD may. If not, nothing is changed: the calls that are
    missing are printed, and the exit status is 1.
    """

    async def drain(connection: Connection, node: Node, bridge: Bridge) -> bool:
        chain_id = bridge.chain.id
        leaving = await _find(connection, chain_id, old)
        successor = await _find(connection, chain_id, new)
        if leaving.address == successor.address or successor.state != "active":
            raise StartError(f"signer {new}: is {successor.state}; name another one that works")
        missing = await _missing(node, bridge.token.address, leaving.address, successor.address)
        if missing:
            click.echo(f"{new} may not do yet what {old} may. Send to {_shown(bridge)}:")
            for line in missing:
                click.echo(line)
            return False
        await _move(connection, chain_id, leaving, "draining")
        click.echo(
            f"{old} takes nothing new, and has {leaving.burden}. Leave its "
            f"section in the settings until `landbridge keys retire {old}` has succeeded"
        )
        return True

    _on_chain(settings_module.load(config), drain)


@click.command()
@click.argument("name")
@click.pass_obj
@spoken_errors
def retire(config: Path | None, name: str) -> None:
    """End signer NAME for good, once nothing of it is open any more.

    Prints the calls that take its roles away; the exit status is 1 as long as it has any.
    """

    async def end(connection: Connection, node: Node, bridge: Bridge) -> bool:
        leaving = await _find(connection, bridge.chain.id, name)
        if leaving.is_busy:
            raise StartError(
                f"signer {name}: has {leaving.burden}; wait until they are over, with its section in the settings"
            )
        if leaving.state != "retired":
            await _move(connection, bridge.chain.id, leaving, "retired")
        click.echo(f"{name} has retired: take its section out of the settings")
        held = await _held(node, bridge.token.address, leaving.address)
        if held:
            click.echo(f"It still has its roles on chain. Send to {_shown(bridge)}:")
        for role in held:
            click.echo(f"  {role}: 0x{roles.revoke_role(role, leaving.address).hex()}")
        return not held

    _on_chain(settings_module.load(config), end)


async def _find(connection: Connection, chain_id: int, name: str) -> SignerStanding:
    found = await rotation.signers(connection, chain_id)
    for one in found:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in found) or "none"
    raise StartError(
        f"signer {name}: the database has none of this name; it knows a signer once a daemon has worked with it "
        f"(known: {known})"
    )


async def _move(
    connection: Connection, chain_id: int, signer: SignerStanding, state: rotation.State
) -> None:
    try:
        await rotation.move(connection, chain_id, signer.address, state)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise StartError(
            f"signer {signer.name}: {error}; `landbridge keys rotate` comes first"
        ) from None


async def _held(node: Node, token: bytes, account: bytes) -> list[str]:
    return [role for role in roles.ROLES if await node.has_role(token, role, account)]


async def _missing(node: Node, token: bytes, old: bytes, new: bytes) -> list[str]:
    """The calls that are missing until one signer may what the other may."""
    held = await _held(node, token, old)
    lines = [
        f"  {role}, by the administrator: 0x{roles.grant_role(role, new).hex()}"
        for role in held
        if not await node.has_role(token, role, new)
    ]
    limits = await node.minter_limits(token, old)
    given = await node.minter_limits(token, new)
    if roles.MINTER in held and 0 in (given.allowance, given.burst):
        call = roles.configure_minter(
            new, allowance=limits.allowance, burst=limits.burst, refill_s=limits.refill_s
        )
        lines.append(f"  the limits of the old one, by the minter administrator: 0x{call.hex()}")
    return lines


def _shown(bridge: Bridge) -> str:
    return f"{checksummed(bridge.token.address)} on chain {bridge.chain.id}"


def _on_chain(settings: Settings, work: Work) -> None:
    bridge = settings.bridge
    if bridge is None:
        raise StartError("token: there is no bridge in the settings, and so no signer")

    async def run() -> bool:
        (chain,) = (one for one in chains_of(settings) if one.money)
        async with connected(settings) as connection, chain.providers:
            return await work(connection, Node(BestRpc(chain.providers)), bridge)

    sys.exit(0 if asyncio.run(run()) else EXIT_FAULT)
