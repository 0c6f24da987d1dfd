"""Every point that is passed, in every context: first a run in which nobody dies tells which there are.

Points that are only passed by a daemon that recovers come up on the way. They are died at, too, in a run that
begins with the same death and goes on to them.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Template, migrated
from tests.crash.acts import Context
from tests.crash.failpoints import Plan
from tests.crash.run import Outcome, Run, play
from tests.crash.stage import Stage, staged

# What a stage has seen is looked at again after each run, so it is not kept for ever.
RUNS_ON_A_STAGE: Final = 30
# Whether a point is passed in a recovery is a matter of time, too; so often it is tried.
TRIES: Final = 2
IDLE_S: Final = 0.2

Place = tuple[Context, str]


@dataclass(slots=True)
class Matrix:
    """What is still to be done, and what came of what was."""

    seed: int
    wanted: str = ""
    runs: list[Run] = field(default_factory=list)
    at_work: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    tries: Counter[Place] = field(default_factory=Counter)

    @property
    def passed(self) -> set[Place]:
        """Every point of each context that any life has passed, as far as it is wanted."""
        return {
            (one.run.context, point)
            for one in self.outcomes
            for point in (*one.first, *one.later)
            if self.wanted in point
        }

    @property
    def died_at(self) -> set[Place]:
        return {(one.run.context, point) for one in self.outcomes for point in one.deaths}

    @property
    def missed(self) -> list[Place]:
        return sorted(self.passed - self.died_at)

    @property
    def failed(self) -> list[Outcome]:
        return [one for one in self.outcomes if one.faults]

    def begin(self) -> None:
        """In each context nobody dies at first."""
        self.runs += [Run(each, None, self.seed, restarts=True) for each in Context]

    def next(self) -> Run | None:
        """The next run; None while there is none, and others that are being played may bring some."""
        if not self.runs:
            return None
        self.at_work += 1
        return self.runs.pop(0)

    def is_done(self, most_failures: int) -> bool:
        """Whether nothing is left to be played, or enough has failed."""
        if len(self.failed) >= most_failures:
            return True
        return not self.runs and self.at_work == 0 and not self._again()

    def take(self, outcome: Outcome) -> None:
        """Note what came of a run, and what it passed that is not to be died at yet."""
        self.at_work -= 1
        self.outcomes.append(outcome)
        if outcome.faults:
            return
        if outcome.run.plan is None:
            self._die_at_all(outcome)
            return
        run = outcome.run
        for point in self._new(run.context, outcome.first):
            plan = Plan(point, stands=run.context is Context.REORG)
            self._add(Run(run.context, plan, self._next_seed()))
        for point in self._new(run.context, outcome.later):
            self._add(replace(run, then=Plan(point), seed=self._next_seed()))

    def _die_at_all(self, recorded: Outcome) -> None:
        """A run for each point that was passed while nobody died."""
        context, began = recorded.run.context, recorded.began
        for point, times in sorted(recorded.first.items()):
            if self.wanted in point:
                # What is only passed at the start needs one; what is retried is passed a second time.
                retried = 2 if context is Context.RETRY and times - began[point] > 1 else 1
                plan = Plan(point, retried, stands=context is Context.REORG)
                self._add(Run(context, plan, self._next_seed(), times == began[point]))
        random.Random(self.seed).shuffle(self.runs)

    def _new(self, context: Context, points: Iterable[str]) -> list[str]:
        return [one for one in points if self.wanted in one and not self.tries[context, one]]

    def _again(self) -> bool:
        """Try what was missed once more, at its first passing; answers whether there is anything to try."""
        missed = set(self.missed)
        for run in [one.run for one in self.outcomes]:
            target = run.then or run.plan
            if target is None or (run.context, target.point) not in missed:
                continue
            if self.tries[run.context, target.point] < TRIES:
                first = replace(target, at_pass=1)
                plan, then = (run.plan, first) if run.then else (first, None)
                self._add(replace(run, plan=plan, then=then, seed=self._next_seed()))
        return bool(self.runs)

    def _add(self, run: Run) -> None:
        target = run.then or run.plan
        if target is not None:
            self.tries[run.context, target.point] += 1
        self.runs.append(run)

    def _next_seed(self) -> int:
        return self.seed + 1 + sum(self.tries.values())


class Players:
    """Play runs on stages of their own, so many at a time."""

    def __init__(self, folder: Path, server: EmbeddedPostgres, template: Template) -> None:
        self._folder = folder
        self._server = server
        self._template = template
        self._stages = 0

    async def play(
        self, matrix: Matrix, at_once: int, tell: Callable[[Outcome], None], most_failures: int
    ) -> None:
        """Everything that a matrix wants, as long as not too much fails."""
        matrix.begin()
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._work(matrix, tell, most_failures))

    async def _work(
        self, matrix: Matrix, tell: Callable[[Outcome], None], most_failures: int
    ) -> None:
        while not matrix.is_done(most_failures):
            async with self._stage() as stage:
                while stage.runs < RUNS_ON_A_STAGE and not matrix.is_done(most_failures):
                    run = matrix.next()
                    if run is None:
                        await asyncio.sleep(IDLE_S)
                        continue
                    outcome = await play(stage, run)
                    matrix.take(outcome)
                    tell(outcome)
                    if outcome.faults:
                        break

    @asynccontextmanager
    async def _stage(self) -> AsyncIterator[Stage]:
        self._stages += 1
        folder = self._folder / f"stage-{self._stages}"
        folder.mkdir()
        async with staged(folder, self._server, self._template) as stage:
            yield stage


@asynccontextmanager
async def players() -> AsyncIterator[Players]:
    """With a database server of their own."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="landbridge-crash-"))
        server = await stack.enter_async_context(EmbeddedPostgres(fsync=False))
        yield Players(Path(folder), server, await migrated(server))
