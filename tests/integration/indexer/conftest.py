"""A follower on a database of its own, of a scripted node or of Anvil."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest_asyncio

from indexer import lease, tables
from indexer.abi import Abi
from indexer.contract import Contract
from indexer.follower import ROLE, Follower, FollowerSettings, StepResult
from indexer.lease import Fence
from indexer.rpc import Rpc
from tests.conftest import Database
from tests.integration.indexer.scripted_node import ABI, CHAIN_ID, TOKEN, ScriptedNode, serving

LEASE_TTL_S = 600.0


@dataclass
class Books:
    """One database as its owner and as the daemon, with the lease held."""

    owner: asyncpg.Connection
    pool: asyncpg.Pool
    fence: Fence

    async def events(self, table: str = "token_sent") -> list[asyncpg.Record]:
        """What a downstream reader sees, in one statement."""
        return await self.owner.fetch(f"SELECT * FROM v1.{table} ORDER BY block_number, log_index")

    async def hashes(self) -> list[bytes]:
        """Our canonical chain, lowest first."""
        rows = await self.owner.fetch(
            "SELECT hash FROM chain.block WHERE canonical ORDER BY number"
        )
        return [row["hash"] for row in rows]

    async def snapshot(self) -> dict[str, list[asyncpg.Record]]:
        """Everything that a follower writes."""
        tables = ("chain.cursor", "chain.block", "chain.log", "chain.feed", "chain.reorg")
        return {
            table: await self.owner.fetch(f"SELECT * FROM {table} t ORDER BY t::text")
            for table in (*tables, "event.token_sent")
        }


@pytest_asyncio.fixture(loop_scope="session")
async def books(database: Database) -> AsyncIterator[Books]:
    owner = await asyncpg.connect(database.owner_dsn)
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=4) as pool:
        fence = await lease.acquire(owner, ROLE, "the test", LEASE_TTL_S)
        assert fence is not None
        yield Books(owner, pool, fence)
    await owner.close()


class Following:
    """A follower that steps under the books' own fence."""

    def __init__(self, follower: Follower, fence: Fence) -> None:
        self.follower = follower
        self._fence = fence

    async def step(self) -> StepResult:
        return await self.follower.step(self._fence)


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[ScriptedNode]:
    async with serving(ScriptedNode()) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def follower(books: Books, node: ScriptedNode) -> AsyncIterator[Following]:
    """Follows the scripted node from genesis."""
    await tables.create(books.owner, "token", ABI)
    async with Rpc(node.url) as rpc:
        yield new_follower(books, rpc)


def new_follower(
    books: Books,
    rpc: Rpc,
    *,
    address: bytes = TOKEN,
    abi: Abi = ABI,
    settings: FollowerSettings | None = None,
) -> Following:
    settings = settings or FollowerSettings(CHAIN_ID, start_block=0)
    contracts = [Contract.from_abi("token", address, abi)]
    return Following(Follower(books.pool, rpc, contracts, settings), books.fence)


@pytest_asyncio.fixture(loop_scope="session")
async def database_reader(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A downstream reader: sees the schema v1 and nothing else."""
    connection = await asyncpg.connect(database.owner_dsn)
    await connection.execute("SET ROLE landbridge_reader")
    yield connection
    await connection.close()
