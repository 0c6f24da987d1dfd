"""Every point that is passed, in every context: first a run in which nobody dies tells which there are.

Points that are only passed by a daemon that recovers come up on the way. They are died at, too, in a run that
begins with the same death and goes on to them.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
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

Place = tuple[Context, str]


@dataclass(slots=True)
class Matrix:
    """What is still to be done, and what came of what was."""

    seed: int
    wanted: str = ""
    runs: list[Run] = field(default_factory=list)
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

    def begin(self, recorded: Sequence[Outcome]) -> None:
        """A run for each point that was passed while nobody died."""
        for outcome in recorded:
            context = outcome.run.context
            began = outcome.began
            for point, times in sorted(outcome.first.items()):
                if self.wanted in point:
                    # What is only passed at the start needs one; what is retried is passed a second time.
                    retried = 2 if context is Context.RETRY and times - began[point] > 1 else 1
                    plan = Plan(point, retried, stands=context is Context.REORG)
                    self._add(Run(context, plan, self._next_seed(), times == began[point]))
        random.Random(self.seed).shuffle(self.runs)
        self.outcomes += recorded

    def take(self, outcome: Outcome) -> None:
        """Note what came of a run, and what it passed that is not to be died at yet."""
        self.outcomes.append(outcome)
        run = outcome.run
        if outcome.faults or run.plan is None:
            return
        context = run.context
        for point in outcome.first:
            if self.wanted in point and self._is_new(context, point):
                plan = Plan(point, stands=context is Context.REORG)
                self._add(Run(context, plan, self._next_seed()))
        for point in outcome.later:
            if self.wanted in point and self._is_new(context, point):
                self._add(replace(run, then=Plan(point), seed=self._next_seed()))

    def again(self) -> bool:
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

    def _is_new(self, context: Context, point: str) -> bool:
        return not self.tries[context, point]

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
        recorded = await self._all(
            [Run(each, None, matrix.seed, restarts=True) for each in Context], at_once, tell
        )
        if any(one.faults for one in recorded):
            matrix.outcomes += recorded
            return
        matrix.begin(recorded)
        while matrix.runs or matrix.again():
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(self._work(matrix, tell, most_failures))
            if len(matrix.failed) >= most_failures:
                return

    async def _all(
        self, runs: Sequence[Run], at_once: int, tell: Callable[[Outcome], None]
    ) -> list[Outcome]:
        recording = Matrix(0, runs=list(runs))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(runs))):
                group.create_task(self._work(recording, tell, 1))
        return recording.outcomes

    async def _work(
        self, matrix: Matrix, tell: Callable[[Outcome], None], most_failures: int
    ) -> None:
        while matrix.runs and len(matrix.failed) < most_failures:
            async with self._stage() as stage:
                while matrix.runs and stage.runs < RUNS_ON_A_STAGE:
                    outcome = await play(stage, matrix.runs.pop(0))
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
