"""The database of whoever names none: an embedded PostgreSQL below ``./.landbridge``.

The first process that needs it starts it and holds a lock; the others find its port in a file, and the first of
them to get the lock starts it anew when that process ends. Passwords are in files that only their owner reads;
``reader-url`` is for whoever reads the views.
"""

import asyncio
import fcntl
import json
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import asyncpg
import structlog
from pydantic import SecretStr

from daemon import migrations
from daemon.embedded.errors import EmbeddedError, PostgresFailedError
from daemon.embedded.postgres import HOST, EmbeddedPostgres, is_free
from daemon.embedded.valkey import EmbeddedValkey
from daemon.errors import StartError
from daemon.sections import Database, Redis
from daemon.settings import Settings
from indexer.database import AWAY

log = structlog.get_logger()

FOLDER: Final = Path(".landbridge")
DATABASE: Final = "landbridge"
OWNER: Final = "postgres"
DAEMON_ROLE: Final = "landbridge_daemon"
READER_ROLE: Final = "landbridge_reader"
READER_URL: Final = "reader-url"
REDIS_URL: Final = "redis-url"
PASSWORD_BYTES: Final = 24
MAX_FILE_BYTES: Final = 4096
START_TIMEOUT_S: Final = 90.0
CONNECT_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.2
# A backfill writes much in little time; with less, Postgres would be busy with checkpoints.
SERVER_SETTINGS: Final = {"max_wal_size": "4GB", "wal_compression": "on"}
# What the server says while the one of a killed process is still shutting down.
STILL_THERE: Final = "postmaster.pid"


class LocalDatabase:
    """An async context manager; afterwards the server is stopped, if it was started here."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder.absolute()
        self._port: int | None = None
        self._lock_fd: int | None = None
        self._server: EmbeddedPostgres | None = None
        self._inheriting: asyncio.Task[None] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this process runs the server."""
        return self._server is not None

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def url(self) -> str:
        """As the daemon's role. Never log it: it holds the password."""
        return self._url(DAEMON_ROLE, self._password(DAEMON_ROLE), DATABASE)

    @property
    def owner_url(self) -> str:
        """As the owner, who may do everything. Never log it: it holds the password."""
        return self._url(OWNER, self._owner_password(), DATABASE)

    @property
    def redis_url(self) -> str:
        """Of the Valkey beside it. Never log it: it holds the password."""
        return self._secret(REDIS_URL)

    async def __aenter__(self) -> Self:
        self._make_folder()
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            while not await self._started_or_attached():
                if time.monotonic() > deadline:
                    raise StartError(
                        f"{self._folder}: another process holds it and its database does not answer; end that "
                        "process, or work in another folder"
                    )
                await asyncio.sleep(POLL_S)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the server if it is ours; then the next process may have it."""
        if self._inheriting is not None:
            self._inheriting.cancel()
            await asyncio.gather(self._inheriting, return_exceptions=True)
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        self._release_lock()

    async def _started_or_attached(self) -> bool:
        if self._take_lock():
            await self._start(self._stored_port())
            await self._prepare()
            self._store_state()
            return True
        self._port = self._stored_port()
        if self._port is None or not await self._answers():
            return False
        self._inheriting = asyncio.create_task(self._inherit(), name="inherit the database")
        return True

    async def _inherit(self) -> None:
        """Wait for the end of the process that runs the server, and run it on, at the same port."""
        while True:
            if self._take_lock():
                break
            await asyncio.sleep(POLL_S)
        log.info("embedded_database_taken_over")
        try:
            await self._start(self._port, same_port=True)
            self._store_state()
        except EmbeddedError as error:
            log.error("embedded_database_lost", reason=str(error))
            self._release_lock()

    async def _start(self, port: int | None, *, same_port: bool = False) -> None:
        """Start the server, once that of a process that was killed is gone; at another port only if it may be."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if same_port and port is not None and not is_free(port) and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
                continue
            server = EmbeddedPostgres(
                self._folder / "postgres", settings=SERVER_SETTINGS, port=port
            )
            try:
                await server.start()
            except PostgresFailedError as error:
                if STILL_THERE not in str(error) or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_S)
                continue
            self._server, self._port = server, server.port
            return

    async def _prepare(self) -> None:
        """Database, schema, and the daemon's way in."""
        owner = self._url(OWNER, self._owner_password(), "postgres")
        connection = await asyncpg.connect(owner, timeout=CONNECT_TIMEOUT_S)
        try:
            if not await connection.fetchval(
                "SELECT true FROM pg_database WHERE datname = $1", DATABASE
            ):
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
            await migrations.migrate(self.owner_url)
            for role in (DAEMON_ROLE, READER_ROLE):
                # token_urlsafe has no quote in it, and DDL takes no arguments.
                password = self._password(role)
                await connection.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'")
        finally:
            await connection.close()

    async def _answers(self) -> bool:
        """Whether the server at the port is ours: no other one takes our password."""
        try:
            connection = await asyncpg.connect(self.url, timeout=CONNECT_TIMEOUT_S)
        except (*AWAY, asyncpg.PostgresError, StartError):
            return False
        await connection.close(timeout=CONNECT_TIMEOUT_S)
        return True

    def _make_folder(self) -> None:
        # Opened for entering: run by root, the server is another account's.
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        ignored = self._folder / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n")

    def _take_lock(self) -> bool:
        fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._lock_fd = fd
        return True

    def _release_lock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _stored_port(self) -> int | None:
        """None if there is no state, or none that makes sense."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            port = json.loads(self._read("state.json"))["port"]
            return port if isinstance(port, int) and 0 < port < 65536 else None
        return None

    def _store_state(self) -> None:
        state = json.dumps({"port": self._port, "pid": os.getpid()})
        write_secret(self._folder / "state.json", state)
        # For people and their programs, who look at the views.
        write_secret(
            self._folder / READER_URL,
            self._url(READER_ROLE, self._password(READER_ROLE), DATABASE),
        )

    def _owner_password(self) -> str:
        return self._secret("postgres/password")

    def _password(self, role: str) -> str:
        """Of a role that is ours to give one; made when the server is first started."""
        name = f"{role}-password"
        if self.is_ours and not (self._folder / name).exists():
            write_secret(self._folder / name, secrets.token_urlsafe(PASSWORD_BYTES))
        return self._secret(name)

    def _secret(self, name: str) -> str:
        try:
            return self._read(name).strip()
        except FileNotFoundError:
            raise StartError(
                f"{self._folder / name}: is missing; put it back, or remove {self._folder} and index anew"
            ) from None

    def _read(self, name: str) -> str:
        with (self._folder / name).open() as file:
            return file.read(MAX_FILE_BYTES)

    def _url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@{HOST}:{self._port}/{database}"


@asynccontextmanager
async def with_database(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with a database: the one that they name, else the embedded one, for as long as this lasts."""
    if settings.database is not None:
        yield settings
        return
    async with LocalDatabase() as local:
        yield _with(settings, local)


@asynccontextmanager
async def with_parts(settings: Settings) -> AsyncIterator[Settings]:
    """The same, with an embedded Valkey for the stream of the feed beside an embedded database.

    Its URL is in ``redis-url`` in the folder. A process that only uses the database of another one has no stream,
    which that one writes.
    """
    if settings.database is not None:
        yield settings
        return
    async with LocalDatabase() as local:
        log.info("embedded_database", folder=str(local.folder), url_for_readers_is_in=READER_URL)
        found = _with(settings, local)
        is_wanted = settings.redis is None or (
            settings.redis.enabled and settings.redis.url is None
        )
        if not is_wanted or not local.is_ours:
            yield found
            return
        async with EmbeddedValkey(local.folder / "valkey") as valkey:
            write_secret(local.folder / REDIS_URL, valkey.url)
            yield _with_redis(found, valkey.url)


@asynccontextmanager
async def with_running_parts(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with a database and with the Redis into which the daemon beside this process writes.

    Raises :class:`StartError` if there is none: an embedded one is gone with the process that runs it.
    """
    if settings.redis is not None and not settings.redis.enabled:
        raise StartError("redis.enabled: is false, so there is no Redis to write to; remove it")
    is_named = settings.redis is not None and settings.redis.url is not None
    if settings.database is not None:
        if not is_named:
            raise StartError("redis.url: is missing; name the Redis that is to be written to")
        yield settings
        return
    async with LocalDatabase() as local:
        found = _with(settings, local)
        if is_named:
            yield found
            return
        if local.is_ours:
            raise StartError(
                f"{local.folder}: no daemon runs here, and its Valkey with it; start `landbridge run` first"
            )
        yield _with_redis(found, local.redis_url)


def _with_redis(settings: Settings, url: str) -> Settings:
    redis = (settings.redis or Redis()).model_copy(update={"url": SecretStr(url)})
    return settings.model_copy(update={"redis": redis})


def _with(settings: Settings, local: LocalDatabase) -> Settings:
    found = Database(url=SecretStr(local.url), owner_url=SecretStr(local.owner_url))
    return settings.model_copy(update={"database": found})


def write_secret(path: Path, text: str) -> None:
    """It appears whole, and only its owner reads it."""
    draft = path.with_name(path.name + ".unfinished")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text + "\n")
    draft.replace(path)
