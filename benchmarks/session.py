"""What the measurements of one run share: the parts they run on, and what one needs of another."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from benchmarks.chain import Shape
from benchmarks.database import connected, fresh_database, new_server
from benchmarks.peers import Harness, Measured
from benchmarks.program import PEER
from daemon.embedded.anvil import find_anvil
from daemon.embedded.postgres import EmbeddedPostgres

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. `rounds` is of the small backfills, whose median counts."""

    backfill: Shape
    large: Shape
    rounds: int
    head_blocks: int
    stored_rows: int
    live_reorgs: int
    sparse_blocks: int
    operations: int
    naive_mints: int
    deposits: int
    in_flight: int


FULL = Sizes(
    backfill=Shape(blocks=2_000, calls=4, events_per_call=25),
    large=Shape(blocks=20_000, calls=4, events_per_call=25),
    rounds=3,
    head_blocks=120,
    stored_rows=10_000_000,
    live_reorgs=20,
    sparse_blocks=1_200_000,
    operations=20_000,
    naive_mints=300,
    deposits=1_000,
    in_flight=100_000,
)
# To try it out in a few minutes; nothing is to be concluded from what comes out.
SMALL = Sizes(
    backfill=Shape(blocks=200, calls=4, events_per_call=25),
    large=Shape(blocks=2_000, calls=4, events_per_call=25),
    rounds=1,
    head_blocks=20,
    stored_rows=100_000,
    live_reorgs=4,
    sparse_blocks=100_000,
    operations=1_000,
    naive_mints=30,
    deposits=100,
    in_flight=2_000,
)


class Session:
    """An async context manager; parts are started when first asked for."""

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        sizes: Sizes,
        harness: Harness | None = None,
        program: Path = PEER,
    ) -> None:
        self.names = names
        self.sizes = sizes
        self.harness = harness
        self.program = program
        self._made: dict[str, asyncio.Task[Any]] = {}
        self._parts = AsyncExitStack()

    async def once(self, name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `make`, made at the first time that this name is asked for."""
        if name not in self._made:
            self._made[name] = asyncio.create_task(make())
        return cast(T, await self._made[name])

    async def postgres(self) -> EmbeddedPostgres:
        """One server for the whole run."""

        async def start() -> EmbeddedPostgres:
            return await self._parts.enter_async_context(new_server())

        return await self.once("postgres", start)

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[str]:
        """URL of a fresh database."""
        async with fresh_database(await self.postgres(), f"bench_{name}") as dsn:
            yield dsn

    async def versions(self, **more: str) -> dict[str, str]:
        """Of what took part."""

        async def ask() -> dict[str, str]:
            async with connected((await self.postgres()).dsn()) as connection:
                postgres = str(await connection.fetchval("SHOW server_version"))
            return {
                "landbridge": version("landbridge"),
                "postgres": postgres.split()[0],
                "anvil": anvil_version(),
                "python": platform.python_version(),
            }

        return await self.once("versions", ask) | more

    async def peers(
        self, test: str, *peers: str, flags: tuple[str, ...] = ()
    ) -> dict[str, Measured]:
        """What the harness measured, by peer; nothing without a harness."""
        if self.harness is None:
            return {}
        progress(f"peers: {test} {' '.join((*peers, *flags))}")
        return await self.harness.run(test, *peers, flags=flags)

    @property
    def small(self) -> bool:
        return self.sizes == SMALL

    def machine(self) -> dict[str, object]:
        """What stands in every line: numbers of different machines, or of a busy one, do not
        compare. `load_1m` is the mean number of processes that ran or waited in the last minute."""
        return {
            "cores": os.cpu_count(),
            "load_1m": round(os.getloadavg()[0], 2),
            "small": self.small,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()


def anvil_version() -> str:
    """As the program tells it: `1.7.1`."""
    told = subprocess.run(
        [str(find_anvil()), "--version"], capture_output=True, text=True, timeout=30.0
    )
    found = re.search(r"\d+\.\d+\.\d+", told.stdout)
    return found[0] if found else "unknown"


def progress(text: str) -> None:
    """For the person who waits; standard output is for results."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
