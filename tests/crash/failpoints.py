"""Named places of the daemon at which it dies when it is told to. This lives in the daemon's own process.

The tests speak to it by three files in a folder: ``plan`` says where to die, ``passed`` grows by the name of each
place that is passed, and ``died`` by the place of each death.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FOLDER = "CRASH_FOLDER"
ANYWHERE = "*"

Side = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to die: at so manieth passing of ``point`` from now on; ``*`` is every point that tells what is done there.

    ``stands``: it stands still instead, as a process does that is stopped, and somebody else kills it.
    """

    point: str
    at_pass: int = 1
    stands: bool = False

    def write(self, folder: Path) -> None:
        write_plan(folder, json.dumps(asdict(self)))


def write_plan(folder: Path, text: str) -> None:
    """Put a plan in the place of the one before; an empty text is none."""
    fresh = folder / "plan.new"
    fresh.write_text(text)
    fresh.rename(folder / "plan")


class Failpoints:
    """What this process passes, and how it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._passed = _open(folder / "passed")
        self._seen: tuple[int, int] | None = None
        self._plan: Plan | None = None
        self._left = 0
        self._tags: ContextVar[set[str] | None] = ContextVar("tags", default=None)

    def passing(self, name: str, tags: Iterable[str], side: Side) -> None:
        """One point for each tag, which tells what is done at this place; one without any if there is none."""
        for point in [f"{name}[{tag}]:{side}" for tag in sorted(tags)] or [f"{name}:{side}"]:
            self._pass(point)

    def tag(self, tags: Iterable[str]) -> None:
        """What is done in the transaction that is open."""
        noted = self._tags.get()
        if noted is not None:
            noted.update(tags)

    def begin(self) -> set[str]:
        """A transaction begins: what :meth:`tag` is told from now on."""
        tags: set[str] = set()
        self._tags.set(tags)
        return tags

    def end(self) -> None:
        self._tags.set(None)

    def _pass(self, point: str) -> None:
        os.write(self._passed, f"{point}\n".encode())
        self._look()
        plan = self._plan
        if plan is None or (plan.point != point and not (plan.point == ANYWHERE and "[" in point)):
            return
        self._left -= 1
        if self._left == 0:
            self._die(point, plan)

    def _look(self) -> None:
        """The plan may be another one by now."""
        try:
            found = (self._folder / "plan").stat()
        except FileNotFoundError:
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp != self._seen:
            self._seen = stamp
            text = (self._folder / "plan").read_text()
            self._plan = Plan(**json.loads(text)) if text else None
            self._left = 0 if self._plan is None else self._plan.at_pass

    def _die(self, point: str, plan: Plan) -> None:
        os.write(_open(self._folder / "died"), f"{point}\n".encode())
        os.kill(os.getpid(), signal.SIGSTOP if plan.stands else signal.SIGKILL)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
