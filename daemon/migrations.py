"""Brings the database's schema up to the code's, once, however many daemons start at the same time.

A migration is a file `NNNN_verb_object.sql`: plain SQL that goes forward only, numbered from 0001
without a gap, opened by a `--` comment that says why it exists. It runs in one transaction together
with the row in ops.schema_version that records it. A file whose opening comment has the line

    -- landbridge: no transaction

runs outside one (CREATE INDEX CONCURRENTLY needs that). It holds a single statement, written so
that it may run again, because a crash may come between it and its record.

A file that was applied anywhere is never edited; its checksum is compared. A database that has
migrations this code does not know is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from indexer.database import Connection

MIGRATIONS_DIR = Path(__file__).resolve().parents[1] / "migrations"
FILE_NAME = re.compile(r"(?P<version>[0-9]{4})_(?P<name>[a-z]+(?:_[a-z0-9]+)+)\.sql")
NO_TRANSACTION = re.compile(r"^--\s*landbridge:\s*no transaction\s*$", re.MULTILINE)
OPENING_COMMENT = re.compile(r"\A(?:--[^\n]*\n)+")
MAX_FILE_BYTES = 1_000_000

# Any constant will do; it is looked for in pg_locks to say who holds it.
LOCK_KEY = 0x4C42_4D47
LOCK_TIMEOUT_S = 120.0
LOCK_POLL_S = 0.1
CONNECT_TIMEOUT_S = 10.0
APPLICATION_NAME = "landbridge migrate"

CREATE_JOURNAL = """
CREATE SCHEMA IF NOT EXISTS ops;
CREATE TABLE IF NOT EXISTS ops.schema_version (
    version     integer PRIMARY KEY CHECK (version > 0),
    name        text NOT NULL CHECK (name <> ''),
    checksum    bytea NOT NULL CHECK (octet_length(checksum) = 32),
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
HAS_JOURNAL = "SELECT to_regclass('ops.schema_version') IS NOT NULL"
READ_JOURNAL = "SELECT version, name, checksum FROM ops.schema_version ORDER BY version"
RECORD = "INSERT INTO ops.schema_version (version, name, checksum) VALUES ($1, $2, $3)"
# What a file may have left behind: settings and a role taken on.
RESET_SESSION = "RESET ALL; RESET ROLE"
TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
LOCK_HOLDER = """
SELECT format('process %s of role %s (%s) at %s, connected since %s, %s', a.pid, a.usename,
              coalesce(nullif(a.application_name, ''), 'unnamed'),
              coalesce(host(a.client_addr), 'the server itself'),
              to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'), a.state)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = $1
"""


class MigrationError(Exception):
    """The database's schema could not be brought up to date."""

    def __init__(self, **facts: object) -> None:
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**facts))


class BadMigrationFileError(MigrationError):
    """{name} is not a migration: {fault}."""


class EditedMigrationError(MigrationError):
    """{name} was changed after it was applied to this database. Restore the file as it was then,
    and put the change into a new migration."""


class DatabaseAheadError(MigrationError):
    """The database has migration {name}, which this version of the program does not have. Run the
    version that applied it, or a later one."""


class DatabaseBehindError(MigrationError):
    """The database lacks {count} migration(s), the first is {name}. Run `landbridge migrate`."""


class MigrationFailedError(MigrationError):
    """{name} failed{place}, and nothing of it was kept: {reason}"""


class UnboundMigrationFailedError(MigrationFailedError):
    """{name} failed{place}, outside a transaction, so that a part of it may have been kept:
    {reason}. It will run again at the next attempt."""


class TransactionEndedError(MigrationError):
    """{name} ends the transaction that it runs in, and was applied but not recorded. Remove its
    COMMIT or ROLLBACK, and restore the database from before."""


class LockTimeoutError(MigrationError):
    """Another migration of this database has not ended within {timeout_s:g} s. Its lock is held by
    {holder}. Wait for it, or end it, and try again."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the SHA-256 of its text with Unix line ends."""

    version: int
    name: str
    sql: str = field(repr=False)
    checksum: bytes = field(repr=False)
    in_transaction: bool


def load(directory: Path = MIGRATIONS_DIR) -> tuple[Migration, ...]:
    """The migrations of a folder in order. Raises BadMigrationFileError."""
    migrations = tuple(_read(path) for path in sorted(directory.glob("*.sql")))
    if not migrations:
        raise BadMigrationFileError(name=directory, fault="the folder has no *.sql file in it")
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            fault = f"its number should be {expected:04}; numbers have no gap and no double"
            raise BadMigrationFileError(name=migration.name, fault=fault)
    return migrations


async def migrate(
    dsn: str,
    directory: Path = MIGRATIONS_DIR,
    *,
    on_applied: Callable[[Migration], None] | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> list[str]:
    """Apply what is missing, in order, and answer the names. `on_applied` hears of each at once.

    Starters that come together wait for one another; those that come late find nothing to do.
    Raises a MigrationError, or what asyncpg raises if the database cannot be reached.
    """
    migrations = load(directory)
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": APPLICATION_NAME}
    )
    try:
        await _lock(connection, lock_timeout_s)
        await connection.execute(CREATE_JOURNAL)
        applied = []
        for migration in await pending(connection, migrations):
            await _apply(connection, migration)
            applied.append(migration.name)
            if on_applied is not None:
                on_applied(migration)
        return applied
    finally:
        # The end of the session gives the lock back.
        await connection.close(timeout=CONNECT_TIMEOUT_S)


async def pending(connection: Connection, migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """The migrations that the database lacks. Raises EditedMigrationError, DatabaseAheadError."""
    known = {migration.version: migration for migration in migrations}
    applied = set()
    if await connection.fetchval(HAS_JOURNAL):
        for version, name, checksum in await connection.fetch(READ_JOURNAL):
            if version not in known:
                raise DatabaseAheadError(name=name)
            if known[version].checksum != checksum:
                raise EditedMigrationError(name=known[version].name)
            applied.add(version)
    return tuple(migration for migration in migrations if migration.version not in applied)


async def check(connection: Connection, migrations: Sequence[Migration]) -> None:
    """Raise a MigrationError unless the database is exactly as the code expects it."""
    missing = await pending(connection, migrations)
    if missing:
        raise DatabaseBehindError(count=len(missing), name=missing[0].name)


def _read(path: Path) -> Migration:
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise BadMigrationFileError(name=path.name, fault="its name is not NNNN_verb_object.sql")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadMigrationFileError(name=path.name, fault=f"it has over {MAX_FILE_BYTES} bytes")
    try:
        # Read as text, so that a checkout with other line ends has the same checksum.
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadMigrationFileError(name=path.name, fault="it is not UTF-8") from error
    comment = OPENING_COMMENT.match(text)
    if comment is None or not re.search(r"\w", NO_TRANSACTION.sub("", comment[0])):
        fault = "it does not open with a comment (--) that says why"
        raise BadMigrationFileError(name=path.name, fault=fault)
    return Migration(
        version=int(match["version"]),
        name=path.stem,
        sql=text,
        checksum=hashlib.sha256(text.encode()).digest(),
        in_transaction=NO_TRANSACTION.search(comment[0]) is None,
    )


async def _lock(connection: Connection, timeout_s: float) -> None:
    """Take the session's advisory lock by trying again and again.

    Waiting inside pg_advisory_lock() would hold a snapshot, for which the holder's CREATE INDEX
    CONCURRENTLY waits in turn.
    """
    deadline = time.monotonic() + timeout_s
    while not await connection.fetchval(TRY_LOCK, LOCK_KEY):
        if time.monotonic() >= deadline:
            holder = await connection.fetchval(LOCK_HOLDER, LOCK_KEY)
            raise LockTimeoutError(timeout_s=timeout_s, holder=holder or "one that just ended")
        await asyncio.sleep(LOCK_POLL_S)


async def _apply(connection: Connection, migration: Migration) -> None:
    if not migration.in_transaction:
        await _execute(connection, migration, UnboundMigrationFailedError)
        await _record(connection, migration)
        return
    async with connection.transaction():
        await _execute(connection, migration, MigrationFailedError)
        if not connection.is_in_transaction():
            raise TransactionEndedError(name=migration.name)
        await _record(connection, migration)


async def _record(connection: Connection, migration: Migration) -> None:
    await connection.execute(RESET_SESSION)
    await connection.execute(RECORD, migration.version, migration.name, migration.checksum)


async def _execute(
    connection: Connection,
    migration: Migration,
    failure: type[MigrationFailedError],
) -> None:
    try:
        await connection.execute(migration.sql)
    except asyncpg.PostgresError as error:
        raise failure(
            name=migration.name, place=_place(migration.sql, error), reason=error
        ) from error


def _place(sql: str, error: asyncpg.PostgresError) -> str:
    """Postgres counts characters from 1; people count lines."""
    position = getattr(error, "position", None)
    if position is None:
        return ""
    return f" at line {sql.count(chr(10), 0, int(position) - 1) + 1}"
