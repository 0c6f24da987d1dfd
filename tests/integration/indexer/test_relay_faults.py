"""Whatever happens to the relay or to Redis, the stream is right again, without a hole and without a double."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from redis.exceptions import ResponseError

from daemon.embedded.postgres import free_port
from daemon.embedded.valkey import EmbeddedValkey
from indexer import feed, lease
from indexer.errors import LeaseLost, RedisUnavailable, StreamForeign
from indexer.stream.cloud_event import EntryId
from indexer.stream.redis_stream import client_of
from indexer.stream.relay import Relay, RelaySettings, role
from indexer.stream.trim import StreamLimits
from tests.conftest import Database
from tests.faultproxy import FaultProxy
from tests.integration.indexer.feed_chain import CHAIN_ID, Transfer, token_contract
from tests.integration.indexer.rig import EAGER, KEY, Rig, entries, fold, new_rig

MANY = tuple(Transfer(index, index + 1, 10**20 + index) for index in range(1_200))


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database, valkey: EmbeddedValkey) -> AsyncIterator[Rig]:
    async with new_rig(database, valkey.url) as found:
        await found.chain.open(token_contract())
        yield found


class TestACrash:
    async def test_between_the_addition_and_the_position_repeats_nothing(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await rig.chain.grow(3)
        with monkeypatch.context() as broken:
            broken.setattr(feed, "advance", crash)
            with pytest.raises(CrashError):
                await rig.run()
        assert await rig.ids() == ["1-0", "2-0", "3-0"]
        assert await rig.position() == 0
        rig.restart()
        await rig.run()
        assert await rig.position() == 3
        await rig.chain.grow(1)
        await rig.run()
        assert await rig.ids() == ["1-0", "2-0", "3-0", "4-0"]

    async def test_within_a_long_row_goes_on_with_its_next_part(self, rig: Rig) -> None:
        await rig.chain.grow(1, MANY)
        whole = await rig.truth()
        for count in (1, 2, 3):
            await rig.redis.delete(KEY)
            for identifier, fields in whole[:count]:
                await rig.redis.xadd(KEY, fields, id=identifier)  # type: ignore[arg-type]
            rig.restart()
            await rig.run()
            assert await rig.raw() == whole

    async def test_at_any_moment_leaves_a_stream_without_holes_or_doubles(self, rig: Rig) -> None:
        moments = random.Random(11)
        for round_ in range(25):
            salt = f"{round_}"
            depth = moments.randrange(3) if round_ > 2 else 0
            await rig.chain.replace(
                depth, depth + 1, MANY[: moments.choice((0, 3, 700))], salt=salt
            )
            rig.restart()
            task = asyncio.create_task(rig.run())
            await asyncio.sleep(moments.random() * 0.03)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if round_ % 8 == 7:
                await rig.redis.flushall()
        rig.restart()
        await rig.run()
        assert await rig.raw() == await rig.truth()
        assert fold(await rig.events()) == await rig.believed()

    async def test_of_the_lease_s_holder_moves_no_position_any_more(self, rig: Rig) -> None:
        await rig.chain.grow(1)
        await lease.release(rig.chain.owner, rig.fence)
        other = await lease.acquire(rig.chain.owner, role(CHAIN_ID), "another", 600.0)
        assert other is not None
        with pytest.raises(LeaseLost):
            await rig.relay.step(rig.fence)
        assert await rig.position() == 0
        rig.restart()
        rig.fence = other
        await rig.run()
        assert await rig.ids() == ["1-0"]
        assert await rig.position() == 1

    async def test_two_relays_at_once_add_each_entry_once(self, rig: Rig) -> None:
        """As when a holder does not know yet that it has lost its lease."""
        late = Relay(rig.chain.pool, rig.redis, CHAIN_ID, EAGER)
        for _ in range(10):
            await rig.chain.grow(2, MANY[:30])
            with suppress(Exception):
                await asyncio.gather(
                    rig.relay.step(rig.fence), late.step(rig.fence), return_exceptions=True
                )
        await rig.run()
        assert await rig.raw() == await rig.truth()


class TestALostRedis:
    async def test_is_filled_again_while_nothing_happens_on_the_chain(self, rig: Rig) -> None:
        await rig.chain.grow(5)
        await rig.run()
        before = await rig.raw()
        await rig.redis.flushall()
        await rig.run()
        assert await rig.raw() == before
        assert await rig.position() == 5

    async def test_is_filled_again_before_anything_new_is_added(self, rig: Rig) -> None:
        rig.restart(RelaySettings(check_s=3600.0))
        await rig.chain.grow(5)
        await rig.run()
        await rig.redis.flushall()
        await rig.chain.grow(1)
        await rig.run()
        assert await rig.raw() == await rig.truth()

    async def test_gets_as_many_entries_as_a_stream_keeps(self, rig: Rig) -> None:
        rig.restart(RelaySettings(limits=StreamLimits(3, 3), check_s=0.0))
        await rig.chain.grow(10)
        await rig.run()
        await rig.redis.flushall()
        await rig.run()
        assert await rig.ids() == ["8-0", "9-0", "10-0"]

    async def test_costs_a_group_that_is_made_anew_at_its_own_position_nothing(
        self, rig: Rig
    ) -> None:
        await rig.chain.grow(4)
        await rig.run()
        await rig.redis.flushall()
        await rig.redis.xgroup_create(KEY, "group", id="2-0", mkstream=True)
        await rig.chain.grow(1)
        await rig.run()
        found = await rig.redis.xreadgroup("group", "one", {KEY: ">"})
        assert [identifier for identifier, _ in entries(found)] == [b"3-0", b"4-0", b"5-0"]

    async def test_does_not_disturb_a_reader_that_waits(
        self, rig: Rig, valkey: EmbeddedValkey
    ) -> None:
        await rig.chain.grow(2)
        await rig.run()
        reader = client_of(valkey.url, timeout_s=30.0)

        async def wait() -> Any:
            return await reader.xread({KEY: "2-0"}, block=20_000)

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
        await rig.redis.flushall()
        await rig.run()
        await rig.chain.grow(1)
        await rig.run()
        assert [identifier for identifier, _ in entries(await waiting)] == [b"3-0"]
        await reader.aclose()

    async def test_that_fell_back_goes_on_from_where_it_is(self, rig: Rig) -> None:
        await rig.chain.grow(3)
        await rig.run()
        older = await rig.redis.dump(KEY)
        assert older is not None
        await rig.chain.grow(3)
        await rig.run()
        await rig.redis.restore(KEY, 0, older, replace=True)
        await rig.chain.grow(1)
        await rig.run()
        assert await rig.raw() == await rig.truth()
        assert await rig.position() == 7

    async def test_that_fell_back_into_a_long_row_goes_on_within_it(self, rig: Rig) -> None:
        await rig.chain.grow(1, MANY)
        whole = await rig.truth()
        identifier, fields = whole[0]
        await rig.redis.xadd(KEY, fields, id=identifier)  # type: ignore[arg-type]
        older = await rig.redis.dump(KEY)
        assert older is not None
        await rig.run()
        await rig.redis.restore(KEY, 0, older, replace=True)
        await rig.run()
        assert await rig.raw() == whole

    async def test_whose_entries_were_all_dropped_goes_on(self, rig: Rig) -> None:
        await rig.chain.grow(3)
        await rig.run()
        await rig.redis.xtrim(KEY, maxlen=0, approximate=False)
        rig.restart()
        await rig.chain.grow(1)
        await rig.run()
        assert await rig.ids() == ["4-0"]

    async def test_that_died_is_filled_again_when_it_is_back(self, database: Database) -> None:
        async with EmbeddedValkey() as server, new_rig(database, server.url) as rig:
            await rig.chain.open(token_contract())
            await rig.chain.grow(3)
            await rig.run()
            await server.crash()
            await rig.chain.grow(1)
            with pytest.raises(RedisUnavailable, match=r"redis\.url"):
                await rig.relay.step(rig.fence)
            await server.restart()
            await rig.run()
            assert await rig.raw() == await rig.truth()


class TestARedisThat:
    async def test_is_away_is_named_and_tried_again(self, rig: Rig) -> None:
        away = client_of(f"redis://:a-secret-password@127.0.0.1:{free_port()}/0")
        await rig.chain.grow(1)
        rig.restart(redis=away)
        for _ in range(2):
            with pytest.raises(RedisUnavailable, match=r"Redis \(redis\.url\)") as refused:
                await rig.relay.step(rig.fence)
            assert "a-secret-password" not in str(refused.value)
        await away.aclose()
        assert await rig.position() == 0

    async def test_hangs_is_given_up_in_time_and_no_answer_is_mistaken(
        self, rig: Rig, valkey: EmbeddedValkey
    ) -> None:
        async with FaultProxy("127.0.0.1", valkey.port) as proxy:
            slow = client_of(valkey.url.replace(f":{valkey.port}", f":{proxy.port}"), 30.0)
            relay = rig.restart(RelaySettings(check_s=0.0, timeout_s=0.2), slow)
            await rig.chain.grow(2)
            await rig.run()
            proxy.black_hole(replies_only=True)
            await rig.chain.grow(2)
            began = time.monotonic()
            with pytest.raises(RedisUnavailable):
                await relay.step(rig.fence)
            assert time.monotonic() - began < 2.0
            assert await rig.position() == 2
            await proxy.heal()
            await rig.run()
            assert await rig.position() == 4
            assert await rig.raw() == await rig.truth()
            await slow.aclose()

    async def test_has_no_room_says_so(self, database: Database) -> None:
        async with (
            EmbeddedValkey(settings={"maxmemory": "3mb"}) as server,
            new_rig(database, server.url) as rig,
        ):
            await rig.chain.open(token_contract())
            await rig.chain.grow(30, MANY)
            with pytest.raises(RedisUnavailable, match="maxmemory"):
                await rig.run()
            ids = await rig.ids()
            assert ids == sorted(ids, key=EntryId.parse)
            assert ids[0] == "1-0"
            await rig.redis.config_set("maxmemory", "256mb")
            await rig.run()
            assert await rig.raw() == await rig.truth()

    async def test_keeps_something_else_under_our_key_is_refused(self, rig: Rig) -> None:
        await rig.redis.set(KEY, "something else")
        await rig.chain.grow(1)
        with pytest.raises(RedisUnavailable, match="WRONGTYPE"):
            await rig.relay.step(rig.fence)

    async def test_refuses_an_entry_that_it_has_by_itself(self, rig: Rig) -> None:
        await rig.chain.grow(1)
        await rig.run()
        [(identifier, fields)] = await rig.raw()
        with pytest.raises(ResponseError, match="equal or smaller"):
            await rig.redis.xadd(KEY, fields, id=identifier)  # type: ignore[arg-type]


class TestAForeignStream:
    async def test_of_another_database_is_left_alone(self, rig: Rig) -> None:
        await rig.chain.grow(2)
        await rig.run()
        theirs = await rig.raw()
        # The same chain, followed at another time.
        await rig.chain.owner.execute("ALTER TABLE chain.feed DISABLE TRIGGER USER")
        await rig.chain.owner.execute("UPDATE chain.feed SET at = at + interval '1 hour'")
        await rig.chain.owner.execute("ALTER TABLE chain.feed ENABLE TRIGGER USER")
        rig.restart()
        await rig.chain.grow(1)
        with pytest.raises(StreamForeign, match="speaks of something else"):
            await rig.relay.step(rig.fence)
        assert await rig.raw() == theirs

    async def test_that_is_ahead_of_the_feed_is_left_alone(self, rig: Rig) -> None:
        """As after a restore of the database from a backup."""
        await rig.chain.grow(1)
        await rig.redis.xadd(KEY, {"event": "{}"}, id="9-0")
        with pytest.raises(StreamForeign, match="no row 9"):
            await rig.relay.step(rig.fence)
        assert await rig.ids() == ["9-0"]

    @pytest.mark.parametrize("fields", [{"event": "not JSON"}, {"other": "1"}])
    async def test_with_garbage_at_its_end_is_left_alone(
        self, rig: Rig, fields: dict[str, str]
    ) -> None:
        await rig.chain.grow(2)
        await rig.redis.xadd(KEY, fields, id="1-0")  # type: ignore[arg-type]
        with pytest.raises(StreamForeign):
            await rig.relay.step(rig.fence)
        assert await rig.ids() == ["1-0"]

    async def test_that_somebody_else_adds_to_is_noticed(self, rig: Rig) -> None:
        rig.restart(RelaySettings(check_s=3600.0))
        await rig.chain.grow(1)
        await rig.run()
        await rig.redis.xadd(KEY, {"event": "{}"}, id="1-7")
        await rig.chain.grow(1)
        with pytest.raises(StreamForeign):
            await rig.run()
        assert await rig.ids() == ["1-0", "1-7"]

    async def test_that_was_deleted_is_filled(self, rig: Rig) -> None:
        await rig.chain.grow(1)
        await rig.redis.xadd(KEY, {"event": "{}"}, id="9-0")
        with pytest.raises(StreamForeign, match=f"DEL {KEY}"):
            await rig.relay.step(rig.fence)
        await rig.redis.delete(KEY)
        await rig.run()
        assert await rig.ids() == ["1-0"]


class CrashError(Exception):
    """Stands for the end of the process."""


async def crash(*_: object) -> None:
    raise CrashError
