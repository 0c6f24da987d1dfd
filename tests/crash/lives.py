"""What launcher and tests tell each other of the lives of a daemon, by files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Fact = Literal["pid", "status"]


def want(folder: Path, number: int) -> None:
    """Ask for a life, when the one before has ended. They are numbered from 1."""
    _replace(folder / "wanted", number)


def wanted(folder: Path) -> int:
    return _read(folder / "wanted") or 0


def note(folder: Path, number: int, fact: Fact, value: int) -> None:
    """Of a life: its process, when it has begun; its status, minus the signal that ended it, when it has ended."""
    _replace(folder / f"life-{number}-{fact}", value)


def noted(folder: Path, number: int, fact: Fact) -> int | None:
    """None until it is known."""
    return _read(folder / f"life-{number}-{fact}")


def _replace(path: Path, number: int) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(str(number))
    fresh.rename(path)


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None
