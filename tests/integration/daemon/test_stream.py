"""The stream of a running daemon: kept as long as the settings say, and written again by a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
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
# Of what Anvil calls final, below its head.
DEPTH = 4
LIVE = "landbridge:feed:5001"
AGAIN = "landbridge:replay:5001"


@dataclass(frozen=True, slots=True)
class Followed:
    """A daemon that has followed the chain for a while."""

    configuration: Configuration
    daemon: Daemon


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
) -> AsyncIterator[Followed]:
    """The daemon keeps few entries."""
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
            told = (await chains(daemon))["main"]
            is_read = told["synced"] and told["head"] == await main.head()
            # The last thing that is said of a head is what it makes final.
            is_final = told["finalized"] == told["head"] - DEPTH
            lag = told["consumers"].get("redis", {}).get("lag")
            return bool(is_read and is_final and lag == 0)

        await eventually("the stream is written", is_written, WAIT_S, daemon.tail)
        yield Followed(configuration, daemon)
    finally:
        await daemon.close()


async def rows(daemon: Daemon) -> int:
    found = (await chains(daemon)).get("main", {})
    return int(found.get("feed_seq") or 0)


async def seqs(redis: Redis, key: str) -> list[int]:
    return [int(fields[b"seq"]) for _, fields in await entries(redis, key)]


async def entries(redis: Redis, key: str) -> list[Any]:
    return list(await redis.xrange(key) or [])


async def test_is_as_long_as_the_settings_say(followed: Followed, redis: Redis) -> None:
    kept = await seqs(redis, LIVE)
    assert 5 <= len(kept) <= 8
    assert kept[-1] >= ROWS


async def test_tells_how_far_behind_its_groups_are(followed: Followed, redis: Redis) -> None:
    await redis.xgroup_create(LIVE, "warehouse", id="0")
    await redis.xreadgroup("warehouse", "one", {LIVE: ">"}, count=2)
    kept = await seqs(redis, LIVE)

    async def told() -> dict[str, Any] | None:
        # What another daemon has read is kept for a second.
        stream = (await chains(followed.daemon))["main"]["stream"]
        return stream if stream and stream["groups"] else None

    stream = await eventually("the group is told of", told, WAIT_S, followed.daemon.tail)
    behind = kept[-1] - kept[1]
    assert stream == {
        "length": len(kept),
        "rows_behind": 0,
        "groups": {"warehouse": {"rows_behind": behind, "pending": 2}},
    }
    metrics = (await followed.daemon.get("/metrics")).text
    group = '{chain="main",group="warehouse"}'
    assert f"landbridge_chain_stream_group_lag_rows{group} {float(behind)}" in metrics
    assert f"landbridge_chain_stream_group_pending_entries{group} 2.0" in metrics
    asking = followed.configuration.changed(api={"port": followed.daemon.port})
    assert f"warehouse {behind}" in (await asking.command("status")).output


async def test_is_written_again_as_often_as_one_likes(followed: Followed, redis: Redis) -> None:
    ended = await followed.configuration.command("index", "replay", "--from", "1", "--to", "30")
    assert ended.status == 0, ended.errors
    assert ended.output == f"rows 1 to 30 of the feed of main are in the stream {AGAIN}\n"
    assert sorted(set(await seqs(redis, AGAIN))) == list(range(1, 31))
    before = await entries(redis, AGAIN)
    newest = (await seqs(redis, LIVE))[-1]
    for _ in range(2):
        more = await followed.configuration.command(
            "index", "replay", "--from", "1", "--chain", "main", "--json"
        )
        assert json_lines(more) == [
            {"chain": "main", "stream": AGAIN, "seq": newest, "to_seq": newest, "done": True}
        ]
    after, live = await entries(redis, AGAIN), await entries(redis, LIVE)
    assert after[: len(before)] == before
    assert after[-len(live) :] == live
    other = await followed.configuration.command(
        "index", "replay", "--from", str(newest), "--stream", "mine"
    )
    assert other.status == 0, other.errors
    assert await entries(redis, "mine") == live[-1:]


async def test_is_not_written_again_where_that_makes_no_sense(
    followed: Followed, redis: Redis
) -> None:
    for arguments, why in (
        (["--from", "100000"], "its newest row is"),
        (["--from", "9", "--to", "8"], "rows 9 to 8 are wanted"),
        (["--from", "1", "--stream", LIVE], "a stream of its own"),
        (["--from", "1", "--chain", "mian"], "--chain: name one of main; did you mean main?"),
    ):
        ended = await followed.configuration.command("index", "replay", *arguments)
        assert ended.status == 1
        (line,) = ended.told
        assert why in line
    away = followed.configuration.changed(redis={"url": f"redis://127.0.0.1:{free_port()}/0"})
    (line,) = (await away.command("index", "replay", "--from", "1")).told
    assert "redis.url" in line
    assert "Run the same command again" in line
    off = followed.configuration.changed(redis={"enabled": False})
    (line,) = (await off.command("index", "replay", "--from", "1")).told
    assert "redis.enabled: is false" in line
    assert set(await redis.keys()) & {AGAIN.encode(), b"mine"} == set()
