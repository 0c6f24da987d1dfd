"""What a stream keeps, who is behind, and how it is written again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
import redis

from daemon.embedded.postgres import free_port
from daemon.embedded.valkey import EmbeddedValkey
from indexer.errors import ReplayRefused, StreamForeign, StreamMoved
from indexer.stream.lags import GroupLag, StreamLag, stream_lag
from indexer.stream.redis_stream import client_of
from indexer.stream.relay import RelaySettings
from indexer.stream.replay import replay
from indexer.stream.trim import StreamLimits, trim
from tests.conftest import Database
from tests.integration.indexer.feed_chain import CHAIN_ID, Note, Transfer, token_contract
from tests.integration.indexer.rig import KEY, Rig, entries, fold, new_rig

# Redis drops whole pages of entries; with one entry a page the tests can count.
PAGE = {"stream-node-max-entries": "1"}
MANY = tuple(Transfer(index, index + 1, 10**20 + index) for index in range(1_200))
ONCE = RelaySettings(limits=StreamLimits(10**6, 10**6), check_s=3600.0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[EmbeddedValkey]:
    async with EmbeddedValkey(settings=PAGE) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database, server: EmbeddedValkey) -> AsyncIterator[Rig]:
    async with new_rig(database, server.url) as found:
        await found.chain.open(token_contract())
        found.restart(ONCE)
        yield found


def drop_feed(database: Database, below: int) -> None:
    """As when only the newer part of the feed is kept."""
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("ALTER TABLE chain.feed DISABLE TRIGGER USER")
        owner.execute("DELETE FROM chain.feed WHERE seq < %s", [below])
        owner.execute("ALTER TABLE chain.feed ENABLE TRIGGER USER")


async def read(rig: Rig, group: str, count: int) -> list[bytes]:
    """Hand entries out to a group."""
    found = await rig.redis.xreadgroup(group, "one", {KEY: ">"}, count=count)
    return [identifier for identifier, _ in entries(found)]


class TestTrimming:
    async def test_keeps_the_newest_entries_where_nobody_reads(self, rig: Rig) -> None:
        await rig.chain.grow(20)
        await rig.run()
        assert await trim(rig.stream, StreamLimits(5, 10)) == 15
        assert await rig.ids() == [f"{seq}-0" for seq in range(16, 21)]
        assert await trim(rig.stream, StreamLimits(5, 10)) == 0

    async def test_keeps_what_a_group_has_not_been_given(self, rig: Rig) -> None:
        await rig.chain.grow(20)
        await rig.run()
        await rig.redis.xgroup_create(KEY, "slow", id="0")
        await rig.redis.xgroup_create(KEY, "fast", id="20-0")
        await rig.redis.xack(KEY, "slow", *await read(rig, "slow", 8))
        await trim(rig.stream, StreamLimits(5, 100))
        assert await rig.ids() == [f"{seq}-0" for seq in range(8, 21)]
        assert await read(rig, "slow", 100) == [b"%d-0" % seq for seq in range(9, 21)]

    async def test_keeps_what_a_group_has_not_acknowledged(self, rig: Rig) -> None:
        await rig.chain.grow(20)
        await rig.run()
        await rig.redis.xgroup_create(KEY, "slow", id="0")
        given = await read(rig, "slow", 20)
        await rig.redis.xack(KEY, "slow", *(one for one in given if one != b"4-0"))
        await trim(rig.stream, StreamLimits(5, 100))
        assert (await rig.ids())[0] == "4-0"

    async def test_keeps_no_more_for_groups_than_the_limit_for_them(self, rig: Rig) -> None:
        await rig.chain.grow(20)
        await rig.run()
        await rig.redis.xgroup_create(KEY, "dead", id="0")
        assert await trim(rig.stream, StreamLimits(5, 12)) == 8
        assert await rig.ids() == [f"{seq}-0" for seq in range(9, 21)]

    async def test_keeps_fewer_of_long_entries(self, rig: Rig) -> None:
        await rig.chain.grow(10, [Note(100_000)])
        await rig.run()
        await rig.redis.xgroup_create(KEY, "dead", id="0")
        await trim(rig.stream, StreamLimits(1_000, 1_000, max_bytes=500_000))
        assert 3 <= await rig.stream.length() <= 5
        assert (await rig.ids())[-1] == "10-0"

    async def test_is_done_by_the_relay(self, rig: Rig) -> None:
        rig.restart(RelaySettings(limits=StreamLimits(5, 5)))
        for _ in range(4):
            await rig.chain.grow(5)
            await rig.run()
            assert await rig.stream.length() <= 6
        assert (await rig.ids())[-1] == "20-0"
        rig.restart()
        await rig.chain.grow(1)
        await rig.run()
        assert (await rig.ids())[-1] == "21-0"

    async def test_needs_no_right_to_ask_for_the_size(
        self, rig: Rig, server: EmbeddedValkey
    ) -> None:
        """And nothing of what a relay does needs more than these commands."""
        commands = "xadd xinfo xlen xrange xtrim xpending evalsha eval script|load client|setinfo client|setname"
        rights = " ".join(f"+{command}" for command in [*commands.split(), "auth", "hello"])
        await rig.redis.execute_command(  # type: ignore[no-untyped-call]
            "ACL", "SETUSER", "relay", "on", ">secret", "~landbridge:*", *rights.split()
        )
        limited = client_of(f"redis://relay:secret@127.0.0.1:{server.port}/0")
        settings = RelaySettings(limits=StreamLimits(5, 5, max_bytes=1), check_s=0.0)
        rig.restart(settings, limited)
        await rig.chain.grow(30)
        await rig.run()
        assert await rig.stream.length() <= 6
        rig.restart(settings, limited)
        await rig.run()
        await limited.aclose()
        await rig.redis.acl_deluser("relay")

    async def test_of_no_stream_is_nothing(self, rig: Rig) -> None:
        assert await trim(rig.stream, StreamLimits()) == 0


class TestLags:
    async def test_are_of_groups_and_of_the_stream(self, rig: Rig) -> None:
        await rig.chain.grow(4)
        await rig.run()
        await rig.redis.xgroup_create(KEY, "group", id="0")
        await read(rig, "group", 3)
        await rig.chain.grow(2)
        assert await stream_lag(rig.redis, CHAIN_ID, 6) == StreamLag(
            length=4, rows_behind=2, groups={"group": GroupLag(rows_behind=1, pending=3)}
        )

    async def test_are_not_known_without_redis(self, rig: Rig) -> None:
        await rig.chain.grow(1)
        away = client_of(f"redis://127.0.0.1:{free_port()}/0")
        assert await stream_lag(away, CHAIN_ID, 1, timeout_s=0.5) is None
        await away.aclose()

    async def test_before_the_first_block_are_none(self, rig: Rig) -> None:
        assert await stream_lag(rig.redis, 7, 0) == StreamLag(0, 0, {})


class TestAReplay:
    async def test_writes_the_very_same_entries(self, rig: Rig) -> None:
        await rig.chain.grow(3, MANY[:700])
        await rig.chain.replace(1, 2, salt="b")
        await rig.run()
        assert await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again") == 6
        assert await rig.raw("again") == await rig.raw()
        assert fold(await rig.events("again")) == await rig.believed()

    async def test_begins_where_it_is_asked_to_also_below_what_was_trimmed(self, rig: Rig) -> None:
        await rig.chain.grow(6)
        await rig.run()
        await rig.redis.xtrim(KEY, maxlen=1, approximate=False)
        reached: list[tuple[int, int]] = []
        await replay(
            rig.chain.pool,
            rig.redis,
            CHAIN_ID,
            3,
            "again",
            progress=lambda seq, of: reached.append((seq, of)),
        )
        assert await rig.ids("again") == ["3-0", "4-0", "5-0", "6-0"]
        assert reached == [(6, 6)]
        assert await rig.ids() == ["6-0"]

    async def test_that_was_broken_off_goes_on(self, rig: Rig) -> None:
        await rig.chain.grow(2, MANY)
        whole = await rig.truth()
        for count in range(1, len(whole)):
            await rig.redis.delete("again")
            for identifier, fields in whole[:count]:
                await rig.redis.xadd("again", fields, id=identifier)  # type: ignore[arg-type]
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again")
            assert await rig.raw("again") == whole

    async def test_that_is_done_does_nothing(self, rig: Rig) -> None:
        await rig.chain.grow(2)
        for _ in range(2):
            assert await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again") == 2
            assert await rig.ids("again") == ["1-0", "2-0"]

    async def test_ends_where_it_is_asked_to_and_goes_on_from_there(self, rig: Rig) -> None:
        await rig.chain.grow(4)
        assert await replay(rig.chain.pool, rig.redis, CHAIN_ID, 2, "again", to_seq=3) == 3
        assert await rig.ids("again") == ["2-0", "3-0"]
        assert await replay(rig.chain.pool, rig.redis, CHAIN_ID, 4, "again") == 4
        assert await rig.ids("again") == ["2-0", "3-0", "4-0"]

    @pytest.mark.parametrize(
        ("first", "last", "why"),
        [(0, None, "first row is 1"), (50, None, "newest row is 2"), (1, 3, "newest row is 2")],
    )
    async def test_of_rows_that_the_feed_does_not_have_is_refused(
        self, rig: Rig, first: int, last: int | None, why: str
    ) -> None:
        await rig.chain.grow(2)
        with pytest.raises(ReplayRefused, match=why):
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, first, "again", to_seq=last)
        assert await rig.ids("again") == []

    async def test_of_rows_that_were_dropped_is_refused_and_says_where_to_begin(
        self, rig: Rig, database: Database
    ) -> None:
        await rig.chain.grow(5)
        drop_feed(database, below=4)
        with pytest.raises(ReplayRefused, match=r"row 2 was dropped.*that is kept is 4;"):
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, 2, "again")
        assert await rig.ids("again") == []
        await replay(rig.chain.pool, rig.redis, CHAIN_ID, 4, "again")
        assert await rig.ids("again") == ["4-0", "5-0"]

    async def test_whose_rows_are_dropped_meanwhile_is_refused(
        self, rig: Rig, database: Database
    ) -> None:
        for _ in range(4):
            await rig.chain.grow(1, [Note(1_200_000)])

        def drop(seq: int, _: int) -> None:
            drop_feed(database, below=seq + 3)

        for _ in range(2):
            with pytest.raises(ReplayRefused, match="that is kept is 4;"):
                await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again", progress=drop)
            assert await rig.ids("again") == ["1-0"]

    async def test_that_would_leave_a_hole_in_its_stream_is_refused(self, rig: Rig) -> None:
        await rig.chain.grow(5)
        await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again", to_seq=2)
        with pytest.raises(ReplayRefused, match="rows between would be missing"):
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, 4, "again")
        assert await rig.ids("again") == ["1-0", "2-0"]

    async def test_can_be_read_and_dropped_meanwhile(self, rig: Rig) -> None:
        await rig.chain.grow(4)
        await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again")
        await rig.redis.xtrim("again", minid="4-0", approximate=False)
        await rig.chain.grow(2)
        await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again")
        assert await rig.ids("again") == ["4-0", "5-0", "6-0"]

    async def test_into_a_stream_that_is_written_by_others_is_refused(self, rig: Rig) -> None:
        await rig.chain.grow(2)
        for name in (KEY, "landbridge:feed:1", "", "x" * 513):
            with pytest.raises(ReplayRefused, match="of its own"):
                await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, name)
        await rig.redis.xadd("other", {"event": json.dumps({})}, id="1-0")
        with pytest.raises(StreamForeign, match="other"):
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "other")

    async def test_notices_that_somebody_adds_to_its_stream(
        self, rig: Rig, server: EmbeddedValkey
    ) -> None:
        for _ in range(3):
            await rig.chain.grow(1, [Note(1_200_000)])

        def interfere(seq: int, _: int) -> None:
            with redis.Redis.from_url(server.url) as other:
                other.xadd("again", {"event": "{}"}, id=f"{seq}-5")

        with pytest.raises(StreamMoved):
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again", progress=interfere)
        assert await rig.ids("again") == ["1-0", "1-5"]
