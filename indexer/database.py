"""How this package reaches Postgres: what counts as a connection, and what counts as being away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from indexer.errors import DatabaseUnavailable

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

# A server that is down, starting, stopping or full; a connection that broke; a deadlock or a
# serialization failure. Faults of ours (bad SQL, a refused row) are not among them.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Give every failure of Postgres that passes by itself one type: :class:`DatabaseUnavailable`."""
    try:
        yield
    except AWAY as error:
        reason = str(error) or type(error).__name__
        raise DatabaseUnavailable(reason=reason) from error
