"""The consumers of docs/examples act exactly once, however often they are killed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import psycopg
import pytest
import pytest_asyncio
from redis import Redis

from daemon.embedded.valkey import EmbeddedValkey
from indexer import registry
from indexer.retention import Retention, RetentionSettings
from tests.conftest import Database
from tests.integration.indexer.feed_chain import CHAIN_ID, Transfer, publish, token_contract
from tests.integration.indexer.rig import KEY, Rig, entries, new_rig

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
TIMEOUT_S = 60.0
POLL_S = 0.02
GROUP = "warehouse"

Balances = dict[bytes, int]


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database, valkey: EmbeddedValkey) -> AsyncIterator[Rig]:
    async with new_rig(database, valkey.url) as found:
        await found.chain.open(token_contract())
        yield found


@pytest.fixture
def variables(
    database: Database, empty_database: str, valkey: EmbeddedValkey, tmp_path: Path
) -> dict[str, str]:
    """Of both examples. The feed is read as landbridge_reader, which sees the schema v1 and no more."""
    return {
        "FEED_URL": database.owner_dsn + "?options=-c%20role%3Dlandbridge_reader",
        "OWN_URL": empty_database,
        "CHAIN_ID": str(CHAIN_ID),
        "CONTRACT": "token",
        "REDIS_URL": valkey.url,
        "STREAM": KEY,
        "GROUP": GROUP,
        "DATABASE": str(tmp_path / "balances.db"),
    }


@asynccontextmanager
async def running(
    name: str, variables: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """An example as a process of its own; killed at the end, at whatever it is doing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        env={"PATH": os.defpath, **variables},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what ``condition``, a coroutine function, says."""
    for _ in range(round(TIMEOUT_S / POLL_S)):
        if await condition():
            return
        await asyncio.sleep(POLL_S)
    pytest.fail(f"it did not happen within {TIMEOUT_S:g} s")


def some(seed: int, count: int = 20) -> list[Transfer]:
    dice = random.Random(seed)
    return [
        Transfer(dice.randrange(1, 6), dice.randrange(1, 6), dice.randrange(10**30))
        for _ in range(count)
    ]


async def live(rig: Rig, blocks: int) -> None:
    """A chain's life: blocks, reorgs, back to an orphaned branch, finality."""
    for step in range(blocks):
        await rig.chain.grow(1, some(step))
        if step % 5 == 4:
            await rig.chain.replace(2, 1, some(step), salt=f"b{step}")
            await rig.chain.grow(1, some(step + 1), finalized=step // 2)


async def truth(rig: Rig, table: str = "token_transfer") -> Balances:
    found: Counter[bytes] = Counter()
    for row in await rig.chain.owner.fetch(
        f'SELECT "from", "to", value FROM event.{table} WHERE canonical'
    ):
        found[row["from"]] -= int(row["value"])
        found[row["to"]] += int(row["value"])
    return {holder: amount for holder, amount in found.items() if amount}


class TestThePostgresConsumer:
    @pytest_asyncio.fixture(loop_scope="session")
    async def own(self, empty_database: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(empty_database)
        yield connection
        await connection.close()

    async def test_agrees_with_the_chain_after_any_number_of_kills(
        self, rig: Rig, variables: dict[str, str], own: asyncpg.Connection
    ) -> None:
        moments = random.Random(5)
        for step in range(6):
            await live(rig, 10)
            reached = await place(own)
            async with running("postgres_consumer.py", variables):

                async def moved(since: int = reached) -> bool:
                    return await place(own) > since

                await until(moved)
                await asyncio.sleep(moments.random() * 0.05)
            if step == 3:
                await late_joining(rig)
        await self._finish(rig, variables, own)
        assert await balances(own) == await truth(rig)

    async def test_that_is_killed_in_its_transaction_leaves_no_half_of_it(
        self, rig: Rig, variables: dict[str, str], own: asyncpg.Connection
    ) -> None:
        await live(rig, 3)
        await self._finish(rig, variables, own)
        before, reached = await balances(own), await place(own)
        await own.execute(
            """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
               CREATE TRIGGER hold AFTER INSERT OR UPDATE ON balance FOR EACH ROW EXECUTE FUNCTION hold()"""
        )
        await live(rig, 3)
        async with running("postgres_consumer.py", variables):
            await until(lambda: is_holding(own))
        assert (await balances(own), await place(own)) == (before, reached)
        await own.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event = 'PgSleep'"""
        )
        await own.execute("DROP FUNCTION hold CASCADE")
        await self._finish(rig, variables, own)
        assert await balances(own) == await truth(rig)

    async def test_follows_a_contract_to_its_next_version(
        self, rig: Rig, variables: dict[str, str], own: asyncpg.Connection
    ) -> None:
        await live(rig, 6)
        await self._finish(rig, variables, own)
        await registry.register(rig.chain.owner, [token_contract(start_block=2)])
        old, new = await rig.chain.sources()
        await rig.chain.join(new, replaces=[old])
        await rig.chain.grow(2, some(99))
        async with running("postgres_consumer.py", variables):
            await asyncio.sleep(0.5)
            await publish(rig.chain, new)
            await until(lambda: has_reached(rig, own))
        assert await balances(own) == await truth(rig, "token_transfer__2")

    async def test_that_fell_behind_the_feeds_beginning_begins_again_with_a_snapshot(
        self, rig: Rig, variables: dict[str, str], own: asyncpg.Connection
    ) -> None:
        await live(rig, 6)
        await self._finish(rig, variables, own)
        reached = await place(own)
        await live(rig, 12)
        await late_joining(rig)
        assert await pruned(rig) > reached + 1
        await self._finish(rig, variables, own)
        assert await balances(own) == await truth(rig)
        await live(rig, 3)
        await self._finish(rig, variables, own)
        assert await balances(own) == await truth(rig)

    async def test_that_is_new_begins_with_a_snapshot(
        self, rig: Rig, variables: dict[str, str], own: asyncpg.Connection
    ) -> None:
        await live(rig, 12)
        await pruned(rig)
        await live(rig, 3)
        await self._finish(rig, variables, own)
        assert await balances(own) == await truth(rig)

    async def test_that_is_overtaken_by_another_changes_nothing(
        self,
        rig: Rig,
        variables: dict[str, str],
        own: asyncpg.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        example = module("postgres_consumer")
        await live(rig, 5)
        await self._finish(rig, variables, own)
        await live(rig, 5)
        read, overtaken = example.read, list[bool]()

        def overtake(*arguments: Any) -> Any:
            found = read(*arguments)
            if not overtaken:
                overtaken.append(True)
                with (
                    psycopg.connect(variables["FEED_URL"]) as feed,
                    psycopg.connect(variables["OWN_URL"]) as its_own,
                ):
                    assert example.step(feed, its_own, CHAIN_ID, "token")
            return found

        monkeypatch.setattr(example, "read", overtake)
        with (
            psycopg.connect(variables["FEED_URL"]) as feed,
            psycopg.connect(variables["OWN_URL"]) as its_own,
            pytest.raises(RuntimeError, match="one consumer at a time"),
        ):
            example.step(feed, its_own, CHAIN_ID, "token")
        assert overtaken
        assert await has_reached(rig, own)
        assert await balances(own) == await truth(rig)

    async def _finish(self, rig: Rig, variables: dict[str, str], own: asyncpg.Connection) -> None:
        async with running("postgres_consumer.py", variables):
            await until(lambda: has_reached(rig, own))


class TestTheStreamConsumer:
    async def test_agrees_with_the_chain_after_kills_and_the_loss_of_redis(
        self, rig: Rig, variables: dict[str, str]
    ) -> None:
        moments = random.Random(5)
        database = variables["DATABASE"]
        for step in range(6):
            await live(rig, 5)
            await rig.run()
            reached = newest(database)
            async with running("stream_consumer.py", variables):

                async def moved(since: tuple[int, int] = reached) -> bool:
                    return newest(database) > since

                await until(moved)
                await asyncio.sleep(moments.random() * 0.02)
            if step % 2:
                await rig.redis.flushall()
        await rig.run()
        async with running("stream_consumer.py", variables):
            await until(lambda: has_read(rig, database))
            await rig.redis.flushall()
            await live(rig, 2)
            await rig.run()
            await until(lambda: has_read(rig, database))
            await until(lambda: has_acknowledged(rig))
        assert held(database) == await truth(rig)

    async def test_passes_over_what_it_acted_on_and_did_not_acknowledge(
        self, rig: Rig, variables: dict[str, str]
    ) -> None:
        example = module("stream_consumer")
        await live(rig, 3)
        await rig.run()
        await rig.redis.xgroup_create(KEY, GROUP, id="0")
        own = sqlite3.connect(variables["DATABASE"], isolation_level=None)
        own.executescript(example.TABLES)
        found = await rig.redis.xreadgroup(GROUP, example.CONSUMER, {KEY: ">"}, count=2)
        for event in (await rig.events())[: len(entries(found))]:
            assert example.act(own, event, "token")
        own.close()
        async with running("stream_consumer.py", variables):
            await until(lambda: has_read(rig, variables["DATABASE"]))
            await until(lambda: has_acknowledged(rig))
        assert held(variables["DATABASE"]) == await truth(rig)

    async def test_records_nothing_of_an_entry_that_it_could_not_act_on(
        self, rig: Rig, variables: dict[str, str]
    ) -> None:
        example = module("stream_consumer")
        await rig.chain.grow(1, some(1))
        await rig.run()
        [event] = await rig.events()
        own = sqlite3.connect(variables["DATABASE"], isolation_level=None)
        own.executescript(example.TABLES)
        whole = event["data"]["events"][-1]["args"]
        event["data"]["events"][-1]["args"] = {**whole, "value": "no number"}
        with pytest.raises(ValueError, match="no number"):
            example.act(own, event, "token")
        event["data"]["events"][-1]["args"] = whole
        assert held(variables["DATABASE"]) == {}
        assert example.act(own, event, "token")
        assert not example.act(own, event, "token")
        own.close()
        assert held(variables["DATABASE"]) == await truth(rig)

    async def test_ends_where_entries_are_missing_and_goes_on_with_a_replay(
        self, rig: Rig, variables: dict[str, str]
    ) -> None:
        await live(rig, 3)
        await rig.run()
        await rig.redis.xtrim(KEY, maxlen=2, approximate=False)
        async with running("stream_consumer.py", variables) as process:
            _, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        assert process.returncode == 1
        assert b"HoleError: entries 1-0 up to 2-0 are missing" in errors
        for identifier, fields in await rig.truth():
            await rig.redis.xadd("again", fields, id=identifier)  # type: ignore[arg-type]
        async with running("stream_consumer.py", {**variables, "STREAM": "again"}):
            await until(lambda: has_read(rig, variables["DATABASE"]))
        await rig.chain.grow(1, some(7))
        await rig.run()
        async with running("stream_consumer.py", variables):
            await until(lambda: has_read(rig, variables["DATABASE"]))
        assert held(variables["DATABASE"]) == await truth(rig)

    async def test_goes_on_when_redis_comes_back(self, database: Database, tmp_path: Path) -> None:
        async with EmbeddedValkey() as server, new_rig(database, server.url) as rig:
            await rig.chain.open(token_contract())
            variables = {
                "REDIS_URL": server.url,
                "STREAM": KEY,
                "GROUP": GROUP,
                "CONTRACT": "token",
                "DATABASE": str(tmp_path / "balances.db"),
            }
            await live(rig, 3)
            await rig.run()
            async with running("stream_consumer.py", variables):
                await until(lambda: has_read(rig, variables["DATABASE"]))
                await server.crash()
                await live(rig, 2)
                await server.restart()
                await rig.run()
                await until(lambda: has_read(rig, variables["DATABASE"]))
            assert held(variables["DATABASE"]) == await truth(rig)


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


async def late_joining(rig: Rig) -> None:
    """Another contract joins, of which the consumer must take no notice."""
    await registry.register(rig.chain.owner, [token_contract(), token_contract("late")])
    [late] = [source for source in await rig.chain.sources() if not source.joined]
    await rig.chain.join(late)


async def pruned(rig: Rig) -> int:
    """Remove what may go; answers where the feed begins then."""
    retention = Retention(rig.chain.pool, CHAIN_ID, RetentionSettings(0.0, 0.0))
    while await retention.step(rig.chain.fence):
        pass
    begins: int = await rig.chain.owner.fetchval("SELECT feed_from FROM chain.pruned")
    assert begins > 1
    return begins


async def place(own: asyncpg.Connection) -> int:
    if not await own.fetchval("SELECT to_regclass('feed_place') IS NOT NULL"):
        return 0
    return await own.fetchval("SELECT seq FROM feed_place") or 0


async def has_reached(rig: Rig, own: asyncpg.Connection) -> bool:
    end: int = await rig.chain.owner.fetchval("SELECT feed_seq FROM chain.cursor")
    version = await rig.chain.owner.fetchval(
        "SELECT max(version) FROM chain.source WHERE name = 'token' AND joined_seq IS NOT NULL"
    )
    if await place(own) != end:
        return False
    return bool(await own.fetchval("SELECT version FROM feed_place") == version)


async def is_holding(own: asyncpg.Connection) -> bool:
    found: bool = await own.fetchval(
        """SELECT EXISTS (SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event = 'PgSleep')"""
    )
    return found


async def balances(own: asyncpg.Connection) -> Balances:
    rows = await own.fetch("SELECT holder, amount FROM balance WHERE amount <> 0")
    return {row["holder"]: int(row["amount"]) for row in rows}


def held(database: str) -> Balances:
    own = sqlite3.connect(database)
    found = own.execute("SELECT holder, amount FROM balance WHERE amount <> '0'").fetchall()
    own.close()
    return {bytes.fromhex(holder[2:]): int(amount) for holder, amount in found}


def newest(database: str) -> tuple[int, int]:
    own = sqlite3.connect(database)
    try:
        found = own.execute("SELECT max(seq), max(part) FROM acted").fetchone()
    except sqlite3.OperationalError:
        return 0, 0
    finally:
        own.close()
    return found[0] or 0, found[1] or 0


async def has_read(rig: Rig, database: str) -> bool:
    end: int = await rig.chain.owner.fetchval("SELECT feed_seq FROM chain.cursor")
    return newest(database)[0] == end


async def has_acknowledged(rig: Rig) -> bool:
    [group] = await rig.redis.xinfo_groups(KEY)
    return bool(group["pending"] == 0)


def test_the_client_of_the_example_is_the_one_that_is_tested() -> None:
    assert module("stream_consumer").redis.Redis is Redis
