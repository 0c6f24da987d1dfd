"""One run: people act, the daemon dies at a point, again while it recovers, and in the end all is as it must be."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from tests.crash.acts import Context, act
from tests.crash.doomed import Lives, Recovery
from tests.crash.failpoints import Plan
from tests.crash.stage import Stage
from tests.crash.verdict import faults, is_over, waiting

POLL_S: Final = 0.15
STUCK_S: Final = 240.0
# After this a daemon has its leases and has read its settings, its chain and its bank.
STARTED_S: Final = 2.5


@dataclass(frozen=True, slots=True)
class Run:
    """What is to happen. Without a ``plan`` nothing dies. ``restarts``: the daemon is started anew for it, because the
    point is passed at its start. ``then`` is where it dies while it recovers; drawn from ``seed`` if there is none."""

    context: Context
    plan: Plan | None
    seed: int
    restarts: bool = False
    then: Plan | None = None

    def __str__(self) -> str:
        if self.plan is None:
            return f"{self.context}: nobody dies"
        then = "" if self.then is None else f", then at {self.then.point}"
        return f"{self.context}: at {self.plan.point}#{self.plan.at_pass}{then} (seed {self.seed})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What did. Of each point how often it was passed: ``began`` before people acted, ``first`` until the first death,
    ``later`` after it."""

    run: Run
    deaths: tuple[str, ...]
    began: Counter[str]
    first: Counter[str]
    later: Counter[str]
    faults: tuple[str, ...]
    took_s: float


async def play(stage: Stage, run: Run) -> Outcome:
    """Whatever happens is in the outcome; after a fault the stage is not to be used any more."""
    daemon, lives, chance = stage.daemon, Lives(), random.Random(run.seed)
    began_s, since, died = time.monotonic(), daemon.here(), len(daemon.deaths())
    stage.runs += 1
    if run.restarts:
        await daemon.stop()
    daemon.arm(run.plan)
    if run.restarts:
        await daemon.launch()
    if run.plan is None:
        await daemon.serves()
        await asyncio.sleep(STARTED_S)
    acting_from = daemon.here()
    recovery = Recovery(run.then) if run.then else Recovery.drawn(chance)
    standing = stage.chain.reorg if run.plan and run.plan.stands else None
    living = asyncio.create_task(daemon.live(lives, died, recovery, standing))
    acting = asyncio.create_task(act(stage, run.context, chance))
    found = await _ends(stage, lives, acting)
    lives.is_over = True
    await living
    await _calm(stage)
    until = daemon.here()
    first = until if lives.first is None else lives.first
    return Outcome(
        run=run,
        deaths=tuple(lives.deaths),
        began=Counter(daemon.passed(since, acting_from)),
        first=Counter(daemon.passed(since, first)),
        later=Counter(daemon.passed(first, until)),
        faults=tuple(found or lives.faults or await faults(stage)),
        took_s=time.monotonic() - began_s,
    )


async def _ends(stage: Stage, lives: Lives, acting: asyncio.Task[None]) -> list[str]:
    """Wait until people have done what they do and all of it is over; what is in the way if it never is."""
    deadline = time.monotonic() + STUCK_S
    while not lives.faults:
        if acting.done():
            acting.result()
            if await is_over(stage):
                return []
        if time.monotonic() > deadline:
            acting.cancel()
            return [f"stuck: {await waiting(stage)}\n{stage.daemon.tail()}"]
        await asyncio.sleep(POLL_S)
    acting.cancel()
    return lives.faults


async def _calm(stage: Stage) -> None:
    """No trouble any more."""
    stage.witness.trouble = None
    stage.chain.release()
    await stage.world.teller.forgive()
