"""Plays many seeds at once: a few processes, each with a database of its own on one server."""

from __future__ import annotations

import multiprocessing
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from typing import Final

import asyncpg

from daemon import migrations
from daemon.embedded.postgres import EmbeddedPostgres
from tests.simulation.play import Theatre
from tests.simulation.scenario import Scenario

MOST_PLAYERS: Final = 4
DAEMON_ROLE: Final = "landbridge_daemon"
TEMPLATE: Final = "simulation"
# Nothing of it is kept, and what was deleted is cleared away in between: see tests/simulation/stage.py.
SETTINGS: Final = {"synchronous_commit": "off", "autovacuum": "off", "scram_iterations": "1"}

_theatre: Theatre | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A migrated database that is nobody else's: URLs as its owner, and as the daemon's role."""

    owner_dsn: str = field(repr=False)
    daemon_dsn: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """A seed that failed, in words."""

    seed: int
    text: str


class Company:
    """As many processes as there are places."""

    def __init__(self, places: Sequence[Place]) -> None:
        context = multiprocessing.get_context("spawn")
        free: Queue[Place] = context.Queue()
        for place in places:
            free.put(place)
        self._executor = ProcessPoolExecutor(
            len(places), mp_context=context, initializer=_open, initargs=(free,)
        )

    def play(self, seeds: Iterable[int], without: Sequence[int] = ()) -> Future[list[Report]]:
        """Those of the seeds that fail; the actions ``without`` are left out."""
        return self._executor.submit(_play, tuple(seeds), tuple(without))

    def play_all(self, seeds: range, at_once: int) -> Iterator[tuple[int, list[Report]]]:
        """Piece by piece, as they end: how many seeds a piece had, and those that failed."""
        pieces = [seeds[start : start + at_once] for start in range(0, len(seeds), at_once)]
        futures = {self.play(piece): len(piece) for piece in pieces}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def close(self) -> None:
        """What has not begun is not played any more."""
        self._executor.shutdown(cancel_futures=True)


@asynccontextmanager
async def company() -> AsyncIterator[Company]:
    """With a server of its own, as long as it lasts."""
    players = max(1, min(MOST_PLAYERS, os.cpu_count() or 1))
    async with EmbeddedPostgres(fsync=False, settings=SETTINGS) as server:
        found = Company(await _places(server, players))
        try:
            yield found
        finally:
            found.close()


async def _places(server: EmbeddedPostgres, count: int) -> list[Place]:
    owner = await asyncpg.connect(server.dsn())
    try:
        await owner.execute(f"CREATE DATABASE {TEMPLATE}")
        await migrations.migrate(server.dsn(TEMPLATE))
        password = secrets.token_urlsafe(24)
        await owner.execute(f"ALTER ROLE {DAEMON_ROLE} LOGIN PASSWORD '{password}'")
        names = [f"{TEMPLATE}_{number}" for number in range(count)]
        for name in names:
            await owner.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    finally:
        await owner.close()
    return [Place(server.dsn(name), server.dsn(name, DAEMON_ROLE, password)) for name in names]


def _open(free: Queue[Place]) -> None:
    global _theatre
    place = free.get()
    _theatre = Theatre(place.owner_dsn, place.daemon_dsn)


def _play(seeds: Sequence[int], without: Sequence[int]) -> list[Report]:
    assert _theatre is not None
    reports = []
    for seed in seeds:
        failure = _theatre.play(Scenario.of(seed).without(without))
        if failure is not None:
            short = failure if without else _theatre.shorten(failure)
            text = failure.text if short is failure else f"{failure.text}\nor shorter\n{short.text}"
            reports.append(Report(seed, text))
    return reports
