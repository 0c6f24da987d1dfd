"""The stream says what the feed says, once and in order, whatever happens to Redis or to the relay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from daemon.embedded.valkey import EmbeddedValkey
from indexer import registry
from indexer.stream.relay import RelaySettings
from tests.conftest import Database
from tests.integration.indexer.feed_chain import (
    FeedChain,
    Note,
    Transfer,
    feed_chain,
    token_contract,
)
from tests.integration.indexer.rig import Rig, fold, new_rig

MANY = tuple(Transfer(index, index + 1, 10**20 + index) for index in range(1_200))


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database, valkey: EmbeddedValkey) -> AsyncIterator[Rig]:
    async with new_rig(database, valkey.url) as found:
        await found.chain.open(token_contract())
        yield found


class TestTheStream:
    async def test_rebuilds_what_is_believed_at_every_commit(self, rig: Rig) -> None:
        transfers = (Transfer(1, 2, 3), Transfer(2, 1, 2**256 - 1))

        async def agrees() -> None:
            await rig.run()
            assert fold(await rig.events()) == await rig.believed()

        await rig.chain.grow(4, transfers)
        await agrees()
        await rig.chain.replace(3, 2, transfers, salt="b")
        await agrees()
        await rig.chain.replace(2, 3, salt="a")
        await agrees()
        await rig.chain.grow(1, (), finalized=2)
        await rig.chain.replace(1, 2, salt="c", finalized=3)
        await agrees()
        seqs = [one["data"]["seq"] for one in await rig.events()]
        assert seqs == list(range(1, len(seqs) + 1))
        assert await rig.position() == len(seqs)

    async def test_has_the_fields_by_which_entries_can_be_told_apart(self, rig: Rig) -> None:
        await rig.chain.grow(1)
        await rig.run()
        [(identifier, fields)] = await rig.raw()
        event = json.loads(fields.pop(b"event"))
        assert identifier == b"1-0"
        assert fields == {b"type": event["type"].encode(), b"seq": b"1", b"part": b"0"}

    async def test_tells_a_retracted_block_with_the_events_that_go(self, rig: Rig) -> None:
        await rig.chain.grow(1, (Transfer(1, 2, 3),))
        await rig.chain.replace(1, 1, (), salt="b")
        await rig.run()
        applied, retracted, _ = await rig.events()
        assert retracted["type"] == "landbridge.block.retracted.v1"
        assert retracted["data"]["events"] == applied["data"]["events"]
        assert retracted["subject"] == applied["subject"]

    async def test_is_empty_before_the_chain_is_followed(
        self, database: Database, valkey: EmbeddedValkey
    ) -> None:
        async with new_rig(database, valkey.url) as rig:
            assert not await rig.relay.step(rig.fence)
            await rig.chain.open(token_contract())
            await rig.chain.grow(1)
            await rig.run()
            assert await rig.ids() == ["1-0"]

    async def test_is_of_one_chain(self, rig: Rig, database: Database) -> None:
        await rig.chain.grow(1)
        async with feed_chain(database.owner_dsn, database.daemon_dsn, chain_id=7) as other:
            await other.open(token_contract("other", chain_id=7), token_contract())
            await other.grow(3)
            await rig.run()
            assert await rig.ids() == ["1-0"]
            assert [one["contract"] for one in (await rig.events())[0]["data"]["events"]] == [
                "token"
            ]


class TestALongRow:
    async def test_is_cut_into_parts_of_which_the_last_says_so(self, rig: Rig) -> None:
        await rig.chain.grow(1, MANY)
        await rig.run()
        events = await rig.events()
        assert await rig.ids() == ["1-0", "1-1", "1-2"]
        assert [len(one["data"]["events"]) for one in events] == [500, 500, 200]
        assert [one["data"]["last"] for one in events] == [False, False, True]
        indexes = [each["log_index"] for one in events for each in one["data"]["events"]]
        assert indexes == list(range(1_200))

    @pytest.mark.parametrize(("count", "expected"), [(499, [499]), (500, [500]), (501, [500, 1])])
    async def test_has_no_empty_part_at_its_end(
        self, rig: Rig, count: int, expected: list[int]
    ) -> None:
        await rig.chain.grow(1, MANY[:count])
        await rig.run()
        events = await rig.events()
        assert [len(one["data"]["events"]) for one in events] == expected
        assert events[-1]["data"]["last"]

    async def test_of_a_range_is_read_a_page_at_a_time(self, rig: Rig) -> None:
        await rig.chain.leap(3, MANY[:400])
        await rig.run()
        events = await rig.events()
        assert [one["type"] for one in events] == ["landbridge.range.applied.v1"] * 3 + [
            "landbridge.blocks.finalized.v1"
        ]
        assert events[0]["subject"] == "0-2"
        places = [
            (each["block_number"], each["log_index"])
            for one in events
            for each in one["data"]["events"]
        ]
        assert places == [(block, index) for block in range(3) for index in range(400)]

    async def test_of_few_but_long_events_is_cut_by_their_length(self, rig: Rig) -> None:
        lengths = [200_000] * 4 + [1_200_000, 5]
        await rig.chain.grow(1, [Note(length) for length in lengths])
        await rig.run()
        events = await rig.events()
        assert [len(one["data"]["events"]) for one in events] == [2, 2, 1, 1]
        assert [one["data"]["last"] for one in events] == [False, False, False, True]
        texts = [each["args"]["text"] for one in events for each in one["data"]["events"]]
        assert [len(text) for text in texts] == lengths

    async def test_that_is_one_long_event_is_one_part(self, rig: Rig) -> None:
        await rig.chain.grow(1, [Note(1_200_000)])
        await rig.run()
        assert [one["data"]["last"] for one in await rig.events()] == [True]

    async def test_that_ends_with_a_long_event_says_so(self, rig: Rig) -> None:
        await rig.chain.grow(1, [Note(5), Note(1_200_000)])
        await rig.run()
        assert [one["data"]["last"] for one in await rig.events()] == [False, True]


class TestSources:
    async def test_a_late_one_is_told_once_and_only_from_its_joining_on(self, rig: Rig) -> None:
        chain = rig.chain
        await chain.grow(4, finalized=2)
        await rig.run()
        await register(chain, "token", "late")
        [late] = [source for source in await chain.sources() if not source.joined]
        await chain.backfill(late, 0, 1)
        await chain.backfill(late, 2, 2)
        await rig.run()
        await chain.join(late)
        await chain.grow(1)
        await rig.run()
        told = [
            (
                one["data"]["source"],
                one["type"].split(".", 1)[1],
                [e["contract"] for e in one["data"]["events"]],
            )
            for one in (await rig.events())[4:]
        ]
        assert told == [
            (None, "blocks.finalized.v1", []),
            ("late", "range.applied.v1", ["late", "late"]),
            ("late", "range.applied.v1", ["late"]),
            ("late", "block.applied.v1", ["late"]),
            (None, "block.applied.v1", ["token", "late"]),
        ]

    async def test_rows_from_before_a_joining_do_not_speak_of_it_when_they_are_written_late(
        self, rig: Rig
    ) -> None:
        chain = rig.chain
        await chain.grow(3, finalized=0)
        await register(chain, "token", "late")
        [late] = [source for source in await chain.sources() if not source.joined]
        await chain.backfill(late, 0, 0)
        await chain.join(late)
        await chain.replace(1, 1, salt="b")
        await rig.run()
        told = [
            (one["data"]["op"], [each["contract"] for each in one["data"]["events"]])
            for one in await rig.events()
        ]
        assert told == [
            ("apply", ["token"]),
            ("apply", ["token"]),
            ("apply", ["token"]),
            ("finalize", []),
            ("apply", ["late"]),
            ("apply", ["late"]),
            ("apply", ["late"]),
            ("retract", ["token", "late"]),
            ("apply", ["token", "late"]),
        ]
        fold(await rig.events())

    async def test_a_version_that_was_replaced_is_not_told_any_more(self, rig: Rig) -> None:
        chain = rig.chain
        await chain.grow(2, finalized=0)
        await register(chain, "token", start_block=1)
        old, new = await chain.sources()
        await chain.join(new, replaces=[old])
        await chain.replace(1, 1, salt="b")
        await rig.run()
        told = [
            (one["data"]["op"], [each["table"] for each in one["data"]["events"]])
            for one in await rig.events()
        ]
        assert told == [
            ("apply", ["token_transfer"]),
            ("apply", ["token_transfer"]),
            ("finalize", []),
            ("apply", ["token_transfer__2"]),
            ("retract", ["token_transfer__2"]),
            ("apply", ["token_transfer__2"]),
        ]


class TestRest:
    async def test_ends_as_soon_as_it_is_told(self, rig: Rig) -> None:
        rig.restart(RelaySettings(poll_s=30.0))
        resting = asyncio.create_task(rig.relay.rest())
        await asyncio.sleep(0.01)
        assert not resting.done()
        rig.relay.wake.set()
        await asyncio.wait_for(resting, 5.0)

    async def test_misses_no_word_that_came_while_the_feed_was_read(self, rig: Rig) -> None:
        rig.restart(RelaySettings(poll_s=30.0))
        rig.relay.wake.set()
        assert not await rig.relay.step(rig.fence)
        await asyncio.wait_for(rig.relay.rest(), 5.0)

    async def test_ends_by_itself_because_another_process_may_write(self, rig: Rig) -> None:
        rig.restart(RelaySettings(poll_s=0.02))
        await asyncio.wait_for(rig.relay.rest(), 5.0)


async def register(chain: FeedChain, *names: str, start_block: int = 0) -> None:
    await registry.register(
        chain.owner, [token_contract(name, start_block=start_block) for name in names]
    )
