"""What is shown while the demo runs: bars on a terminal, one line for each step otherwise."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from daemon.demo.scenario import Scenario
from daemon.demo.watch import ISSUANCE, REDEMPTION, Snapshot

STEPS_SHOWN = 12
PAID = ("booked", "burning", "settled")


class Progress:
    """Use it as a context manager. `say` tells a step, `show` takes a look at the world."""

    def __init__(self, console: Console, scenario: Scenario, started_s: float) -> None:
        self._console = console
        self._started_s = started_s
        self._steps: list[Text] = []
        self._bars = Bars(TextColumn("{task.description:<28}"), BarColumn(40), MofNCompleteColumn())
        deposits, redemptions = len(scenario.deposits), len(scenario.redemptions)
        self._rows: dict[str, TaskID] = {
            name: self._bars.add_task(name, total=total)
            for name, total in (
                ("deposits booked", deposits),
                ("minted", deposits),
                ("mints settled", deposits),
                ("redemptions requested", redemptions),
                ("paid out", redemptions),
                ("burned", redemptions),
                ("redemptions settled", redemptions),
            )
        }
        self._standing = Text()
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def say(self, step: str) -> None:
        """Tell a step, with the seconds since the start."""
        line = Text(f"{time.monotonic() - self._started_s:6.1f} s  {step}")
        if self._live is None:
            self._console.print(line, soft_wrap=True)
            return
        self._steps = [*self._steps, line][-STEPS_SHOWN:]
        self._draw()

    def show(self, seen: Snapshot) -> None:
        """Take over the numbers of a snapshot; drawn on a terminal only."""
        if self._live is None:
            return
        numbers = {
            "deposits booked": sum(n for (kind, _), n in seen.operations if kind == ISSUANCE),
            "minted": seen.minted,
            "mints settled": seen.in_state(ISSUANCE, ["settled"]),
            "redemptions requested": seen.requested,
            "paid out": seen.in_state(REDEMPTION, PAID),
            "burned": seen.burned,
            "redemptions settled": seen.in_state(REDEMPTION, ["settled"]),
        }
        for name, number in numbers.items():
            self._bars.update(self._rows[name], completed=number)
        self._standing = Text(
            f"block {seen.head}, proof: {seen.verdict} at {seen.proved_block}, "
            f"open breaks: {seen.breaks}"
        )
        self._draw()

    def close(self) -> None:
        """Leave the last state on the screen; what is printed next comes below it."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(Group(*self._steps, self._bars, self._standing))

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
