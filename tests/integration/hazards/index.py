"""An index of one coin that a test moves by itself, step by step: the production follower on a real database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import asyncpg

from indexer import lease, registry
from indexer.abi import Abi
from indexer.contract import Contract, Options, Verify
from indexer.errors import Retryable
from indexer.follower import FollowerSettings, role
from indexer.hexadecimal import from_data
from indexer.signature import parse
from tests.conftest import Database
from tests.integration.daemon.echo import TRANSFER, Echo
from tests.integration.hazards.coin_chain import CoinChain
from tests.integration.hazards.reading import Reader, reading
from tests.integration.indexer.conftest import Books, Following, following

LEASE_TTL_S = 600.0
PATIENCE_S = 20.0
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Index:
    """What was written, and who goes on writing."""

    books: Books
    reader: Reader
    following: Following

    async def settle(self) -> None:
        """Step until there is nothing to do, as the supervisor would: what fails is tried again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                # What extends the chain leaves the joining of a contract to the step after it.
                if (await self.following.settle()).kind == "unchanged":
                    return
            except Retryable:
                assert time.monotonic() < deadline
                await asyncio.sleep(PAUSE_S)


def coin_contract(
    chain_id: int, coin: Echo, name: str = "coin", verify: Verify = "none"
) -> Contract:
    return Contract.from_abi(
        name,
        chain_id,
        cast(Abi, [parse(TRANSFER)]),
        (from_data(coin.address, 20),),
        start_block=0,
        options=Options(verify=verify),
    )


@asynccontextmanager
async def indexing(
    database: Database, chain: CoinChain, *urls: str, verify: Verify = "none"
) -> AsyncIterator[Index]:
    """A coin, followed through the nodes at these URLs. Nothing was read yet."""
    contract = coin_contract(chain.chain_id, chain.coin, verify=verify)
    await registered(database, contract)
    async with (
        booked(database, chain.chain_id) as books,
        reading(database.owner_dsn, chain.chain_id) as reader,
        following(books, [contract], *urls, settings=FollowerSettings(chain.chain_id)) as found,
    ):
        yield Index(books, reader, found)


async def registered(database: Database, *contracts: Contract) -> None:
    """What `landbridge migrate` does to the contracts of the settings."""
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await registry.register(owner, contracts)
    finally:
        await owner.close()


@asynccontextmanager
async def booked(database: Database, chain_id: int) -> AsyncIterator[Books]:
    """The chain's lease is held."""
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=6) as pool:
            fence = await lease.acquire(owner, role(chain_id), "the test", LEASE_TTL_S)
            assert fence is not None
            yield Books(owner, pool, fence)
    finally:
        await owner.close()
