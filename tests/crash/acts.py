"""What happens in a run: people act, and in some runs everything goes wrong once, or the chain is reorganized.

Blocks are held back until the daemon has seen what it is to see, so that the same happens on a slow machine. But
nothing here waits for ever: a daemon that is killed may miss its cue, and has to manage afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from daemon.demo.token import MINTED, REJECTED, REQUESTED, SETTLED
from tests.crash.stage import Stage

POLL_S: Final = 0.05
PATIENCE_S: Final = 20.0
BANK_TROUBLE: Final = ("error_500", "accept_then_500", "not_found_then_book")

# A mint that waits in a node's pool has been replaced by one that offers more.
MORE_IS_OFFERED: Final = """
    SELECT EXISTS (SELECT FROM bridge.operation o JOIN bridge.tx_operation l USING (op_id)
                   JOIN bridge.tx_attempt a USING (tx_id)
                   WHERE o.wallet = $1 AND o.state = 'submitted' AND NOT l.released AND a.attempt > 1
                     AND a.sends > 0)"""
IS_HELD: Final = "SELECT EXISTS (SELECT FROM bridge.operation WHERE wallet = $1 AND state = 'held')"
# The follower has the block, and the bridge has acted on all that it was told.
IS_READ: Final = """
    SELECT c.head_number >= $1 AND NOT EXISTS (
        SELECT FROM chain.feed f JOIN chain.consumer b ON b.name = 'bridge' AND f.seq > b.seq)
    FROM chain.cursor c"""


class Context(StrEnum):
    """When a point is passed that the daemon dies at."""

    FIRST = "first"
    """Nothing has gone wrong before."""
    RETRY = "retry"
    """The bank, the node and the token have refused once, or have not answered."""
    REORG = "reorg"
    """The chain has just been reorganized, and is so again while the daemon stands at the point."""


async def act(stage: Stage, context: Context, chance: random.Random) -> None:
    """Deposits by either channel, a redemption, and one that the bank refuses, in their context."""
    match context:
        case Context.FIRST:
            await _people(stage)
        case Context.RETRY:
            await _in_trouble(stage, chance)
        case Context.REORG:
            await _reorganized(stage)


async def _people(stage: Stage) -> None:
    people = stage.people
    await stage.redeem(people.redeemer)
    await stage.redeem(people.refused)
    await stage.pay_in(people.payer)
    await stage.pay_in(people.quiet_payer, "never")


async def _in_trouble(stage: Stage, chance: random.Random) -> None:
    """A mint is refused on chain, because its wallet is frozen in the very block; what is sent is lost, or its
    answer is; it waits until more is offered for it. The bank has its troubles, too."""
    teller, people = stage.world.teller, stage.people
    for kind in chance.sample(BANK_TROUBLE, 2):
        await teller.plan("payments", kind, delay_s=0.5)
    await teller.plan("payment_status", "error_500")
    await teller.plan("entries", "error_500")
    stage.witness.trouble = chance
    others_too = chance.random() < 0.5
    try:
        stage.chain.hold()
        await stage.freeze(people.suspect, True)
        await stage.pay_in(people.suspect, "twice")
        if others_too:
            await _people(stage)
        await _shortly(lambda: _is_so(stage, MORE_IS_OFFERED, people.suspect.wallet.address))
    finally:
        stage.chain.release()
    if not others_too:
        await _people(stage)
    await _shortly(lambda: _is_so(stage, IS_HELD, people.suspect.wallet.address))
    await stage.freeze(people.suspect, False)


async def _reorganized(stage: Stage) -> None:
    """Requests are taken back, then mints, then burns and refunds, each when the daemon has acted on it."""
    taken_back = asyncio.create_task(_take_back(stage))
    await _people(stage)
    await taken_back


async def _take_back(stage: Stage) -> None:
    for kinds in ([REQUESTED], [MINTED], [SETTLED, REJECTED]):
        stage.chain.hold_behind(kinds)
        await _shortly(lambda: _is_held(stage))
        if stage.chain.is_held:
            await _shortly(lambda: _is_so(stage, IS_READ, stage.chain.head))
            await stage.chain.reorg()
        stage.chain.release()


async def _is_held(stage: Stage) -> bool:
    return stage.chain.is_held


async def _is_so(stage: Stage, query: str, argument: object) -> bool:
    found: bool | None = await stage.world.owner.fetchval(query, argument)
    return bool(found)


async def _shortly(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so, but not for long."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if await is_so():
            return
        await asyncio.sleep(POLL_S)
