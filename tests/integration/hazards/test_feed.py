"""The feed, as consumers rely on it: in order, without gaps, and equal to the views at every number."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from indexer.errors import Retryable
from indexer.follower import FollowerSettings
from indexer.lease import Fence, fenced
from tests.conftest import Database
from tests.integration.daemon.echo import Echo, deploy
from tests.integration.daemon.indexing import WAIT_S
from tests.integration.daemon.running import eventually
from tests.integration.hazards.coin_chain import FINAL_BLOCKS, CoinChain, Moved, twin_of
from tests.integration.hazards.index import booked, coin_contract, indexing, registered
from tests.integration.hazards.lying_node import LyingNode
from tests.integration.hazards.reading import Reader, consuming, reading
from tests.integration.indexer.conftest import Following, following

ROUNDS = 12
COUNT = "UPDATE chain.cursor SET feed_seq = feed_seq + 1"
TELL = """
    INSERT INTO chain.feed (chain_id, seq, op, from_block, to_block, block_hash)
    SELECT chain_id, feed_seq, 'finalize', finalized_number, finalized_number, finalized_hash FROM chain.cursor"""


async def test_a_number_is_seen_only_after_all_lower_ones_though_two_connections_write(
    database: Database, chain: CoinChain, node: LyingNode
) -> None:
    async with (
        indexing(database, chain, node.url) as index,
        consuming(database.owner_dsn, chain.chain_id) as seen,
    ):
        await index.settle()
        seq = await index.reader.seq()
        await chain.block(500)
        async with fenced(index.books.pool, index.books.fence) as slow:
            # It has its number, and has not committed.
            await slow.execute(COUNT)
            await slow.execute(TELL)
            fast = asyncio.create_task(index.following.step())
            await waits_for_a_lock(index.reader)
            assert await index.reader.feed(seq) == []
        assert (await fast).applied_blocks == 1
        told = [(one.seq - seq, one.op) for one in await index.reader.feed(seq)]
        assert told[:2] == [(1, "finalize"), (2, "apply")]
        await have_been_seen(seen, await index.reader.seq())


async def waits_for_a_lock(reader: Reader) -> None:
    async def look() -> bool:
        return bool(
            await reader.connection.fetchval(
                """SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock')"""
            )
        )

    await eventually("the other writer waits", look, WAIT_S)


async def have_been_seen(seen: list[int], seq: int) -> None:
    async def look() -> bool:
        return bool(seen) and seen[-1] >= seq

    await eventually(f"the consumer has read up to {seq}", look, WAIT_S)


async def test_two_followers_at_once_leave_no_gap_and_nothing_twice(
    database: Database, chain: CoinChain, node: LyingNode, second_node: LyingNode
) -> None:
    async with (
        indexing(database, chain, node.url) as index,
        consuming(database.owner_dsn, chain.chain_id) as seen,
        following(
            index.books,
            [coin_contract(chain.chain_id, chain.coin)],
            second_node.url,
            settings=FollowerSettings(chain.chain_id),
        ) as rival,
    ):
        await index.settle()
        for number in range(ROUNDS):
            await chain.block(510 + number)
            if number % 3 == 2:
                await chain.reorg(2)
            await asyncio.gather(*(tried(one) for one in (index.following, rival)))
        await index.settle()
        assert await index.reader.agrees_with(chain)
        await have_been_seen(seen, await index.reader.seq())


async def tried(one: Following) -> None:
    """One step; it may be too late."""
    with suppress(Retryable):
        await one.step()


@dataclass
class Record:
    """``shown``: what the views of each coin had at each number of the feed."""

    reader: Reader
    fence: Fence
    shown: dict[int, dict[str, list[Moved]]] = field(default_factory=dict)

    async def settle(self, index: Following) -> None:
        """Step until there is nothing to do, and look after every step."""
        more = True
        while more:
            more = (await index.step()).more
            await self.look()
            more = await index.backfill.step(self.fence) or more
            await self.look()

    async def look(self) -> None:
        async with self.reader.connection.transaction(isolation="repeatable_read", readonly=True):
            seq = await self.reader.seq()
            self.shown[seq] = {
                coin: await self.reader.transfers(coin) for coin in self.reader.coins
            }


async def test_the_feed_replayed_over_branches_that_come_back_and_a_late_contract_is_the_view_at_every_number(
    database: Database, chain: CoinChain, node: LyingNode
) -> None:
    late = await deploy(chain.anvil)
    contracts = [
        coin_contract(chain.chain_id, chain.coin),
        coin_contract(chain.chain_id, late, "late"),
    ]
    await both(chain, late, [600])
    await registered(database, contracts[0])
    settings = FollowerSettings(chain.chain_id)
    async with (
        booked(database, chain.chain_id) as books,
        reading(database.owner_dsn, chain.chain_id, "coin") as reader,
        twin_of(chain) as twin,
    ):
        record = Record(reader, books.fence)
        async with following(books, contracts[:1], node.url, settings=settings) as alone:
            await both(chain, late, [601, 602, 603])
            await record.settle(alone)
            await both(twin, replace(late, chain=twin.anvil), [604, 605, 606, 607])
            await node.show(twin.anvil)
            await record.settle(alone)
        # The late contract joins on a branch that goes, above blocks that come back without its rows.
        await registered(database, *contracts)
        record.reader = replace(reader, coins=("coin", "late"))
        async with following(books, contracts, node.url, settings=settings) as together:
            await record.settle(together)
            await node.show(chain.anvil)
            await both(chain, late, [608, 609])
            await record.settle(together)
            await chain.reorg(1)
            await both(chain, late, range(610, 610 + FINAL_BLOCKS))
            await record.settle(together)
        assert await record.reader.agrees_with(chain)
        told = [one for one in await record.reader.feed() if one.op == "retract"]
        assert len(told) == 3 + 4 + 1
        assert record.shown[await reader.seq()]["late"] != []
        for seq, shown in record.shown.items():
            replayed = await record.reader.replayed(seq)
            assert replayed == {"late": [], **shown}, seq


async def both(chain: CoinChain, late: Echo, numbers: Iterable[int]) -> None:
    """A block for each number, with a transfer of either coin."""
    for number in numbers:
        await late.transfer(number)
        await chain.block(number)
