"""Leases are held by one at a time; consumers of the feed act on each row once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from indexer import feed, lease
from indexer.errors import ConsumerMoved, LeaseLost
from indexer.lease import Fence
from indexer.presence import Presence
from tests.conftest import Database
from tests.integration.indexer.conftest import Books, Following
from tests.integration.indexer.scripted_node import CHAIN_ID, ScriptedNode


async def test_a_lease_is_held_by_one_until_it_is_released(books: Books) -> None:
    first = await lease.acquire(books.owner, "operate", "a", 60)
    assert first is not None
    assert await lease.acquire(books.owner, "operate", "b", 60) is None
    assert await lease.renew(books.owner, first, 60)
    await lease.release(books.owner, first)
    second = await lease.acquire(books.owner, "operate", "b", 60)
    assert second is not None
    assert second.epoch == first.epoch + 1
    assert not await lease.renew(books.owner, first, 60)
    await lease.release(books.owner, first)
    assert await lease.renew(books.owner, second, 60)


async def test_an_expired_lease_goes_to_exactly_one_of_many(database: Database) -> None:
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=7) as pool:

        async def claim(holder: str, ttl_s: float) -> Fence | None:
            async with pool.acquire() as connection:
                return await lease.acquire(connection, "operate", holder, ttl_s)

        assert await claim("the dead", 0.0) is not None
        taken = await asyncio.gather(*(claim(str(number), 60) for number in range(7)))
    assert len([fence for fence in taken if fence is not None]) == 1


async def test_a_takeover_waits_for_the_transactions_of_the_old_holder(books: Books) -> None:
    async with books.pool.acquire() as connection:
        old = await lease.acquire(connection, "operate", "old", 2.0)
        assert old is not None
        async with lease.fenced(books.pool, old):
            await asyncio.sleep(2.1)
            takeover = asyncio.create_task(lease.acquire(connection, "operate", "new", 60))
            await asyncio.sleep(0.1)
            assert not takeover.done()
        new = await takeover
    assert new is not None
    assert new.epoch == old.epoch + 1


async def test_a_lease_that_has_run_out_lets_no_new_transaction_in(books: Books) -> None:
    """So that a holder which works on without renewing cannot keep its successor out."""
    async with books.pool.acquire() as connection:
        late = await lease.acquire(connection, "operate", "late", 0.05)
    assert late is not None
    await asyncio.sleep(0.1)
    with pytest.raises(LeaseLost):
        async with lease.fenced(books.pool, late):
            pass


async def test_a_fence_outside_a_transaction_is_a_mistake(books: Books) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        await lease.enter(books.owner, books.fence)


async def test_a_consumer_reads_from_where_it_stopped(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(4)
    await follower.step()
    assert await feed.position(books.owner, "one", CHAIN_ID) == 0
    rows = await feed.read(books.owner, CHAIN_ID, 0, 3)
    assert [(row.seq, row.op, row.to_block) for row in rows] == [
        (1, "apply", 0),
        (2, "apply", 1),
        (3, "apply", 2),
    ]
    await feed.advance(books.owner, "one", CHAIN_ID, 0, 3)
    assert await feed.position(books.owner, "one", CHAIN_ID) == 3
    with pytest.raises(ConsumerMoved):
        await feed.advance(books.owner, "one", CHAIN_ID, 0, 4)
    assert [row.seq for row in await feed.read(books.owner, CHAIN_ID, 3, 100)] == [4, 5, 6]


async def test_a_holder_that_died_is_not_waited_for(database: Database) -> None:
    """Its session is gone, and with it the lock by which others knew that it lived."""
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=4) as pool:
        dying, standby = Presence(pool), Presence(pool)
        async with pool.acquire() as connection:
            held = await lease.acquire(connection, "operate", "dying", 600, await dying.key())
            assert held is not None
            taker = await standby.key()
            assert await lease.acquire(connection, "operate", "standby", 600, taker) is None
            await dying.close()
            taken = await lease.acquire(connection, "operate", "standby", 600, taker)
            assert taken == Fence("operate", held.epoch + 1)
            # Whether it lives after all or not, it writes nothing any more.
            with pytest.raises(LeaseLost):
                async with connection.transaction():
                    await lease.enter(connection, held)
        await standby.close()


async def test_a_presence_whose_connection_broke_is_kept_again(database: Database) -> None:
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=4) as pool:
        presence = Presence(pool)
        key = await presence.key()
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await asyncio.sleep(0.1)
        assert await presence.key() == key
        kept = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1"
        )
        assert await owner.fetchval(kept, key & 0xFFFFFFFF) == 1
        await owner.close()
        await presence.close()
