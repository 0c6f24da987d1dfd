"""PostgreSQL as a child process, on TCP at 127.0.0.1, with a password."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote

import asyncpg

from daemon.embedded.account import new_temporary_path, unprivileged_account
from daemon.embedded.binaries import find_bin_dir, reachable_bin_dir
from daemon.embedded.cluster_files import SERVER_ENV, ClusterFiles
from daemon.embedded.errors import PostgresFailedError
from daemon.embedded.guard import Command, Guard
from daemon.embedded.log_tail import log_size, log_tail

HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections (32768 on Linux, 49152 elsewhere), so
# that no client takes the port while the server is restarting.
PORTS = range(15_000, 32_000)
READY_TIMEOUT_S = 60.0
POLL_S = 0.02
RETRY_PAUSE_S = 0.1
STOP_GRACE_S = 30.0
# postmaster.pid, as the server writes it: line 1 is its pid, line 8 its status.
PID_LINE, STATUS_LINE = 0, 7
# Reasons to die at start that pass by themselves: another server took the port, or the backends of
# a server that was killed have not all noticed yet.
PASSING_FAULTS = (
    "Address already in use",
    "could not create any TCP/IP sockets",
    "pre-existing shared memory block",
    "is still in use",
)

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # In files below the data folder: nothing stays in /dev/shm when the server is killed, and the
    # 64 MB that a container gives to /dev/shm are no limit.
    "dynamic_shared_memory_type": "mmap",
}
# Only for data that nobody will miss: it survives a killed server, but not a power cut.
WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One cluster and its server. Start and stop it, or use it as an async context manager.

    `folder` keeps the data for a later run; None means a temporary folder, removed at the end, also
    when this process is killed. `bin_dir` names other binaries than those that come installed.
    `settings` are server settings by name. As root, the server runs as `nobody`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        fsync: bool = True,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = 0
        self.pid = 0
        self._wanted_port = port
        self._folder = None if folder is None else folder.absolute()
        self._fsync = fsync
        self._wanted_bin_dir = bin_dir
        self._bin_dir = Path()
        self._settings = {
            **SETTINGS,
            **({} if fsync else WITHOUT_FSYNC),
            **(settings or {}),
        }
        self._password = ""
        self._guard: Guard | None = None
        self._files: ClusterFiles | None = None

    def dsn(
        self, database: str = "postgres", user: str = "postgres", password: str | None = None
    ) -> str:
        """URL of a database. Never log it: it holds the password (for `postgres`, our own)."""
        if password is None and user == "postgres":
            password = self._password
        login = quote(user, safe="")
        if password is not None:
            login += ":" + quote(password, safe="")
        return f"postgresql://{login}@{HOST}:{self.port}/{quote(database, safe='')}"

    @property
    def log_path(self) -> Path:
        return self._running_files.log

    async def start(self) -> Self:
        """Make the cluster if there is none, and answer when it accepts connections.

        Raises an EmbeddedError that says what is wrong, with the end of the server's log.
        """
        account = unprivileged_account()
        bin_dir = find_bin_dir(self._wanted_bin_dir)
        temporary = new_temporary_path(account)
        files = ClusterFiles(self._folder or temporary, account)
        self._files = files
        self._guard = await Guard.open(temporary)
        try:
            self._bin_dir = await asyncio.to_thread(reachable_bin_dir, bin_dir, account, temporary)
            if not files.is_made():
                await files.make(self._guard, self._bin_dir, fsync=self._fsync)
            files.check_reachable()
            self._password = files.password()
            port = self._wanted_port
            await self._launch(port if port is not None and is_free(port) else None)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Shut the server down (clients are disconnected) and remove what is temporary."""
        if self._guard is not None:
            await self._guard.close()
            self._guard = None

    async def crash(self) -> None:
        """Kill the server and all its processes with SIGKILL; `restart` recovers it."""
        self._running_guard.signal(signal.SIGKILL)
        await self._running_guard.wait()

    async def restart(self) -> None:
        """Shut the server down unless it is already, and start it on the same port and data."""
        await self._running_guard.stop()
        await self._launch(self.port)

    async def _launch(self, fixed_port: int | None = None) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            port = fixed_port or free_port()
            offset = log_size(self._running_files.log)
            self.pid = await self._running_guard.start(self._command(port))
            self.port = port
            if await self._becomes_ready(deadline):
                return
            status = await self._running_guard.stop()
            log = log_tail(self._running_files.log, since=offset)
            if time.monotonic() > deadline or not any(fault in log for fault in PASSING_FAULTS):
                raise PostgresFailedError(reason=f"it ended with status {status}", log=log)
            await asyncio.sleep(RETRY_PAUSE_S)

    def _command(self, port: int) -> Command:
        files = self._running_files
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        return Command(
            argv=[
                *(str(self._bin_dir / "postgres"), "-D", str(files.data), "-p", str(port)),
                *settings,
            ],
            env=SERVER_ENV,
            log_path=files.log,
            user=None if files.account is None else files.account.ids,
            # A fast shutdown: clients are disconnected, nothing is lost, no recovery is needed.
            stop_signal=signal.SIGINT,
            grace_s=STOP_GRACE_S,
        )

    async def _becomes_ready(self, deadline: float) -> bool:
        """True once our own server answers a query; False if it died or the time is up.

        The server's pid file is read first: another server could be the one answering at the port.
        """
        while time.monotonic() < deadline:
            if self._running_guard.returncode is not None:
                return False
            if self._says_ready() and await self._answers():
                return True
            await asyncio.sleep(POLL_S)
        return False

    def _says_ready(self) -> bool:
        try:
            lines = (self._running_files.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return (
            len(lines) > STATUS_LINE
            and lines[PID_LINE].strip() == str(self.pid)
            and lines[STATUS_LINE].strip() == "ready"
        )

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.dsn(), timeout=5.0)
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
            return False
        try:
            return bool(await connection.fetchval("SELECT true"))
        finally:
            await connection.close(timeout=5.0)

    @property
    def _running_guard(self) -> Guard:
        if self._guard is None:
            raise PostgresFailedError(reason="it has not been started", log="")
        return self._guard

    @property
    def _running_files(self) -> ClusterFiles:
        if self._files is None:
            raise PostgresFailedError(reason="it has not been started", log="")
        return self._files

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def free_port() -> int:
    """A port at 127.0.0.1 that nobody listened on just now; the caller is ready to try another."""
    for port in random.sample(PORTS, k=200):
        if is_free(port):
            return port
    raise PostgresFailedError(reason="no free port was found at 127.0.0.1", log="")


def is_free(port: int) -> bool:
    """Whether nobody listens at a port of 127.0.0.1 just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
