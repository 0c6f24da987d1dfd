"""Whatever is wrong with Redis, the cache misses, soon, and says nothing but that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from daemon.cache import MAX_BYTES, StatusCache, database_identity
from daemon.embedded.postgres import free_port
from daemon.embedded.valkey import EmbeddedValkey
from indexer.stream.redis_stream import client_of
from tests.conftest import Database
from tests.faultproxy import FaultProxy

TEXT = '{"version":"1","supply":"1000000"}'
# A miss takes 50 ms; the rest is for a machine with other work.
SOON_S = 1.0


@pytest_asyncio.fixture(loop_scope="session")
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = client_of(valkey.url)
    await client.flushall()
    yield client
    await client.aclose()


async def test_what_one_daemon_keeps_another_finds(valkey: EmbeddedValkey, redis: Redis) -> None:
    other = client_of(valkey.url)
    await StatusCache(redis, "a database", 9).set(TEXT)
    cache = StatusCache(other, "a database", 9)
    assert await cache.get() == TEXT
    assert cache.outcomes == {"hit": 1}
    await other.aclose()


async def test_other_databases_and_other_schemas_have_their_own(redis: Redis) -> None:
    await StatusCache(redis, "a database", 9).set(TEXT)
    assert await StatusCache(redis, "another", 9).get() is None
    assert await StatusCache(redis, "a database", 10).get() is None


async def test_nothing_is_older_than_its_time(redis: Redis) -> None:
    cache = StatusCache(redis, "a database", 9, ttl_s=0.05)
    await cache.set(TEXT)
    assert 0 < await redis.pttl("landbridge:status:a database:9") <= 50
    await asyncio.sleep(0.1)
    assert await cache.get() is None
    assert cache.outcomes == {"kept": 1, "empty": 1}


async def test_the_default_is_a_second(redis: Redis) -> None:
    await StatusCache(redis, "a database", 9).set(TEXT)
    assert 500 < await redis.pttl("landbridge:status:a database:9") <= 1000


async def test_a_flush_is_a_miss(redis: Redis) -> None:
    cache = StatusCache(redis, "a database", 9)
    await cache.set(TEXT)
    await redis.flushall()
    assert await cache.get() is None
    assert cache.outcomes == {"kept": 1, "empty": 1}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xfe",
        b"not JSON",
        b"[1, 2]",
        b'{"version":',
        b'{"version": "1"} and more',
        b'{"padding": "' + b"x" * MAX_BYTES + b'"}',
    ],
    ids=["not text", "not JSON", "not an object", "cut off", "too much", "too long"],
)
async def test_garbage_is_a_miss_and_is_replaced(redis: Redis, garbage: bytes) -> None:
    cache = StatusCache(redis, "a database", 9, timeout_s=SOON_S)
    await redis.set("landbridge:status:a database:9", garbage)
    assert await cache.get() is None
    assert cache.outcomes == {"garbage": 1}
    await cache.set(TEXT)
    assert await cache.get() == TEXT


async def test_a_value_of_another_kind_is_a_miss_and_is_replaced(redis: Redis) -> None:
    cache = StatusCache(redis, "a database", 9)
    await redis.lpush("landbridge:status:a database:9", "no text")
    assert await cache.get() is None
    assert cache.outcomes == {"unavailable": 1}
    await cache.set(TEXT)
    assert await cache.get() == TEXT


async def test_without_redis_every_question_is_a_miss() -> None:
    client = client_of(f"redis://127.0.0.1:{free_port()}/0")
    cache = StatusCache(client, "a database", 9)
    assert await cache.get() is None
    await cache.set(TEXT)
    assert cache.outcomes == {"unavailable": 1, "not_kept": 1}
    await client.aclose()


async def test_a_socket_that_never_answers_is_a_miss_in_time(valkey: EmbeddedValkey) -> None:
    async with FaultProxy("127.0.0.1", valkey.port) as proxy:
        proxy.black_hole()
        client = client_of(f"redis://{proxy.address}/0", timeout_s=30.0)
        cache = StatusCache(client, "a database", 9)
        for _ in range(5):
            began = time.monotonic()
            assert await cache.get() is None
            await cache.set(TEXT)
            assert time.monotonic() - began < SOON_S
        assert cache.outcomes == {"unavailable": 5, "not_kept": 5}
        await client.aclose()


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    valkey: EmbeddedValkey,
) -> None:
    async with FaultProxy("127.0.0.1", valkey.port) as proxy:
        client = client_of(valkey.url.replace(f":{valkey.port}", f":{proxy.port}"))
        cache = StatusCache(client, "a database", 9, ttl_s=60.0, timeout_s=SOON_S)
        await cache.set(TEXT)
        proxy.black_hole(replies_only=True)
        impatient = StatusCache(client, "a database", 9, timeout_s=0.05)
        assert await impatient.get() is None
        await proxy.heal()
        assert await StatusCache(client, "another", 9, timeout_s=SOON_S).get() is None
        assert await cache.get() == TEXT
        await client.aclose()


async def test_the_daemon_may_ask_who_its_database_is(
    database: Database, empty_database: str
) -> None:
    async def identity(dsn: str) -> str:
        connection = await asyncpg.connect(dsn)
        try:
            return await database_identity(connection)
        finally:
            await connection.close()

    ours = await identity(database.daemon_dsn)
    assert ours == await identity(database.owner_dsn)
    assert ours != await identity(empty_database)
    assert len(ours.split("-")) == 3
