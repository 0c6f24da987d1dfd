"""Plays seeds, one after the other, and makes failing ones shorter."""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass, field

import structlog

from tests.simulation.checks import Finding
from tests.simulation.loop import VirtualLoop
from tests.simulation.pool import Server
from tests.simulation.scenario import Scenario
from tests.simulation.stage import Stage
from tests.simulation.world import World

MAX_SHORTENINGS = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that did not end as it must; ``left_out`` are the actions that were not played."""

    seed: int
    error: BaseException
    trace: list[str] = field(repr=False)
    left_out: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        return type(self.error).__name__

    @property
    def text(self) -> str:
        """How to play it again, what happened, and what was wrong."""
        command = f"make simulate SEED={self.seed}"
        if self.left_out:
            command += f" WITHOUT={','.join(map(str, self.left_out))}"
        lines = [command, str(Scenario.of(self.seed).setting), *self.trace]
        if isinstance(self.error, Finding):
            return "\n".join([*lines, str(self.error)])
        return "\n".join([*lines, *traceback.format_exception(self.error)])


class Theatre:
    """A database with the tables of the simulation, in which any number of seeds can be played."""

    def __init__(self, owner_dsn: str, daemon_dsn: str) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._server = Server(daemon_dsn)
        self._stage = self._server.loop.run_until_complete(Stage.make(self._server, owner_dsn))

    def play(self, scenario: Scenario) -> Failure | None:
        """None if all went well."""
        server, stage = self._server, self._stage
        server.loop.run_until_complete(stage.reset(scenario.setting.wanted))
        loop = VirtualLoop()
        trace: list[str] = []
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(_play(scenario, stage, trace))
        except Exception as error:  # noqa: BLE001 - whatever it is, the seed failed
            return Failure(scenario.seed, error, trace)
        finally:
            loop.close()
        return None

    def shorten(self, failure: Failure) -> Failure:
        """Leave out actions, many at a time and then one by one, as long as it fails in the same way."""
        whole = Scenario.of(failure.seed)
        kept = [action.place for action in whole.actions]
        best, tries, size = failure, 0, max(1, len(kept) // 2)
        while size and tries < MAX_SHORTENINGS:
            for start in range(0, len(kept), size):
                tries += 1
                rest = kept[:start] + kept[start + size :]
                left_out = {action.place for action in whole.actions} - set(rest)
                found = self.play(whole.without(left_out))
                if found is not None and found.kind == best.kind:
                    best = Failure(found.seed, found.error, found.trace, tuple(sorted(left_out)))
                    kept = rest
                    break
            else:
                size //= 2
        return best

    def close(self) -> None:
        self._server.loop.run_until_complete(self._stage.close())
        self._server.close()


async def _play(scenario: Scenario, stage: Stage, trace: list[str]) -> None:
    world = World(scenario, stage)
    world.trace = trace
    await world.run()
