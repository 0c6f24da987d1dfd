"""The chain changes while nobody looks, and the process dies while it follows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.daemon.indexing import WAIT_S
from tests.integration.daemon.running import eventually
from tests.integration.hazards.coin_chain import FINAL_BLOCKS, CoinChain, Moved
from tests.integration.hazards.live import Live
from tests.integration.hazards.reading import Reader, reading
from tests.integration.hazards.test_reorgs import applied, retracted

KILLS = 2
SEED = 20


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
async def test_of_a_reorg_while_down_only_the_fork_is_rolled_back(live: Live, end: str) -> None:
    await live.chain.blocks(70, 71)
    fork = await live.chain.head()
    old = await live.chain.blocks(72, 73, 74)
    await live.agrees()
    seq = await live.reader.seq()
    kept = [one for one in await live.reader.transfers() if one.block_number <= fork]
    if end == "SIGTERM":
        assert await live.daemon.stop() == 0
    else:
        await live.daemon.kill()
    await live.chain.reorg(3)
    await live.chain.blocks(75, 76)
    async with watching(live) as seen:
        await live.daemon.start()
        await live.agrees()
    assert all(rows[: len(kept)] == kept for rows in seen), "a reader saw rows go that had to stay"
    new = await live.chain.hashes(fork + 1)
    assert await live.reader.changes(seq) == [*retracted(*old), *applied(*new)]


@asynccontextmanager
async def watching(live: Live) -> AsyncIterator[list[list[Moved]]]:
    """All that a reader sees meanwhile, who asks again and again with one statement."""
    seen: list[list[Moved]] = []

    async def watch(reader: Reader) -> None:
        while True:
            seen.append(await reader.transfers())
            await asyncio.sleep(0.005)

    async with reading(live.database.owner_dsn, live.chain.chain_id) as reader:
        task = asyncio.create_task(watch(reader))
        try:
            yield seen
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_kill_at_any_moment_leaves_the_place_and_the_data_of_one_commit(
    live: Live,
) -> None:
    """The cursor is the checkpoint: what it says is what is there, whenever the process dies."""
    chance = random.Random(SEED)
    history = History(live.chain)
    await history.note(await live.chain.head())
    for _ in range(KILLS):
        seq = await live.reader.seq()
        async with history.going_on(chance):
            await something_new(live, seq)
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            await live.daemon.kill()
        await expect_whole_commits(live.reader, history)
        await live.daemon.start()
    await live.agrees()


async def something_new(live: Live, seq: int) -> None:
    async def look() -> bool:
        return await live.reader.seq() > seq

    await eventually("the daemon follows", look, WAIT_S, live.daemon.tail)


class History:
    """A chain that goes on by itself, and all blocks that it ever had."""

    def __init__(self, chain: CoinChain) -> None:
        self._chain = chain
        self._value = 1000
        self.blocks: dict[bytes, list[Moved]] = {}

    async def note(self, newest: int = 2 * FINAL_BLOCKS) -> None:
        """Take down so many blocks as they are now, with their transfers."""
        transfers = await self._chain.transfers()
        for block_hash in await self._chain.hashes(max(0, await self._chain.head() - newest)):
            self.blocks[block_hash] = [one for one in transfers if one.block_hash == block_hash]

    @asynccontextmanager
    async def going_on(self, chance: random.Random) -> AsyncIterator[None]:
        """New blocks and reorgs, one after the other, until whoever asked for them has done."""
        ended = asyncio.Event()

        async def go_on() -> None:
            while not ended.is_set():
                for _ in range(chance.randint(1, 4)):
                    self._value += 1
                    await self._chain.block(self._value)
                await self.note()
                await asyncio.sleep(chance.uniform(0.0, 0.1))
                await self._chain.reorg(chance.randint(1, 4))
                await self.note()

        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            ended.set()
            await task


async def expect_whole_commits(reader: Reader, history: History) -> None:
    """Each block that we believe in has all its rows; cursor, blocks and feed tell of the same head."""
    assert await reader.is_one_branch()
    rows = await reader.transfers()
    for block_hash in await reader.hashes():
        assert [one for one in rows if one.block_hash == block_hash] == history.blocks[block_hash]
    assert (await reader.replayed(await reader.seq()))["coin"] == rows
    assert [row.seq for row in await reader.feed()][-1] == await reader.seq()
