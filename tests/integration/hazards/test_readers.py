"""Readers who ask with single statements while two hundred blocks are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.conftest import Database
from tests.integration.hazards.coin_chain import CoinChain, coin_chain
from tests.integration.hazards.index import Index, indexing

DEPTH = 200
# Each fourth of these blocks has a transfer.
EVERY = 4
# So that nothing of what is replaced is final: twice as many blocks below the head.
SLOTS = DEPTH
PAUSE_S = 0.01
# One has the rows with the head that they belong to, the other has Postgres add them up.
ROWS = """
    SELECT f.head_hash, t.block_hash, t.tx_hash, t.value
    FROM v1.finality f CROSS JOIN v1.coin_transfer t ORDER BY t.block_number, t.log_index"""
SUMS = """
    SELECT f.head_hash, sum(t.value) AS total, count(DISTINCT t.block_hash) AS blocks
    FROM v1.finality f CROSS JOIN v1.coin_transfer t GROUP BY f.head_hash"""

Seen = list[list[asyncpg.Record]]


async def test_readers_of_single_statements_see_no_mixture_while_200_blocks_are_replaced(
    database: Database,
) -> None:
    async with (
        coin_chain(4444, slots=SLOTS) as chain,
        indexing(database, chain, chain.anvil.url) as index,
    ):
        first = await chain.head()
        for value in range(1, DEPTH // EVERY + 1):
            await chain.block(value)
            await chain.anvil.rpc("anvil_mine", hex(EVERY - 1))
        await index.settle()
        truth, old = await known(chain, first), await chain.head_hash()
        await mine_in_pairs(chain)
        truth |= await known(chain, first)
        new = await chain.head_hash()
        async with watching(database, ROWS) as rows, watching(database, SUMS) as sums:
            await roll_back(index)
        assert await index.reader.agrees_with(chain)
    for look in rows:
        (head,) = {row["head_hash"] for row in look}
        assert [(row["block_hash"], int(row["value"])) for row in look] == truth[head]
    for (row,) in sums:
        wanted = truth[row["head_hash"]]
        assert (int(row["total"]), row["blocks"]) == (
            sum(value for _, value in wanted),
            len({block_hash for block_hash, _ in wanted}),
        )
    for seen in (rows, sums):
        assert {old, new} <= {look[0]["head_hash"] for look in seen}


async def mine_in_pairs(chain: CoinChain) -> None:
    """All transactions of the newest blocks are mined again, two in a block: other blocks, other places."""
    transfers = (await chain.transfers())[-DEPTH // EVERY :]
    raw = [await chain.raw(one.tx_hash) for one in transfers]
    await chain.reorg(DEPTH, *((one, place // 2) for place, one in enumerate(raw)))


async def known(chain: CoinChain, first: int) -> dict[bytes, list[tuple[bytes, int]]]:
    """By the hash of each block from there on: block and value of all transfers up to it."""
    transfers, found = await chain.transfers(), {}
    for number, block_hash in enumerate(await chain.hashes(first), start=first):
        found[block_hash] = [
            (one.block_hash, one.value) for one in transfers if one.block_number <= number
        ]
    return found


async def roll_back(index: Index) -> None:
    first = await index.following.step()
    assert (first.kind, first.retracted_blocks, first.more) == ("rolled_back", DEPTH, True)
    await index.settle()


@asynccontextmanager
async def watching(database: Database, statement: str) -> AsyncIterator[Seen]:
    """What is seen before, all the while, and after."""
    connection = await asyncpg.connect(database.owner_dsn)
    await connection.execute("SET ROLE landbridge_reader")
    seen: Seen = []
    ended = asyncio.Event()

    async def look() -> None:
        while not ended.is_set():
            seen.append(await connection.fetch(statement))
            await asyncio.sleep(PAUSE_S)
        seen.append(await connection.fetch(statement))

    seen.append(await connection.fetch(statement))
    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        ended.set()
        await task
        await connection.close()
