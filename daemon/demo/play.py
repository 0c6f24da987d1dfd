"""Plays a scenario in a world: people act, bad moments come, and it is waited until all is settled."""

from __future__ import annotations

import asyncio

from daemon.demo.crowd import Crowd
from daemon.demo.disturbance import while_minting, while_redeeming
from daemon.demo.progress import Progress
from daemon.demo.scenario import Scenario
from daemon.demo.story import Story
from daemon.demo.watch import ISSUANCE, REDEMPTION, Snapshot, Watch
from daemon.demo.world import World

SETTLED_TIMEOUT_S = 120.0
# The chain's share of mints, and of requests, at which the bad moments come.
REORG_AFTER_MINTS = 0.3
REORG_AFTER_REQUESTS = 0.6


async def play(world: World, scenario: Scenario, progress: Progress, *, booking_s: float) -> Story:
    """Book every deposit within about `booking_s` seconds and see everything through.

    Raises StuckError if something does not happen in time, and whatever a part of the world raises.
    """
    story = Story()
    watch = Watch(world, progress.show)
    crowd = Crowd(world, scenario.redemptions, watch)
    async with asyncio.TaskGroup() as group:
        everlasting = [group.create_task(watch.run()), group.create_task(crowd.run())]
        booking = group.create_task(_book(world, scenario, story, booking_s))
        await _disturb(world, scenario, watch, story, progress)
        await booking
        progress.say("waiting until everything is settled and the proof agrees")
        await watch.until(
            "everything settled and proved",
            lambda seen: is_over(seen, scenario),
            SETTLED_TIMEOUT_S,
        )
        for task in everlasting:
            task.cancel()
    story.restarts = world.daemon.restarts
    story.resent = crowd.resent
    return story


def is_over(seen: Snapshot, scenario: Scenario) -> bool:
    """Whether every operation is settled and a proof after the last event agrees."""
    return (
        seen.in_state(ISSUANCE, ["settled"]) == len(scenario.deposits)
        and seen.in_state(REDEMPTION, ["settled"]) == len(scenario.redemptions)
        and seen.in_flight == 0
        and seen.verdict == "agree"
        and seen.nothing_in_flight
        and seen.proved_block >= seen.last_event_block
    )


async def _book(world: World, scenario: Scenario, story: Story, booking_s: float) -> None:
    pause_s = booking_s / len(scenario.deposits)
    for deposit in scenario.deposits:
        story.entry_keys[deposit.number] = await world.bank.book(deposit)
        await asyncio.sleep(pause_s)


async def _disturb(
    world: World, scenario: Scenario, watch: Watch, story: Story, progress: Progress
) -> None:
    progress.say("booking deposits at the bank")
    undone = await while_minting(world, watch, round(len(scenario.deposits) * REORG_AFTER_MINTS))
    story.reorgs.append(undone)
    progress.say(
        f"a reorg of {undone.depth_blocks} blocks undid {undone.unminted} mints; "
        "then the daemon was killed and started again"
    )
    undone = await while_redeeming(
        world, watch, round(len(scenario.redemptions) * REORG_AFTER_REQUESTS)
    )
    story.reorgs.append(undone)
    progress.say(
        f"the daemon was killed, a reorg undid {undone.dropped_requests} redemption requests and "
        f"{undone.unminted} mints meanwhile, and the daemon was started again"
    )
