"""`landbridge demo`: sets the stage, plays, checks, reports, and stays up on a terminal."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Iterator

import aiohttp
import asyncpg
from rich.console import Console

from daemon.demo.bank import ACCOUNT_ID, BankFailedError
from daemon.demo.checks import Setting, judge
from daemon.demo.disturbance import ReorgFailedError
from daemon.demo.facts import gather
from daemon.demo.landbridge import LandbridgeFailedError
from daemon.demo.play import play
from daemon.demo.progress import Progress
from daemon.demo.report import Numbers, count, table
from daemon.demo.scenario import Scenario, draw
from daemon.demo.token import TokenFailedError
from daemon.demo.watch import StuckError
from daemon.demo.world import World, opened
from daemon.embedded.errors import EmbeddedError

SEED = 1
DEPOSITS = 200
HOLDERS = 50
BOOKING_S = 12.0
EXIT_OK, EXIT_FAULT = 0, 1
EXIT_SIGNALLED = 128
EXPECTED = (
    BankFailedError,
    EmbeddedError,
    LandbridgeFailedError,
    ReorgFailedError,
    StuckError,
    TokenFailedError,
    TimeoutError,
    OSError,
    aiohttp.ClientError,
    asyncpg.PostgresError,
)


class Interrupted:
    """Remembers the signal that asked the demo to end."""

    def __init__(self) -> None:
        self.number: int | None = None

    def watch(self, task: asyncio.Task[int]) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP cancel the task, once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end, number, task)

    def _end(self, number: int, task: asyncio.Task[int]) -> None:
        # A second one would tear down the tidying up; without it that takes seconds.
        if self.number is None:
            self.number = number
            task.cancel()


def main(json_output: bool, once: bool) -> int:
    """Run the demo; its exit status: 0 only if every check holds."""
    stays = sys.stdout.isatty() and not once
    return asyncio.run(_interruptible(json_output, stays))


async def _interruptible(json_output: bool, stays: bool) -> int:
    console = Console()
    demo = Demo(console, json_output, stays)
    interrupted = Interrupted()
    task = asyncio.create_task(demo.run())
    interrupted.watch(task)
    try:
        return await task
    except asyncio.CancelledError:
        if demo.status is not None:
            return demo.status
        console.print("interrupted: everything is stopped and removed")
        return EXIT_SIGNALLED + (interrupted.number or signal.SIGINT)
    except EXPECTED as error:
        console.print(f"the demo failed: {error or type(error).__name__}", markup=False)
        return EXIT_FAULT
    except ExceptionGroup as group:
        leaves = list(_leaves(group))
        if not all(isinstance(leaf, EXPECTED) for leaf in leaves):
            raise
        for leaf in leaves:
            console.print(f"the demo failed: {leaf or type(leaf).__name__}", markup=False)
        return EXIT_FAULT


class Demo:
    """One run. `status` is its exit status as soon as the checks are done."""

    def __init__(self, console: Console, json_output: bool, stays: bool) -> None:
        self.status: int | None = None
        self._console = console
        self._json_output = json_output
        self._stays = stays

    async def run(self) -> int:
        started_s = time.monotonic()
        scenario = draw(random.Random(SEED), deposits=DEPOSITS, holders=HOLDERS)
        progress = Progress(self._console, scenario, started_s)
        with progress:
            async with opened(scenario, progress.say) as world:
                numbers = await self._play(world, scenario, progress, started_s)
                self.status = EXIT_OK if numbers.ok else EXIT_FAULT
                if self._stays:
                    self._invite(world)
                    await asyncio.Event().wait()
        return self.status

    async def _play(
        self, world: World, scenario: Scenario, progress: Progress, started_s: float
    ) -> Numbers:
        story = await play(world, scenario, progress, booking_s=BOOKING_S)
        progress.say("asking the chain, the bank and the database, each for itself")
        facts = await gather(world, scenario.holders)
        setting = Setting(world.token.chain_id, world.token.address, ACCOUNT_ID)
        checks = judge(scenario, story, facts, setting)
        numbers = count(facts, story, checks, time.monotonic() - started_s)
        progress.close()
        self._console.print(table(numbers, story, checks))
        if self._json_output:
            print(numbers.as_json(), flush=True)
        return numbers

    def _invite(self, world: World) -> None:
        say = Console(stderr=True).print
        say(f"\nEverything stays up at {world.daemon.site.url} until Ctrl-C:", markup=False)
        say(f"  curl -s {world.daemon.site.url}/status", markup=False, soft_wrap=True)
        say("To try the command, in another terminal:", markup=False)
        say(
            f"  . {world.daemon.environment_file} && {sys.argv[0]} status",
            markup=False,
            soft_wrap=True,
        )
        say('  psql "$LANDBRIDGE_DATABASE__OWNER_URL"   (in the same terminal)', markup=False)
        say(f"Logs are in {world.folder}.", markup=False, soft_wrap=True)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
