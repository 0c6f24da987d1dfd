"""What all commands have in common: how they end, and how they reach the database."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Final, ParamSpec

import asyncpg
import click

import indexer.errors
from bridge.beneficiaries import BeneficiaryConflictError
from bridge.cancellations import CancellationRefusedError
from bridge.errors import Fatal
from daemon.database_check import check_schema
from daemon.embedded.errors import EmbeddedError
from daemon.errors import SettingsError, StartError
from daemon.local import with_database
from daemon.migrations import MigrationError
from daemon.settings import Settings
from indexer.database import Connection

EXIT_FAULT: Final = 1
EXIT_USAGE: Final = 2

P = ParamSpec("P")


def spoken_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Expected errors become one clear line each and exit status 1, never a traceback."""

    @wraps(command)
    def speak(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SettingsError as error:
            for fault in error.faults:
                click.echo(f"landbridge: {fault}", err=True)
            sys.exit(EXIT_USAGE)
        except (
            StartError,
            Fatal,
            MigrationError,
            EmbeddedError,
            indexer.errors.IndexerError,
            BeneficiaryConflictError,
            CancellationRefusedError,
        ) as error:
            click.echo(f"landbridge: {error}", err=True)
            sys.exit(EXIT_FAULT)
        except (asyncpg.PostgresError, OSError) as error:
            click.echo(f"landbridge: Postgres: {error}; see `landbridge check`", err=True)
            sys.exit(EXIT_FAULT)

    return speak


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """A connection as the daemon's role, to a database of this program's schema."""
    async with with_database(settings) as ready:
        await check_schema(ready)
        if ready.database is None:
            raise ValueError("with_database gives a database")
        connection = await asyncpg.connect(ready.database.url.get_secret_value(), timeout=10)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def reading_pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """A few connections, as :func:`connected`."""
    async with with_database(settings) as ready:
        async with connected(ready):
            pass
        if ready.database is None:
            raise ValueError("with_database gives a database")
        async with asyncpg.create_pool(
            ready.database.url.get_secret_value(), min_size=1, max_size=4, timeout=10
        ) as pool:
            yield pool


def owner_url(settings: Settings) -> str:
    """The database as its owner; raises :class:`StartError` if the settings do not name it."""
    if settings.database is None or settings.database.owner_url is None:
        raise StartError(
            "database.owner_url: is missing; this command needs a role that may create tables"
        )
    return settings.database.owner_url.get_secret_value()
