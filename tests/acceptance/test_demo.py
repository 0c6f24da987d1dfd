"""The demo in small: everything at once, through reorgs and kills; and what is left when it ends."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from daemon.demo.bank import ACCOUNT_ID
from daemon.demo.checks import Setting, judge
from daemon.demo.facts import gather
from daemon.demo.play import play
from daemon.demo.progress import Progress
from daemon.demo.report import count
from daemon.demo.scenario import draw
from daemon.demo.world import opened

REPOSITORY = Path(__file__).resolve().parents[2]
DEPOSITS, HOLDERS, BOOKING_S = 12, 4, 3.0
END_TIMEOUT_S = 120.0
POLL_S = 0.1


async def test_everything_is_exact_through_reorgs_and_kills(token_artifact: object) -> None:
    scenario = draw(random.Random(3), deposits=DEPOSITS, holders=HOLDERS)
    progress = Progress(Console(file=io.StringIO()), scenario, time.monotonic())
    async with opened(scenario, progress.say) as world:
        story = await play(world, scenario, progress, booking_s=BOOKING_S)
        facts = await gather(world, scenario.holders)
        setting = Setting(world.token.chain_id, world.token.address, ACCOUNT_ID)
    checks = judge(scenario, story, facts, setting)
    assert [check for check in checks if not check.holds] == []
    numbers = count(facts, story, checks, 1.0)
    assert numbers.ok
    assert (numbers.deposits, numbers.minted) == (DEPOSITS, DEPOSITS)
    assert (numbers.redeemed, numbers.paid) == (HOLDERS, HOLDERS)
    assert (numbers.in_flight, numbers.breaks) == (0, 0)
    assert numbers.unminted_by_reorg > 0
    assert (numbers.reorgs, numbers.restarts) == (2, 2)
    assert numbers.supply == numbers.reserve


@pytest.fixture
def temporary_folder() -> Iterator[Path]:
    """A folder that every account can enter, as PostgreSQL's must be when root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="landbridge-test-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(
    temporary_folder: Path, number: signal.Signals, token_artifact: object
) -> None:
    # By this mark in their environment or arguments, its processes are told from all others.
    environment = {**os.environ, "TMPDIR": str(temporary_folder)}
    with subprocess.Popen(
        [sys.executable, "-m", "daemon", "demo", "--once"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "booking deposits" in line:
                break
        assert len(_processes(temporary_folder)) >= 5
        demo.send_signal(number)
        demo.communicate(timeout=END_TIMEOUT_S)
    expected = -number if number == signal.SIGKILL else 128 + number
    assert demo.returncode == expected
    deadline = time.monotonic() + END_TIMEOUT_S
    while left := [*_processes(temporary_folder), *map(str, temporary_folder.iterdir())]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(POLL_S)


def _processes(folder: Path) -> list[str]:
    """Command lines of the running processes that name the folder, or were told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = [(process / name).read_bytes() for name in ("cmdline", "environ")]
        except OSError:
            continue
        if any(os.fsencode(folder) in text for text in told):
            found.append(told[0].replace(b"\0", b" ").decode(errors="replace"))
    return found
