"""A program of ours run as a child that cannot outlive us."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from daemon.embedded.guard import Command, Guard


class GuardedProcess:
    """A running command with a guardian of its own."""

    def __init__(self, guard: Guard, pid: int) -> None:
        """Use `start`."""
        self.pid = pid
        self._guard = guard

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log_path: Path | None = None,
        cwd: Path = Path("/"),
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: float = 10.0,
    ) -> GuardedProcess:
        """Start a command; the arguments are those of `Command`.

        Raises CommandNotStartedError if the program cannot be executed.
        """
        guard = await Guard.open()
        command = Command(
            argv, env=env, log_path=log_path, cwd=cwd, stop_signal=stop_signal, grace_s=grace_s
        )
        try:
            return cls(guard, await guard.start(command))
        except BaseException:
            await guard.close()
            raise

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal that ended it, or None while it runs."""
        return self._guard.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the command itself; nothing happens if it has ended."""
        self._guard.signal(number)

    def kill(self) -> None:
        """SIGKILL the command itself, as a crash would end it; `wait` for the end."""
        self._guard.signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until it ends by itself; its status. Call `stop` afterwards all the same."""
        return await self._guard.wait()

    async def stop(self) -> int:
        """Ask it to end, kill its group after the grace period, end the guardian; its status."""
        if self._guard.returncode is None:
            await self._guard.stop()
        await self._guard.close()
        return await self._guard.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
