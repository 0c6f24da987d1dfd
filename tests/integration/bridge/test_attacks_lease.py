"""Attacks on the leases: what Postgres may say while a daemon takes or keeps its roles."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from daemon.supervisor import Loop, Supervisor
from indexer import lease
from indexer.lease import Fence, fenced
from tests.conftest import Database

TTL_S = 6.0


@asynccontextmanager
async def _busy(pool: asyncpg.Pool, fence: Fence) -> AsyncIterator[None]:
    """Five loops under one lease whose transactions overlap, as those of role operate do under load."""
    done = asyncio.Event()

    async def work(seconds: float) -> None:
        with suppress(Exception):
            while not done.is_set():
                async with fenced(pool, fence) as connection:
                    await connection.execute("SELECT pg_sleep($1)", seconds)

    loops = [asyncio.create_task(work(0.02 + 0.003 * n)) for n in range(5)]
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        done.set()
        await asyncio.gather(*loops)


async def _idle(_: Fence) -> bool:
    return False


async def test_a_takeover_that_waits_for_an_open_transaction_does_not_end_the_daemon(
    database: Database,
) -> None:
    """A stopped leader's transaction holds the lease's row longer than lock_timeout."""
    stopped = await asyncpg.connect(database.daemon_dsn)
    fence = await lease.acquire(stopped, "operate", "stopped", 0.5)
    assert fence is not None
    transaction = stopped.transaction()
    await transaction.start()
    await lease.enter(stopped, fence)
    await asyncio.sleep(0.5)
    async with asyncpg.create_pool(
        database.daemon_dsn, min_size=1, max_size=4, server_settings={"lock_timeout": "200"}
    ) as pool:
        supervisor = Supervisor(pool, "next", 3.0, [Loop("x", "operate", _idle, 0.05)])
        running = asyncio.create_task(supervisor.run())
        await asyncio.sleep(1.0)
        ended = running.done()
        await transaction.rollback()
        await stopped.close()
        supervisor.stop()
        await running
        assert not ended


async def test_a_read_only_standby_does_not_end_the_daemon(database: Database) -> None:
    """During a failover the address may lead to a standby for a while."""
    owner = await asyncpg.connect(database.owner_dsn)
    await owner.execute(f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = on')
    await owner.close()
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=4) as pool:
        supervisor = Supervisor(pool, "next", 3.0, [Loop("x", "operate", _idle, 0.05)])
        running = asyncio.create_task(supervisor.run())
        await asyncio.sleep(1.0)
        ended = running.done()
        supervisor.stop()
        await running
        assert not ended


async def test_a_lease_is_renewed_although_transactions_under_it_overlap(
    database: Database,
) -> None:
    """A share lock that is never free of holders must not starve the renewal: a busy daemon keeps its lease."""
    async with asyncpg.create_pool(database.daemon_dsn, min_size=7, max_size=8) as pool:
        async with pool.acquire() as connection:
            fence = await lease.acquire(connection, "operate", "busy", TTL_S)
        assert fence is not None
        async with _busy(pool, fence), pool.acquire() as connection:
            # The keeper gives a renewal a third of the lease.
            renewed = await asyncio.wait_for(lease.renew(connection, fence, TTL_S), TTL_S / 3)
        assert renewed


async def test_a_lease_that_ran_out_can_be_taken_from_a_holder_that_goes_on(
    database: Database,
) -> None:
    """A holder that works on after its expiry must not keep others out by working."""
    async with asyncpg.create_pool(database.daemon_dsn, min_size=7, max_size=8) as pool:
        async with pool.acquire() as connection:
            fence = await lease.acquire(connection, "operate", "busy", 1.0)
        assert fence is not None
        async with _busy(pool, fence), pool.acquire() as connection:
            await asyncio.sleep(1.0)
            taken = await asyncio.wait_for(lease.acquire(connection, "operate", "next", 60), 3.0)
        assert taken == Fence("operate", fence.epoch + 1)


async def test_a_loop_rests_after_another_daemon_has_taken_its_lease(database: Database) -> None:
    """Until its keeper notices, it must not try hundreds of times a second."""
    tries = 0
    async with asyncpg.create_pool(database.daemon_dsn, min_size=2, max_size=4) as pool:

        async def step(fence: Fence) -> bool:
            nonlocal tries
            tries += 1
            async with fenced(pool, fence):
                return False

        supervisor = Supervisor(pool, "old", TTL_S, [Loop("x", "operate", step, 0.05)])
        running = asyncio.create_task(supervisor.run())
        await asyncio.sleep(0.3)
        async with pool.acquire() as connection:
            await connection.execute("UPDATE ops.lease SET expires_at = clock_timestamp()")
            assert await lease.acquire(connection, "operate", "new", 60) is not None
        tries = 0
        await asyncio.sleep(0.5)
        supervisor.stop()
        await running
        assert tries < 50
