"""A follower on a database of its own, of a scripted node or of Anvil."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest_asyncio

from indexer import lease, registry
from indexer.abi import Abi
from indexer.backfill import Backfill
from indexer.contract import Contract, Options
from indexer.follower import Follower, FollowerSettings, role
from indexer.heads import Heads
from indexer.lease import Fence
from indexer.pool import open_pool
from indexer.provider import ProviderSettings
from indexer.providers import Providers
from indexer.step_result import StepResult
from tests.conftest import Database
from tests.integration.indexer.scripted_node import ABI, CHAIN_ID, TOKEN, ScriptedNode, serving

LEASE_TTL_S = 600.0
RAW = Options(raw=True)


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
    # The daemon's own: asyncpg's waits for ever at its end for a connection that it found to be lost.
    pool = await open_pool(
        database.daemon_dsn,
        min_size=1,
        max_size=4,
        timeout_s=30,
        command_timeout_s=30,
        lock_timeout="10000",
    )
    async with pool:
        fence = await lease.acquire(owner, role(CHAIN_ID), "the test", LEASE_TTL_S)
        assert fence is not None
        yield Books(owner, pool, fence)
    await owner.close()


class Following:
    """A follower and its backfill, which step under the books' own fence."""

    def __init__(self, follower: Follower, backfill: Backfill, fence: Fence) -> None:
        self.follower = follower
        self.backfill = backfill
        self._fence = fence

    async def step(self) -> StepResult:
        return await self.follower.step(self._fence)

    async def settle(self) -> StepResult:
        """Step until there is nothing more to do; answers with the last step that the follower made."""
        while True:
            result = await self.step()
            filled = await self.backfill.step(self._fence)
            if not filled and not result.more:
                return result


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[ScriptedNode]:
    async with serving(ScriptedNode()) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def follower(books: Books, node: ScriptedNode) -> AsyncIterator[Following]:
    """Follows the scripted node from genesis; the token has joined, and no block has been read."""
    contract = token_contract()
    await registry.register(books.owner, [contract])
    async with following(books, [contract], node.url) as found:
        assert (await found.step()).kind == "joined"
        yield found


def token_contract(
    address: bytes = TOKEN,
    abi: Abi = ABI,
    *,
    chain_id: int = CHAIN_ID,
    start_block: int | None = 0,
    options: Options = RAW,
) -> Contract:
    return Contract.from_abi(
        "token", chain_id, abi, (address,), start_block=start_block, options=options
    )


@asynccontextmanager
async def following(
    books: Books,
    contracts: Sequence[Contract],
    *urls: str,
    settings: FollowerSettings | None = None,
    heads: Heads | None = None,
) -> AsyncIterator[Following]:
    """A follower of the nodes at these URLs, each of an operator of its own."""
    settings = settings or FollowerSettings(CHAIN_ID)
    nodes = [
        ProviderSettings(name=f"node{place}", operator=f"operator{place}", http_url=url)
        for place, url in enumerate(urls)
    ]
    async with Providers(nodes) as providers:
        follower = Follower(books.pool, providers, contracts, settings, heads)
        backfill = Backfill(books.pool, providers, contracts, settings.chain_id)
        try:
            yield Following(follower, backfill, books.fence)
        finally:
            await follower.forget()
            await backfill.close()


@pytest_asyncio.fixture(loop_scope="session")
async def database_reader(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A downstream reader: sees the schema v1 and nothing else."""
    connection = await asyncpg.connect(database.owner_dsn)
    await connection.execute("SET ROLE landbridge_reader")
    yield connection
    await connection.close()
