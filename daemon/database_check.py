"""Whether the database can be used, and if not, what to mend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

import indexer.errors
from daemon import migrations
from daemon.errors import StartError
from daemon.sections import Database
from daemon.settings import Settings
from daemon.wiring import FollowedChain
from indexer import registry
from indexer.database import AWAY
from indexer.errors import DatabaseUnavailable


@contextmanager
def speaking_of_database(settings: Settings) -> Iterator[Database]:
    """The database's settings; every failure to reach it becomes a :class:`StartError` with the remedy."""
    database = settings.database
    if database is None:
        raise ValueError("the settings have been given no database yet")
    url = database.url.get_secret_value()
    try:
        yield database
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        raise StartError(
            "database.url: Postgres refuses this user or password; mend the URL"
        ) from None
    except asyncpg.InvalidCatalogNameError:
        raise StartError(
            "database.url: there is no such database; create it, then run `landbridge migrate`"
        ) from None
    except asyncpg.InsufficientPrivilegeError:
        raise StartError(
            "database.url: this role may not read the schema; use the role landbridge_daemon"
        ) from None
    except migrations.MigrationError as error:
        raise StartError(f"database.url: {error}") from None
    except ValueError:
        raise StartError(
            "database.url: not a Postgres URL; write postgresql://user:password@host:port/database"
        ) from None
    except indexer.errors.Fatal as error:
        raise StartError(f"database.url: {error}") from None
    except (*AWAY, DatabaseUnavailable) as error:
        raise StartError(
            f"database.url: Postgres at {_host(url)} does not answer "
            f"({type(error).__name__}); start it, or mend the URL",
            retryable=True,
        ) from None


async def check_schema(settings: Settings) -> str:
    """Whether the database answers and has this program's schema; raises :class:`StartError`."""
    return await check_database(settings, ())


async def check_database(settings: Settings, chains: Sequence[FollowedChain]) -> str:
    """The same, and whether it follows just the contracts of these chains."""
    with speaking_of_database(settings) as database:
        connection = await asyncpg.connect(database.url.get_secret_value(), timeout=10)
        try:
            await migrations.check(connection, migrations.load())
            for chain in chains:
                await registry.check(connection, chain.settings.id, chain.contracts)
            name: str = await connection.fetchval("SELECT current_database()")
        finally:
            await connection.close(timeout=10)
    return f"database {name} is at this program's schema"


def _host(url: str) -> str:
    """Host and port only: the rest of a URL may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"
