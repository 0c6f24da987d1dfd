"""``landbridge halt`` and ``resume``: one person stops money, and two let it go on."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import asyncpg
import click

from bridge import halts, resuming
from bridge.bank.rest import RestBank
from bridge.calldata import PAUSE_MINT
from bridge.custody.log import CustodyLog
from bridge.halts import Halt, ResumeRefusedError, Scope
from bridge.node import Node
from bridge.recovery import recover
from bridge.rescan import Rescan, rescan
from bridge.state_loss import of_database
from bridge.watch import Watch, live_identity, recorded_identity
from daemon import settings as settings_module
from daemon.bridge_wiring import BestRpc, bank_settings, token_of
from daemon.commands.context import connected, reading_pool, spoken_errors
from daemon.errors import StartError
from daemon.setting_types import checksummed
from daemon.settings import Bridge, Settings
from daemon.wiring import chains_of

SIGNERS = (
    "SELECT address FROM bridge.signer WHERE chain_id = $1 AND state <> 'retired' ORDER BY address"
)


@click.command()
@click.option("--reason", required=True, help="Why; kept and shown in the status.")
@click.option("--by", required=True, help="Who halts.")
@click.option(
    "--scope",
    type=click.Choice(["money", "mint"]),
    default="money",
    show_default=True,
    help="money: signing, payouts and refunds; mint: new mints only.",
)
@click.option("--pause-contract", is_flag=True, help="Say how mints are paused on the chain, too.")
@click.pass_obj
@spoken_errors
def halt(config: Path | None, reason: str, by: str, scope: str, pause_contract: bool) -> None:
    """Stop signing, payouts and refunds on every daemon, until `resume`."""
    settings = settings_module.load(config)

    async def stop() -> None:
        async with connected(settings) as connection:
            await halts.halt(connection, cast(Scope, scope), reason, by)

    asyncio.run(stop())
    what = "money movement is" if scope == "money" else "new mints are"
    click.echo(f"{what} halted; indexing and status go on")
    if pause_contract:
        click.echo(_pause(settings))


def _pause(settings: Settings) -> str:
    bridge = settings.bridge
    if bridge is None:
        raise StartError("token: is missing; there is no contract to pause")
    return (
        "no key of a pauser is configured, and none should be where the daemon's keys are. From an account with "
        f"PAUSER_ROLE, on chain {bridge.chain.id}, send\n"
        f"  to:    {checksummed(bridge.token.address)}\n"
        f"  data:  0x{PAUSE_MINT.hex()}\n"
        "  value: 0"
    )


@click.command()
@click.option("--by", required=True, help="Who resumes.")
@click.option("--halt", "halt_ids", type=int, multiple=True, help="Only this one; may be repeated.")
@click.option("--approve", metavar="PROPOSAL", help="What somebody else has proposed.")
@click.pass_obj
@spoken_errors
def resume(config: Path | None, by: str, halt_ids: tuple[int, ...], approve: str | None) -> None:
    """Propose to lift halts, or approve what somebody else has proposed.

    Shows what each halt was for and what would go on. After a state loss it asks chain, bank and custody's log, and
    shows what it would do about what this database does not know.
    """
    if approve is not None and halt_ids:
        raise click.UsageError("a proposal names its halts: give --halt or --approve")
    settings = settings_module.load(config)
    try:
        if approve is None:
            asyncio.run(_propose(settings, by, halt_ids))
        else:
            asyncio.run(_approve(settings, by, _hash(approve)))
    except ResumeRefusedError as error:
        raise StartError(str(error)) from None


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise StartError("--approve: needs the proposal's hash, as it was shown") from None


async def _propose(settings: Settings, by: str, halt_ids: Sequence[int]) -> None:
    async with reading_pool(settings) as pool:
        async with pool.acquire() as connection:
            await _latch_restored(connection)
            lifted = resuming.chosen(await halts.open_halts(connection), halt_ids)
            goes_on = await resuming.what_goes_on(connection)
        found = await _rescan(pool, settings, lifted)
        shown = None if found is None else found.shown()
        _show(lifted, goes_on, shown)
        _refuse_early(found)
        async with pool.acquire() as connection:
            text = resuming.content(lifted, by, goes_on, shown)
            proposal = await halts.propose(connection, text, by)
    click.echo(
        "Somebody else approves this within an hour:\n"
        f"  landbridge resume --by NAME --approve {proposal.hex()}"
    )


async def _approve(settings: Settings, by: str, proposal: bytes) -> None:
    async with reading_pool(settings) as pool:
        async with pool.acquire() as connection:
            text = await halts.proposed(connection, proposal)
            if text is None:
                raise ResumeRefusedError("there is no such proposal: compare the hash")
            halt_ids, agreed = resuming.read(text)
            open_now = await halts.open_halts(connection)
            lifted = [one for one in open_now if one.halt_id in halt_ids]
            goes_on = await resuming.what_goes_on(connection)
        found = await _rescan(pool, settings, lifted)
        _show(lifted, goes_on, None if found is None else found.shown())
        _refuse_early(found)
        if found is None:
            async with pool.acquire() as connection:
                done = await halts.approve(connection, proposal, halt_ids, by)
        else:
            _refuse_changed(found, agreed)
            token = token_of(_bridge(settings))
            done = await recover(pool, token, found, proposal, halt_ids, by)
    for each in done:
        click.echo(f"lifted {each.halt_id} ({each.scope}): {each.reason}")
    click.echo(f"{len(open_now) - len(done)} halts are left in force")


async def _latch_restored(connection: asyncpg.pool.PoolConnectionProxy) -> None:
    """A database that was restored is halted, also if no daemon has said so yet."""
    moved = of_database(await recorded_identity(connection), await live_identity(connection))
    if moved is not None:
        await halts.latch(connection, [moved], "resume")


def _bridge(settings: Settings) -> Bridge:
    if settings.bridge is None:
        raise StartError(
            "token: is missing; a state loss is mended with the settings of the bridge"
        )
    return settings.bridge


async def _rescan(pool: asyncpg.Pool, settings: Settings, lifted: Sequence[Halt]) -> Rescan | None:
    """What going on after a state loss would do; None where there was none."""
    if not any(one.state_loss for one in lifted):
        return None
    bridge = _bridge(settings)
    (chain,) = (one for one in chains_of(settings) if one.money)
    async with AsyncExitStack() as stack:
        providers = await stack.enter_async_context(chain.providers)
        await providers.require_chain(bridge.chain.id)
        bank = await stack.enter_async_context(RestBank(bank_settings(bridge)))
        signers = [row["address"] for row in await pool.fetch(SIGNERS, bridge.chain.id)]
        custody_log = CustodyLog(settings.daemon.custody_log)
        watch = Watch(pool, Node(BestRpc(providers)), bridge.chain.id, signers, custody_log)
        found = await rescan(pool, watch, bank, token_of(bridge))
    left = [] if signers else ["no signer is known yet: run `landbridge run`, which moves no money"]
    return replace(found, waits=(*left, *found.waits))


def _show(
    lifted: Sequence[Halt], goes_on: Mapping[str, Any], found: Mapping[str, Any] | None
) -> None:
    for each in lifted:
        since = f"{each.opened_at:%Y-%m-%d %H:%M:%S}"
        click.echo(f"halt {each.halt_id} ({each.scope}, {each.opened_by}, {since}): {each.reason}")
    click.echo(f"then goes on: {json.dumps(goes_on, indent=2)}")
    if found is not None:
        click.echo(f"after the state loss: {json.dumps(found, indent=2)}")


def _refuse_early(found: Rescan | None) -> None:
    if found is not None and found.waits:
        raise ResumeRefusedError(f"not yet: {'; '.join(found.waits)}. Try again in a while")


def _refuse_changed(found: Rescan, agreed: Mapping[str, Any] | None) -> None:
    """What is done is what was agreed on."""
    names = found.decided().keys()
    if agreed is None or {name: agreed.get(name) for name in names} != found.decided():
        raise ResumeRefusedError(
            "what would be done has changed since it was proposed: propose again"
        )
