"""The stream of a running daemon: kept as long as the settings say, and written again by a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from daemon.embedded.postgres import free_port
from daemon.embedded.valkey import EmbeddedValkey
from tests.conftest import Database
from tests.integration.daemon.indexing import (
    WAIT_S,
    Site,
    chains,
    configured,
    json_lines,
    migrated,
    site,
    tree_of,
)
from tests.integration.daemon.running import Configuration, Daemon, eventually

# Redis drops whole pages of entries; with one entry a page the tests can count.
PAGE = {"stream-node-max-entries": "1"}
ROWS = 40
LIVE = "landbridge:feed:5001"
AGAIN = "landbridge:replay:5001"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[EmbeddedValkey]:
    async with EmbeddedValkey(settings=PAGE) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def redis(server: EmbeddedValkey) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def main() -> AsyncIterator[Site]:
    async with site("main", 5001) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def followed(
    database: Database, tmp_path: Path, main: Site, server: EmbeddedValkey, redis: Redis
) -> AsyncIterator[Configuration]:
    """A daemon that keeps few entries has followed the chain for a while; its settings."""
    tree = tree_of(main)
    tree["redis"] = {"url": server.url, "max_entries": 5, "max_unread_entries": 8}
    configuration = configured(tmp_path, database, tree)
    await migrated(configuration)
    daemon = Daemon(configuration, free_port())
    try:
        await daemon.start()
        while await rows(daemon) < ROWS:
            await main.coin.transfer(7)
            await main.anvil.mine(3)

        async def is_written() -> bool:
            # Nothing is mined meanwhile.
            told = (await chains(daemon))["main"]["consumers"].get("redis")
            return bool(told and told["seq"] >= ROWS and told["lag"] == 0)

        await eventually("the stream is written", is_written, WAIT_S, daemon.tail)
        yield configuration
    finally:
        await daemon.close()


async def rows(daemon: Daemon) -> int:
    found = (await chains(daemon)).get("main", {})
    return int(found.get("feed_seq") or 0)


async def seqs(redis: Redis, key: str) -> list[int]:
    return [int(fields[b"seq"]) for _, fields in await entries(redis, key)]


async def entries(redis: Redis, key: str) -> list[Any]:
    return list(await redis.xrange(key) or [])


async def test_is_as_long_as_the_settings_say(followed: Configuration, redis: Redis) -> None:
    kept = await seqs(redis, LIVE)
    assert 5 <= len(kept) <= 8
    assert kept[-1] >= ROWS


async def test_is_written_again_as_often_as_one_likes(
    followed: Configuration, redis: Redis
) -> None:
    ended = await followed.command("index", "replay", "--from", "1", "--to", "30")
    assert ended.status == 0, ended.errors
    assert ended.output == f"rows 1 to 30 of the feed of main are in the stream {AGAIN}\n"
    assert sorted(set(await seqs(redis, AGAIN))) == list(range(1, 31))
    before = await entries(redis, AGAIN)
    newest = (await seqs(redis, LIVE))[-1]
    for _ in range(2):
        more = await followed.command("index", "replay", "--from", "1", "--chain", "main", "--json")
        assert json_lines(more) == [
            {"chain": "main", "stream": AGAIN, "seq": newest, "to_seq": newest, "done": True}
        ]
    after, live = await entries(redis, AGAIN), await entries(redis, LIVE)
    assert after[: len(before)] == before
    assert after[-len(live) :] == live
    other = await followed.command("index", "replay", "--from", str(newest), "--stream", "mine")
    assert other.status == 0, other.errors
    assert await entries(redis, "mine") == live[-1:]


async def test_is_not_written_again_where_that_makes_no_sense(
    followed: Configuration, redis: Redis
) -> None:
    for arguments, why in (
        (["--from", "100000"], "its newest row is"),
        (["--from", "9", "--to", "8"], "rows 9 to 8 are wanted"),
        (["--from", "1", "--stream", LIVE], "a stream of its own"),
        (["--from", "1", "--chain", "mian"], "--chain: name one of main; did you mean main?"),
    ):
        ended = await followed.command("index", "replay", *arguments)
        assert ended.status == 1
        (line,) = ended.told
        assert why in line
    away = followed.changed(redis={"url": f"redis://127.0.0.1:{free_port()}/0"})
    (line,) = (await away.command("index", "replay", "--from", "1")).told
    assert "redis.url" in line
    assert "Run the same command again" in line
    off = followed.changed(redis={"enabled": False})
    (line,) = (await off.command("index", "replay", "--from", "1")).told
    assert "redis.enabled: is false" in line
    assert set(await redis.keys()) & {AGAIN.encode(), b"mine"} == set()
