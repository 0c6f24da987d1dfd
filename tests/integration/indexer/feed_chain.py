"""A chain that a test writes by itself, without a node: blocks, reorgs, ranges and joinings, by the same
functions that the follower and the backfill call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import asyncpg

from indexer import cursor as cursors
from indexer import lease, registry, sources, writer
from indexer.block import BlockRef, Header
from indexer.change import Block, Change, FeedEntry, Joining, Leap, Retraction
from indexer.contract import Contract
from indexer.cursor import Cursor
from indexer.keccak import keccak
from indexer.lease import Fence, fenced
from indexer.recorder import Recorder
from indexer.rows import Rows
from indexer.source import Source
from indexer.wire import Log

CHAIN_ID = 4242
TOKEN = bytes([0x70]) * 20
TRANSFER = keccak(b"Transfer(address,address,uint256)")
NOTED = keccak(b"Noted(string)")
TIME_0_S = 1_700_000_000
TTL_S = 600.0
ABI: list[dict[str, object]] = [
    {
        "type": "event",
        "name": "Transfer",
        "inputs": [
            {"name": "from", "type": "address", "indexed": True},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
        ],
    },
    {
        "type": "event",
        "name": "Paused",
        "inputs": [{"name": "account", "type": "address", "indexed": False}],
    },
    {
        "type": "event",
        "name": "Noted",
        "inputs": [{"name": "text", "type": "string", "indexed": False}],
    },
]


class Emission(Protocol):
    """What a contract writes into its log."""

    @property
    def topics(self) -> Sequence[bytes]: ...

    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True)
class Transfer:
    """``sender`` and ``receiver`` are numbers that stand for addresses."""

    sender: int
    receiver: int
    value: int

    @property
    def topics(self) -> Sequence[bytes]:
        return (TRANSFER, bytes(12) + address(self.sender), bytes(12) + address(self.receiver))

    @property
    def data(self) -> bytes:
        return word(self.value)


@dataclass(frozen=True)
class Note:
    """A text of that many characters."""

    length: int

    @property
    def topics(self) -> Sequence[bytes]:
        return (NOTED,)

    @property
    def data(self) -> bytes:
        return word(32) + word(self.length) + b"x" * self.length + bytes(-self.length % 32)


@dataclass(frozen=True)
class Emitted:
    """Anything."""

    topics: Sequence[bytes]
    data: bytes


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def token_contract(
    name: str = "token", *, start_block: int = 0, chain_id: int = CHAIN_ID
) -> Contract:
    return Contract.from_abi(name, chain_id, ABI, (TOKEN,), start_block=start_block)


def address(number: int) -> bytes:
    return number.to_bytes(20, "big")


@dataclass
class FeedChain:
    """Transfers of one token, and what the sources that have joined make of them."""

    owner: asyncpg.Connection
    pool: asyncpg.Pool
    fence: Fence
    chain_id: int = CHAIN_ID
    headers: list[Header] = field(default_factory=list)
    logs: dict[bytes, list[Log]] = field(default_factory=dict)

    @property
    def head(self) -> BlockRef | None:
        return self.headers[-1].ref if self.headers else None

    async def open(self, *contracts: Contract, start_block: int = 0) -> None:
        """Begin the chain; ``contracts`` are there from the start."""
        await registry.register(self.owner, contracts)
        await cursors.open_chain(
            self.pool, self.fence, self.chain_id, keccak(b"genesis"), start_block
        )
        for source in await self.sources():
            await self.join(source)

    async def sources(self) -> list[Source]:
        return await sources.live(self.owner, self.chain_id, [])

    async def joined(self) -> list[Source]:
        return [source for source in await self.sources() if source.joined]

    def make(self, emitted: Sequence[Emission], salt: str, parent: Header | None) -> Header:
        """A block; one that was there before comes back with what it had."""
        number = 0 if parent is None else parent.number + 1
        parent_hash = bytes(32) if parent is None else parent.hash
        block_hash = keccak(parent_hash + salt.encode())
        made = [
            Log(
                address="0x" + TOKEN.hex(),
                topics=tuple("0x" + topic.hex() for topic in one.topics),
                data="0x" + one.data.hex(),
                block_hash="0x" + block_hash.hex(),
                block_number=hex(number),
                transaction_hash="0x" + keccak(f"{salt} {number}".encode()).hex(),
                transaction_index="0x0",
                log_index=hex(index),
            )
            for index, one in enumerate(emitted)
        ]
        self.logs.setdefault(block_hash, made)
        return Header(number, block_hash, parent_hash, TIME_0_S + number, bytes(256))

    async def grow(
        self,
        count: int = 1,
        emitted: Sequence[Emission] = (Transfer(1, 2, 10**30),),
        *,
        salt: str = "a",
        finalized: int | None = None,
    ) -> Cursor:
        """Blocks on top, each with these emitted, in one commit."""
        return await self.replace(0, count, emitted, salt=salt, finalized=finalized)

    async def replace(
        self,
        depth: int,
        count: int,
        emitted: Sequence[Emission] = (Transfer(1, 2, 10**30),),
        *,
        salt: str,
        finalized: int | None = None,
    ) -> Cursor:
        """A reorg: the newest ``depth`` blocks give way to ``count`` others."""
        based_on = self.head
        kept = self.headers[: len(self.headers) - depth]
        ancestor = kept[-1] if kept else None
        new: list[Header] = []
        for _ in range(count):
            new.append(self.make(emitted, salt, new[-1] if new else ancestor))
        self.headers = kept + new
        final = (
            None
            if finalized is None
            else next(header.ref for header in self.headers if header.number == finalized)
        )
        return await writer.write(
            self.pool,
            self.fence,
            await self.joined(),
            Change(
                chain_id=self.chain_id,
                based_on=based_on,
                retraction=Retraction(ancestor.ref if ancestor else None) if depth else None,
                blocks=tuple([Block(header, await self.rows([header])) for header in new]),
                finalized=final,
                safe_number=None,
                node_head_number=self.headers[-1].number,
            ),
        )

    async def leap(
        self, count: int, emitted: Sequence[Emission] = (Transfer(1, 2, 10**30),)
    ) -> Cursor:
        """Blocks on top that are final already, in one row of the feed."""
        based_on, new = self.head, list[Header]()
        for _ in range(count):
            parent = new[-1] if new else (self.headers[-1] if self.headers else None)
            new.append(self.make(emitted, "leap", parent))
        rows = await self.rows(new)
        self.headers += new
        sources = tuple(await self.joined())
        return await writer.write_leap(
            self.pool,
            self.fence,
            Leap(self.chain_id, based_on, (new[-1],), sources, rows, new[-1].number),
        )

    async def backfill(self, source: Source, first: int, last: int) -> None:
        """Cover a range of final blocks for a source that has not joined."""
        rows = await self.rows(self.headers[first : last + 1], [source])
        await writer.write_range(self.pool, self.fence, [source], first, last, rows)

    async def join(self, source: Source, *, replaces: Sequence[Source] = ()) -> Cursor:
        """Let a source join behind its coverage."""
        covered = await self.owner.fetch(
            "SELECT from_block, to_block FROM chain.coverage WHERE source_id = $1 ORDER BY from_block",
            source.source_id,
        )
        if covered:
            source = replace(source, covered_to=covered[-1]["to_block"])
        first = source.next_block
        missing = [header for header in self.headers if header.number >= first]
        return await writer.write_join(
            self.pool,
            self.fence,
            Joining(
                source=source,
                head=self.head,
                coverage=tuple(
                    FeedEntry("apply", row["from_block"], row["to_block"], None, source.source_id)
                    for row in covered
                ),
                blocks=tuple([Block(one, await self.rows([one], [source])) for one in missing]),
                replaced=tuple(one.source_id for one in replaces),
            ),
        )

    async def rows(self, headers: Sequence[Header], of: Sequence[Source] | None = None) -> Rows:
        recorder = Recorder(await self.joined() if of is None else of)
        times = {"0x" + header.hash.hex(): header.timestamp_s for header in headers}
        return recorder.record([log for one in headers for log in self.logs[one.hash]], times)


@asynccontextmanager
async def feed_chain(
    owner_dsn: str, daemon_dsn: str, *, chain_id: int = CHAIN_ID
) -> AsyncIterator[FeedChain]:
    """A chain that is not opened yet, with its lease."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        async with asyncpg.create_pool(daemon_dsn, min_size=2, max_size=6) as pool:
            fence = await lease.acquire(owner, f"follow:{chain_id}", "the test", TTL_S)
            assert fence is not None
            yield FeedChain(owner, pool, fence, chain_id)
    finally:
        await owner.close()


async def publish(chain: FeedChain, source: Source) -> None:
    """Show a source's rows in the schema v1."""
    async with fenced(chain.pool, chain.fence) as connection:
        await connection.execute("SELECT chain.publish($1)", source.source_id)
