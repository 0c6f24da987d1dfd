"""CPU time and resident memory of a process and its descendants, from Linux's /proc."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20
SAMPLE_S = 0.05
# /proc/PID/stat, counted after the program's name: it may hold spaces and is in parentheses.
USER_TICKS, SYSTEM_TICKS = 11, 12
RESIDENT_PAGES = 1  # of /proc/PID/statm


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_s` sums user and system time; `peak_rss_mb` is the largest sum seen, in MiB."""

    cpu_s: float
    peak_rss_mb: float


def tree(root: int) -> list[int]:
    """Pids of a process and its descendants, empty if it is gone."""
    found = [root] if (PROC / str(root)).exists() else []
    for pid in found:
        for task in _listed(PROC / str(pid) / "task"):
            found += [int(child) for child in _read(task / "children").split()]
    return found


def cpu_s(pid: int) -> float | None:
    """CPU seconds of one process so far; None if it is gone."""
    text = _read(PROC / str(pid) / "stat")
    return None if not text else cpu_s_of_stat(text)


def cpu_s_of_stat(text: str) -> float:
    """CPU seconds, from the text of /proc/PID/stat."""
    fields = text.rpartition(")")[2].split()
    return (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """Resident memory of one process; 0 if it is gone. Pages shared by two count twice."""
    text = _read(PROC / str(pid) / "statm")
    return int(text.split()[RESIDENT_PAGES]) * PAGE_BYTES if text else 0


def tree_cpu_s(root: int) -> float:
    """CPU seconds of the living processes of a tree."""
    return sum(cpu_s(pid) or 0.0 for pid in tree(root))


class Meter:
    """Samples a tree until it is stopped; of a process that has ended, the last value counts."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._cpu_s: dict[int, float] = {}
        self._peak_bytes = 0
        self._sampling: asyncio.Task[None] | None = None

    def start(self) -> Self:
        self._sampling = asyncio.create_task(self._run())
        return self

    def resident_mb(self) -> float:
        """Now."""
        return sum(map(rss_bytes, tree(self._root))) / MIB

    async def stop(self) -> Usage:
        """What was used so far; to be asked before the tree is ended."""
        self._sample()
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.wait([self._sampling])
        cpu = round(sum(self._cpu_s.values()), 2)
        return Usage(cpu, round(self._peak_bytes / MIB, 1))

    async def _run(self) -> None:
        while True:
            self._sample()
            await asyncio.sleep(SAMPLE_S)

    def _sample(self) -> None:
        pids = tree(self._root)
        self._peak_bytes = max(self._peak_bytes, sum(map(rss_bytes, pids)))
        for pid in pids:
            used = cpu_s(pid)
            if used is not None:
                self._cpu_s[pid] = used


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
