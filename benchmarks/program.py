"""The program that is measured: one process on one database and one chain."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.chain import Chain
from benchmarks.errors import NotReachedError, ProgramEndedError
from benchmarks.meter import Meter, Usage
from daemon.embedded.account import new_temporary_path
from daemon.embedded.guard import Command, Guard
from daemon.embedded.log_tail import log_tail

PEER = Path(__file__).with_name("peer")
GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the program is to run: over WebSocket or not, and so on. URLs may hold passwords."""

    websocket: bool = False
    verify: str = "none"
    requests_per_s: float | None = None
    rpc_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)


class Program:
    """Started and stopped any number of times. An async context manager that starts it once.

    It is told where the chain and the database are by its environment, migrates the database,
    follows the Transfers of one contract, and runs until SIGTERM.
    """

    def __init__(self, path: Path, chain: Chain, dsn: str, options: Options | None = None) -> None:
        self.started_at = 0.0
        self._path = path
        self._environment = environment(chain, dsn, options or Options())
        self._folder = new_temporary_path(None)
        self._guard: Guard | None = None
        self._meter: Meter | None = None

    async def start(self) -> None:
        """Start it; `started_at` is the time.perf_counter() of that, its interpreter not yet up."""
        if self._guard is None:
            self._guard = await Guard.open(self._folder)
        command = Command(
            argv=[str(self._path)],
            env=self._environment,
            log_path=self._folder / "program.log",
            grace_s=GRACE_S,
        )
        self.started_at = time.perf_counter()
        self._meter = Meter(await self._guard.start(command)).start()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> Usage:
        """End it by a signal and answer what it used until then."""
        if self._guard is None or self._meter is None:
            raise RuntimeError("the program was not started")
        usage = await self._meter.stop()
        if number != signal.SIGTERM:
            self._guard.signal(number)
            await self._guard.wait()
        else:
            await self._guard.stop()
        return usage

    @property
    def pid(self) -> int:
        if self._guard is None or self._guard.pid is None:
            raise RuntimeError("the program was not started")
        return self._guard.pid

    def log(self) -> str:
        """The end of what it wrote."""
        return log_tail(self._folder / "program.log")

    def require_alive(self) -> None:
        """Raise ProgramEndedError if it has ended by itself."""
        if self._guard is not None and self._guard.returncode is not None:
            raise ProgramEndedError(status=self._guard.returncode, log=self.log())

    async def until(
        self, what: str, reached: Callable[[], Awaitable[bool]], *, timeout_s: float, poll_s: float
    ) -> float:
        """Seconds since its start when `reached` first answered true.

        It is asked each `poll_s`, or where asking is dear, such as counting many rows, with
        pauses four times as long as one question takes: the asker must not use up the machine.
        """
        deadline = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline:
            asked_at = time.perf_counter()
            if await reached():
                return time.perf_counter() - self.started_at
            self.require_alive()
            await asyncio.sleep(max(poll_s, 4 * (time.perf_counter() - asked_at)))
        raise NotReachedError(what=what, timeout_s=timeout_s, log=self.log())

    async def close(self) -> None:
        """Stop it if it runs, and remove its log."""
        if self._meter is not None:
            await self._meter.stop()
        if self._guard is not None:
            await self._guard.close()
            self._guard = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def environment(chain: Chain, dsn: str, options: Options) -> dict[str, str]:
    """Ours without any configuration of Landbridge, and what the program is told."""
    told = {
        "PEERS_RPC": options.rpc_url or chain.url,
        "PEERS_ADDRESS": chain.address,
        "PEERS_CHAIN_ID": str(chain.chain_id),
        "DATABASE_URL": dsn,
        "LANDBRIDGE_PEER_VERIFY": options.verify,
    }
    if options.websocket:
        told["PEERS_WS"] = chain.ws_url
    if options.requests_per_s is not None:
        told["LANDBRIDGE_PEER_RATE"] = str(options.requests_per_s)
    if options.redis_url is not None:
        told["LANDBRIDGE_PEER_REDIS"] = options.redis_url
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LANDBRIDGE_", "PEERS_", "DATABASE_URL"))
    }
    return inherited | told
