"""The parent's side of a guardian: one temporary folder and one child process at a time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, cast

from daemon.embedded.errors import CommandNotStartedError, GuardianLostError

GUARDIAN_PATH = Path(__file__).with_name("guardian.py")
READY_TIMEOUT_S = 30.0
# After the grace period of the child: for what it left behind, and for removing the folder.
CLOSE_MARGIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `env` replaces the environment (None: inherit it) and may hold secrets.

    `log_path` receives standard output and standard error, appended; None discards them.
    `user` is the (uid, gid) to run as, for root only. `stop_signal` asks the command to end;
    after `grace_s` seconds its whole process group is killed.
    """

    argv: Sequence[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: Path = Path("/")
    log_path: Path | None = None
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0

    @property
    def program(self) -> str:
        return Path(self.argv[0]).name

    def as_order(self) -> dict[str, object]:
        return {
            "order": "start",
            "argv": list(self.argv),
            "env": None if self.env is None else dict(self.env),
            "cwd": str(self.cwd),
            "log_path": None if self.log_path is None else str(self.log_path),
            "user": self.user,
            "stop_signal": int(self.stop_signal),
            "grace_s": self.grace_s,
        }


class Guard:
    """A running guardian. Commands run one after the other; `close` stops the last one.

    If this process dies, by SIGKILL too, the guardian stops the command and removes the folder.
    asyncio's own subprocess is not used: when it is forgotten it kills its child with SIGKILL, and
    a killed guardian guards nothing. A forgotten Popen just closes the pipe.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Use `open`."""
        self.pid: int | None = None
        self.returncode: int | None = None
        self._process = process
        self._orders = cast(IO[bytes], process.stdin)  # a pipe, as _spawn made it
        self._command: Command | None = None
        self._lost = False
        self._reports: asyncio.ReadTransport | None = None
        self._ended = asyncio.Event()
        self._ended.set()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._started: asyncio.Future[int] | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, folder: Path | None = None) -> Guard:
        """Start a guardian; it creates `folder`, which must not exist, with mode 0700."""
        guard = cls(_spawn(folder))
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                reports = await guard._connect()
                guard._reading = asyncio.create_task(guard._read(reports))
                await guard._ready
        except BaseException:
            guard._orders.close()
            raise
        return guard

    async def start(self, command: Command) -> int:
        """Start a command and answer its pid. Raises CommandNotStartedError, GuardianLostError."""
        if not self._ended.is_set():
            reason = f"{self._program} is still running"
            raise CommandNotStartedError(program=command.program, reason=reason)
        self._command = command
        self._started = asyncio.get_running_loop().create_future()
        self._ended.clear()
        self.pid = self.returncode = None
        self._send(command.as_order())
        async with asyncio.timeout(READY_TIMEOUT_S):
            self.pid = await self._started
        return self.pid

    def signal(self, number: signal.Signals) -> None:
        """Signal the command itself, not its children; nothing happens if it has ended."""
        self._send({"order": "signal", "signal": int(number)})

    async def wait(self) -> int:
        """Wait for the command's end; its exit status, or minus the signal that ended it."""
        await self._ended.wait()
        if self.returncode is None:
            raise GuardianLostError(program=self._program)
        return self.returncode

    async def stop(self) -> int:
        """Ask the command to end, kill it after its grace period, and answer its status."""
        if not self._ended.is_set():
            self._send({"order": "stop"})
        return await self.wait()

    async def close(self) -> None:
        """Stop the command, remove the folder and end the guardian. May be called twice."""
        self._orders.close()
        grace_s = 0.0 if self._command is None else self._command.grace_s
        if self._reading is not None:
            await asyncio.wait_for(asyncio.shield(self._reading), grace_s + CLOSE_MARGIN_S)
        await asyncio.to_thread(self._process.wait, CLOSE_MARGIN_S)

    @property
    def _program(self) -> str:
        return "a command" if self._command is None else self._command.program

    def _send(self, order: dict[str, object]) -> None:
        """Orders are far smaller than the pipe's 64 KiB, so that writing one does not block."""
        if self._lost or self._orders.closed:
            raise GuardianLostError(program=self._program)
        try:
            os.write(self._orders.fileno(), json.dumps(order).encode() + b"\n")
        except BrokenPipeError as error:
            raise GuardianLostError(program=self._program) from error

    async def _connect(self) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        self._reports, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        return reader

    async def _read(self, reports: asyncio.StreamReader) -> None:
        while line := await reports.readline():
            self._take(json.loads(line))
        self._lost = True
        if self._reports is not None:
            # At the end of the stream asyncio closes it by itself, uvloop does not.
            self._reports.close()
        self._ended.set()
        for waiting in (self._ready, self._started):
            if waiting is not None and not waiting.done():
                waiting.set_exception(GuardianLostError(program=self._program))

    def _take(self, report: dict[str, Any]) -> None:
        kind = report["report"]
        if kind == "ended":
            self.returncode = report["status"]
            self._ended.set()
        elif kind == "ready":
            self._ready.set_result(None)
        elif self._started is not None and not self._started.done():
            if kind == "started":
                self._started.set_result(report["pid"])
            else:
                self._ended.set()
                self._started.set_exception(
                    CommandNotStartedError(program=self._program, reason=report["reason"])
                )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _spawn(folder: Path | None) -> subprocess.Popen[bytes]:
    arguments = [] if folder is None else [str(folder)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(GUARDIAN_PATH), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        cwd="/",
        start_new_session=True,
    )
