"""A daemon that dies where it is told to, and is started again as whoever operates it would."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from tests.crash.failpoints import ANYWHERE, FOLDER, Plan, write_plan
from tests.crash.lives import Fact, noted, want
from tests.integration.daemon.running import Configuration, Daemon

POLL_S: Final = 0.03
# Nothing takes so long but on a machine that has much else to do.
NOTED_TIMEOUT_S: Final = 300.0
# A recovery has a few dozen of them, and takes about two seconds.
RECOVERY_PASSES: Final = 25
RECOVERY_S: Final = 2.5
SETTLING_S: Final = 0.15
LATER: Final = (
    "UPDATE ops.lease SET expires_at = clock_timestamp() WHERE expires_at > clock_timestamp()"
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the life after a death ends: at a point, or after so many seconds."""

    plan: Plan | None = None
    after_s: float | None = None

    @classmethod
    def drawn(cls, chance: random.Random) -> Recovery:
        if chance.random() < 0.5:
            return cls(after_s=chance.uniform(0.0, RECOVERY_S))
        return cls(Plan(ANYWHERE, chance.randint(1, RECOVERY_PASSES)))


@dataclass(slots=True)
class Lives:
    """What becomes of a daemon during a run: where it died, in order, and what was amiss; ``first`` is the place in its
    record where its first life ended. It is seen to until the run ``is_over``."""

    deaths: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    first: int | None = None
    is_over: bool = False


class Doomed(Daemon):
    """``landbridge run`` with failpoints, which has many lives."""

    module = "tests.crash.launcher"

    def __init__(self, configuration: Configuration, port: int, owner: asyncpg.Pool) -> None:
        self.folder = configuration.folder
        self._owner = owner
        self._life = 0
        super().__init__(
            configuration.changed(environment={FOLDER: str(configuration.folder)}), port
        )

    @property
    def returncode(self) -> int | None:
        return noted(self.folder, self._life, "status")

    async def launch(self) -> None:
        if self._life == 0:
            await super().launch()
        self._life += 1
        want(self.folder, self._life)
        await self._noted("pid")

    async def stop(self) -> int:
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL; then as much time passes as its leases last."""
        await self._end(signal.SIGKILL)
        await self._owner.execute(LATER)

    async def close(self) -> None:
        if self._life > 0:
            await self._end(signal.SIGKILL)
            await super().stop()
        await super().close()

    async def _end(self, number: signal.Signals) -> int:
        """Signal this life, unless it is over, and wait for its end."""
        pid = await self._noted("pid")
        if self.returncode is None:
            os.kill(pid, number)
        return await self._noted("status")

    async def _noted(self, fact: Fact) -> int:
        async with asyncio.timeout(NOTED_TIMEOUT_S):
            while True:
                found = noted(self.folder, self._life, fact)
                if found is not None:
                    return found
                await asyncio.sleep(POLL_S)

    def arm(self, plan: Plan | None) -> None:
        """Where it dies, at this life or at the next one."""
        if plan is None:
            write_plan(self.folder, "")
        else:
            plan.write(self.folder)

    def here(self) -> int:
        """A place in the record of what was passed."""
        path = self.folder / "passed"
        return path.stat().st_size if path.exists() else 0

    def passed(self, since: int, until: int | None = None) -> list[str]:
        """What was passed from one place of the record to another."""
        with (self.folder / "passed").open("rb") as file:
            file.seek(since)
            text = file.read() if until is None else file.read(until - since)
        return text.decode().split("\n")[:-1]

    def deaths(self) -> list[str]:
        """The points at which it has died so far, or stands still."""
        path = self.folder / "died"
        return path.read_text().splitlines() if path.exists() else []

    async def live(
        self,
        lives: Lives,
        died: int,
        recovery: Recovery,
        standing: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """See it die and start it again, until the run is over, and then once more if need be. ``died``: how often it
        had before. ``recovery`` is how its second life ends, ``standing`` what happens while it stands still at the
        point of its first death, where it does, right before it is killed."""
        following = iter([recovery])
        while not lives.faults:
            is_over = lives.is_over
            if is_over:
                self.arm(None)
                # By now it has died of the plan before, or it never will.
                await asyncio.sleep(SETTLING_S)
            found = self.deaths()[died:]
            died += len(found)
            if found and not lives.deaths and standing is not None:
                await standing()
            if found or self.returncode is not None:
                await self._again(
                    lives, found, Recovery() if is_over else next(following, Recovery())
                )
            if is_over:
                return
            await asyncio.sleep(POLL_S)

    async def _again(self, lives: Lives, found: list[str], recovery: Recovery) -> None:
        await self.kill()
        lives.first = lives.first or self.here()
        if not found:
            lives.faults.append(f"the daemon ended by itself; {self.tail()}")
            return
        lives.deaths += found
        self.arm(recovery.plan)
        await self.launch()
        if recovery.after_s is not None:
            await asyncio.sleep(recovery.after_s)
            await self.kill()
            lives.deaths.append(f"{recovery.after_s:.2f} s after its start")
            await self.launch()
