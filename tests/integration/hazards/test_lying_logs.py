"""A node that leaves logs out, or says of them what is not so. One step of the follower after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from indexer.errors import LogsMissing, ReceiptsForged
from indexer.follower import Follower, FollowerSettings
from indexer.heads import Heads
from indexer.provider import ProviderSettings
from indexer.providers import Providers
from tests.conftest import Database
from tests.integration.hazards import lies
from tests.integration.hazards.coin_chain import CoinChain
from tests.integration.hazards.index import PATIENCE_S, coin_contract, indexing
from tests.integration.hazards.lying_node import Lie, LyingNode


async def test_logs_returned_empty_for_a_lost_block_are_never_stored_as_no_events(
    database: Database, chain: CoinChain, node: LyingNode
) -> None:
    async with indexing(database, chain, node.url) as index:
        await index.following.settle()
        before = await index.reader.written()
        await chain.block(10)
        with node.telling(lies.no_logs(), lies.no_receipts()):
            for _ in range(3):
                with pytest.raises(LogsMissing):
                    await index.following.step()
        assert node.told[lies.LOGS] == node.told[lies.RECEIPTS] == 3
        assert await index.reader.written() == before
        await index.following.settle()
        assert await index.reader.agrees_with(chain)


async def test_logs_returned_empty_are_made_good_by_the_receipts(
    database: Database, chain: CoinChain, node: LyingNode
) -> None:
    async with indexing(database, chain, node.url) as index:
        await index.following.settle()
        await chain.blocks(20, 21)
        with node.telling(lies.no_logs()):
            await index.following.settle()
            assert await index.reader.agrees_with(chain)
        assert node.told[lies.LOGS] > 0


async def test_a_second_provider_is_asked_where_the_first_has_lost_logs(
    database: Database, chain: CoinChain, node: LyingNode, second_node: LyingNode
) -> None:
    async with indexing(database, chain, node.url, second_node.url) as index:
        await index.following.settle()
        await chain.block(30)
        with node.telling(lies.no_logs(), lies.no_receipts()):
            with pytest.raises(LogsMissing):
                await index.following.step()
            await index.following.settle()
            assert await index.reader.agrees_with(chain)


async def test_heads_pushed_by_a_provider_that_has_lost_logs_are_not_followed_by_it_again(
    database: Database, chain: CoinChain, node: LyingNode, second_node: LyingNode
) -> None:
    """It pushes head after head; each would be another failed step."""
    settings = [
        ProviderSettings("first", "first", node.url, node.ws_url),
        ProviderSettings("second", "second", second_node.url),
    ]
    async with (
        indexing(database, chain, second_node.url) as index,
        Providers(settings) as providers,
        listening(Heads(providers.all)) as heads,
    ):
        await index.settle()
        contracts = [coin_contract(chain.chain_id, chain.coin)]
        pool, fence = index.books.pool, index.books.fence
        follower = Follower(pool, providers, contracts, FollowerSettings(chain.chain_id), heads)
        while not heads.facts().connected:
            await follower.step(fence)
            await asyncio.sleep(0.01)
        with node.telling(lies.no_logs(), lies.no_receipts()):
            await chain.block(35)
            assert await heads.wait(PATIENCE_S)
            with pytest.raises(LogsMissing):
                await follower.step(fence)
            await chain.block(36)
            assert await heads.wait(PATIENCE_S)
            while (await follower.step(fence)).more:
                pass
            assert await index.reader.agrees_with(chain)


@asynccontextmanager
async def listening(heads: Heads) -> AsyncIterator[Heads]:
    task = asyncio.create_task(heads.run())
    try:
        yield heads
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_some_logs_left_out_of_a_block_are_seen_by_the_receipts_root(
    database: Database, chain: CoinChain, node: LyingNode
) -> None:
    async with indexing(database, chain, node.url, verify="full") as index:
        await index.following.settle()
        before = await index.reader.written()
        await chain.block(40, 41, 42)
        with node.telling(lies.receipts_without_last_log()), pytest.raises(ReceiptsForged):
            await index.following.step()
        assert await index.reader.written() == before
        await index.following.settle()
        assert await index.reader.agrees_with(chain)


@pytest.mark.parametrize("lie", [lies.all_removed, lies.removed_not_told])
async def test_removed_is_never_relied_on(
    database: Database, chain: CoinChain, node: LyingNode, lie: Callable[[], Lie]
) -> None:
    """Whether it is said of logs that stand, or not said of those that a reorg took away."""
    async with indexing(database, chain, node.url) as index:
        with node.telling(lie()):
            await chain.blocks(50, 51, 52)
            await index.following.settle()
            assert node.told[lies.LOGS] > 0
            assert await index.reader.agrees_with(chain)
            await chain.reorg(2)
            await chain.block(53)
            await index.following.settle()
            assert await index.reader.agrees_with(chain)
