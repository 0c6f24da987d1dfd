"""What a downstream reader sees of a coin, and what the feed says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import asyncpg

from tests.integration.hazards.coin_chain import CoinChain, Moved

POLL_S = 0.02
WRITTEN = ("chain.cursor", "chain.block", "chain.feed", "chain.reorg", "chain.coverage")


class Told(NamedTuple):
    """A row of the feed."""

    seq: int
    op: str
    from_block: int
    to_block: int
    block_hash: bytes | None
    contracts: tuple[str, ...]

    @property
    def is_block(self) -> bool:
        return self.from_block == self.to_block and self.block_hash is not None


@dataclass(frozen=True, slots=True)
class Reader:
    """A connection of its own. ``coins`` are the names of contracts, each with transfers."""

    connection: asyncpg.Connection
    chain_id: int
    coins: tuple[str, ...] = ("coin",)

    async def transfers(self, coin: str = "coin", suffix: str = "") -> list[Moved]:
        """In one statement."""
        return _moved(
            await self.connection.fetch(
                f"""SELECT block_number, block_hash, log_index, tx_hash, value
                    FROM v1.{coin}_transfer{suffix} ORDER BY block_number, log_index"""
            )
        )

    async def feed(self, after: int = 0) -> list[Told]:
        rows = await self.connection.fetch(
            """SELECT seq, op, from_block, to_block, block_hash, contracts FROM v1.feed
               WHERE chain_id = $1 AND seq > $2 ORDER BY seq""",
            self.chain_id,
            after,
        )
        return [
            Told(
                seq=row["seq"],
                op=row["op"],
                from_block=row["from_block"],
                to_block=row["to_block"],
                block_hash=row["block_hash"],
                contracts=tuple(row["contracts"]),
            )
            for row in rows
        ]

    async def changes(self, after: int) -> list[tuple[str, bytes | None]]:
        """What the feed told since then of single blocks, without what became final."""
        return [(one.op, one.block_hash) for one in await self.feed(after) if one.op != "finalize"]

    async def seq(self) -> int:
        """The newest number of the feed; 0 before the first."""
        found = await self.connection.fetchval(
            "SELECT feed_seq FROM v1.finality WHERE chain_id = $1", self.chain_id
        )
        return int(found or 0)

    async def hashes(self) -> list[bytes]:
        """The blocks that we believe in, as far down as they were read one by one."""
        rows = await self.connection.fetch(
            "SELECT hash FROM chain.block WHERE chain_id = $1 AND canonical ORDER BY number",
            self.chain_id,
        )
        return [row["hash"] for row in rows]

    async def is_one_branch(self) -> bool:
        """Whether each block that we believe in is the parent of the next one, up to our head, and each row above the
        first is of one of them. What the chain is by now does not matter."""
        blocks = await self.connection.fetch(
            """SELECT number, hash, parent_hash FROM chain.block
               WHERE chain_id = $1 AND canonical ORDER BY number""",
            self.chain_id,
        )
        head = await self.connection.fetchval(
            "SELECT head_hash FROM chain.cursor WHERE chain_id = $1", self.chain_id
        )
        if not blocks:
            return head is None
        first, ours = blocks[0]["number"], {block["hash"] for block in blocks}
        rows = [one for coin in self.coins for one in await self.transfers(coin)]
        return (
            blocks[-1]["hash"] == head
            and all(above["parent_hash"] == below["hash"] for below, above in pairwise(blocks))
            and all(one.block_hash in ours for one in rows if one.block_number >= first)
        )

    async def written(self) -> dict[str, list[str]]:
        """Everything that following writes, as text."""
        tables = [*WRITTEN, *(f"event.{coin}_transfer" for coin in self.coins)]
        return {
            table: [
                row[0]
                for row in await self.connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")
            ]
            for table in tables
        }

    async def agrees_with(self, chain: CoinChain) -> bool:
        """Whether head, blocks and rows are those of the chain, and the feed tells the same."""
        async with self.connection.transaction(isolation="repeatable_read", readonly=True):
            linked, hashes = await self.is_one_branch(), await self.hashes()
            rows, told = await self.transfers(), await self.replayed(await self.seq())
        return (
            linked
            and hashes[-1:] == [await chain.head_hash()]
            and rows == await chain.transfers()
            and told["coin"] == rows
        )

    async def replayed(self, up_to: int) -> dict[str, list[Moved]]:
        """Each coin's rows as a consumer has them who has read the feed up to there, by what `readers.md` says."""
        believed: dict[str, set[Moved]] = {coin: set() for coin in self.coins}
        history = {coin: await self.transfers(coin, "_history") for coin in self.coins}
        canonical = {coin: await self.transfers(coin) for coin in self.coins}
        for row in await self.feed():
            if row.seq > up_to or row.op == "finalize":
                continue
            for coin in set(self.coins) & set(row.contracts):
                rows = history[coin] if row.is_block else canonical[coin]
                named = {one for one in rows if names(row, one)}
                if row.op == "apply":
                    assert believed[coin].isdisjoint(named)
                    believed[coin] |= named
                else:
                    assert believed[coin] >= named
                    believed[coin] -= named
        return {coin: sorted(rows) for coin, rows in believed.items()}


def names(row: Told, one: Moved) -> bool:
    """Whether a row of the feed speaks of this transfer."""
    if row.is_block:
        return (one.block_number, one.block_hash) == (row.to_block, row.block_hash)
    return row.from_block <= one.block_number <= row.to_block


def _moved(rows: Sequence[asyncpg.Record]) -> list[Moved]:
    return [
        Moved(
            block_number=row["block_number"],
            block_hash=row["block_hash"],
            log_index=row["log_index"],
            tx_hash=row["tx_hash"],
            value=int(row["value"]),
        )
        for row in rows
    ]


@asynccontextmanager
async def reading(url: str, chain_id: int, *coins: str) -> AsyncIterator[Reader]:
    """As a role that may see everything, so that it can be told that nothing was written."""
    connection = await asyncpg.connect(url)
    try:
        yield Reader(connection, chain_id, coins or ("coin",))
    finally:
        await connection.close()


@asynccontextmanager
async def consuming(url: str, chain_id: int) -> AsyncIterator[list[int]]:
    """Asks for rows past the last one all the while, on a connection of its own; the numbers that it was given.
    They must be without a gap at every moment, which is asserted at the end."""
    connection = await asyncpg.connect(url)
    seen: list[int] = []

    async def ask() -> None:
        while True:
            rows = await connection.fetch(
                "SELECT seq FROM v1.feed WHERE chain_id = $1 AND seq > $2 ORDER BY seq",
                chain_id,
                seen[-1] if seen else 0,
            )
            seen.extend(row["seq"] for row in rows)
            await asyncio.sleep(POLL_S)

    task = asyncio.create_task(ask())
    try:
        yield seen
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()
    assert seen == list(range(1, len(seen) + 1))
