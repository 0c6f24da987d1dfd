"""Who may write. A lease is a row with an epoch; a fence is a claim to a role at one epoch.

Every fenced transaction opens with ``ops.fence``, which compares the epoch and holds the lease's row FOR
KEY SHARE until the commit. A takeover raises the epoch, a key of that row, so it waits for the fenced
transactions under way, and those that come later fail; so do those that begin after the lease has run
out. A renewal touches no key and waits for nobody.

A holder whose process has died is not waited for: its session kept an advisory lock (``indexer.presence``)
that Postgres gave up with the session. That it is free is only a reason to take over; what keeps a holder that
lives after all from writing is the epoch, as ever.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import asyncpg

from indexer.database import Connection, reachable
from indexer.errors import LeaseLost

FENCE_LOST_SQLSTATE = "LB001"

ACQUIRE = """
    INSERT INTO ops.lease AS held (role, epoch, holder, expires_at, presence)
    VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3), $4)
    ON CONFLICT (role) DO UPDATE
    SET epoch = held.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at,
        presence = excluded.presence
    WHERE held.expires_at <= clock_timestamp()
       OR held.presence IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND (l.classid::bigint << 32 | l.objid::bigint) = held.presence)
    RETURNING epoch"""
RENEW = """
    UPDATE ops.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
    WHERE role = $1 AND epoch = $2 RETURNING true"""
SEIZE = """
    INSERT INTO ops.lease AS held (role, epoch, holder, expires_at)
    VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (role) DO UPDATE
    SET epoch = held.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at, presence = NULL
    RETURNING epoch"""
# Only of a lease that has run out, so nothing can be lost that could still be committed under it.
EVICT = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(blocker))
    FROM ops.lease l CROSS JOIN unnest(pg_blocking_pids($2)) AS blocker
    WHERE l.role = $1 AND l.expires_at <= clock_timestamp()"""
RELEASE = """
    UPDATE ops.lease SET expires_at = clock_timestamp()
    WHERE role = $1 AND epoch = $2 AND expires_at > clock_timestamp()"""


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to act for ``role`` as long as its lease stays at ``epoch``."""

    role: str
    epoch: int


async def acquire(
    connection: Connection, role: str, holder: str, ttl_s: float, presence: int | None = None
) -> Fence | None:
    """Take the lease if it is free, has expired, or its holder is gone; None while somebody holds it.

    ``holder`` names this process for people. ``presence`` is the advisory lock by which others can tell that it
    lives; without one they wait for the expiry.
    """
    async with reachable():
        epoch = await connection.fetchval(ACQUIRE, role, holder, float(ttl_s), presence)
    return None if epoch is None else Fence(role, epoch)


async def seize(connection: Connection, role: str, holder: str, ttl_s: float) -> Fence:
    """Take the lease whoever holds it: what it does meanwhile is refused, and it takes it up again afterwards.

    For a person's command that must act alone. Waits for the holder's transaction under way.
    """
    async with reachable():
        return Fence(role, await connection.fetchval(SEIZE, role, holder, float(ttl_s)))


async def evict(connection: Connection, role: str, waiting_pid: int) -> int:
    """End the sessions for which ``waiting_pid``, a session of ours, waits to take a lease that has run out; how many.

    A holder that stands still between two messages of one query keeps its transaction open for as long as it does,
    for Postgres does not count that as idle.
    """
    async with reachable():
        ended: int = await connection.fetchval(EVICT, role, waiting_pid)
    return ended


async def renew(connection: Connection, fence: Fence, ttl_s: float) -> bool:
    """Put the expiry off; False once another process has taken the lease."""
    async with reachable():
        return bool(await connection.fetchval(RENEW, fence.role, fence.epoch, float(ttl_s)))


async def release(connection: Connection, fence: Fence) -> None:
    """Let the next process take the lease at once; nothing happens if it has been taken already."""
    async with reachable():
        await connection.execute(RELEASE, fence.role, fence.epoch)


async def enter(connection: Connection, fence: Fence) -> None:
    """Open a fenced transaction; call it first in one. Raises :class:`LeaseLost`."""
    if not connection.is_in_transaction():
        raise RuntimeError("a fence holds until the end of a transaction: begin one first")
    try:
        await connection.execute("SELECT ops.fence($1, $2)", fence.role, fence.epoch)
    except asyncpg.PostgresError as error:
        if error.sqlstate == FENCE_LOST_SQLSTATE:
            raise LeaseLost(role=fence.role, epoch=fence.epoch) from error
        raise


@asynccontextmanager
async def fenced(pool: asyncpg.Pool, fence: Fence) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that commits only if ``fence`` still holds.

    Raises :class:`LeaseLost`, or :class:`DatabaseUnavailable` when Postgres is away; whether a commit
    whose connection broke took place is then unknown, so the caller reads again before it repeats.
    """
    async with reachable(), pool.acquire() as connection, connection.transaction():
        await enter(connection, fence)
        # The pool's proxy has every method of a connection, which its type does not say.
        yield cast(asyncpg.Connection, connection)
