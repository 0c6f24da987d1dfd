"""A daemon in a process of its own that follows a coin through two providers, each of which can be made to lie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.embedded.postgres import free_port
from tests.conftest import Database
from tests.integration.daemon.echo import TRANSFER
from tests.integration.daemon.indexing import WAIT_S, configured
from tests.integration.daemon.running import HOST, Daemon, Tree, eventually
from tests.integration.hazards.coin_chain import CoinChain
from tests.integration.hazards.index import coin_contract, registered
from tests.integration.hazards.lying_node import LyingNode
from tests.integration.hazards.reading import Reader, consuming, reading

CHAIN = "main"
POLL_INTERVAL_S = 0.1
LEASE_TTL_S = 2.0


@dataclass
class Live:
    """``seen``: the feed's numbers, as somebody was given them who asked all the while."""

    chain: CoinChain
    first: LyingNode
    second: LyingNode
    database: Database
    daemon: Daemon
    reader: Reader
    seen: list[int]

    @property
    def nodes(self) -> tuple[LyingNode, LyingNode]:
        return self.first, self.second

    async def show(self, chain: CoinChain) -> None:
        """Both providers turn to another node at once."""
        await self.hold()
        for node in self.nodes:
            await node.show(chain.anvil)
        self.release()

    async def hold(self) -> None:
        """Nobody asks anything until `release`: what happens meanwhile happens within one poll."""
        await self.first.hold()
        self.second.pause()

    def release(self) -> None:
        for node in self.nodes:
            node.release()

    def be_honest(self) -> None:
        for node in self.nodes:
            node.be_honest()

    async def agrees(self, chain: CoinChain | None = None) -> None:
        """Wait until everything that was written is what the chain has, with no further block."""
        wanted = chain or self.chain

        async def look() -> bool:
            return await self.reader.agrees_with(wanted)

        await eventually("the index agrees with the chain", look, WAIT_S, self.daemon.tail)

    async def status(self) -> dict[str, Any]:
        """What the daemon says of the chain."""
        found: dict[str, Any] = (await status_of(self.daemon))["chains"][0]
        return found

    async def becomes(self, state: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found = await self.status()
            return found if found["state"] == state else None

        return await eventually(f"the chain is {state}", look, WAIT_S, self.daemon.tail)


async def status_of(daemon: Daemon) -> dict[str, Any]:
    """What it says of everything; on a busy machine it may have to be asked again."""

    async def look() -> dict[str, Any] | None:
        answer = await daemon.get("/status")
        return answer.json if answer.status == 200 else None

    return await eventually("the status is told", look, WAIT_S, daemon.tail)


def settings_of(chain: CoinChain, **providers: dict[str, Any]) -> Tree:
    tree: Tree = {"api": {"host": HOST}, "daemon": {"lease_ttl_s": LEASE_TTL_S}}
    tree[f"chains.{CHAIN}"] = {"id": chain.chain_id, "poll_interval_s": POLL_INTERVAL_S}
    for name, keys in providers.items():
        tree[f"chains.{CHAIN}.providers.{name}"] = {"operator": name, **keys}
    tree["contracts.coin"] = {
        "chain": CHAIN,
        "address": chain.coin.address,
        "events": [TRANSFER],
        "start_block": 0,
    }
    return tree


@asynccontextmanager
async def running(
    folder: Path, database: Database, chain: CoinChain, **providers: dict[str, Any]
) -> AsyncIterator[Daemon]:
    """What `landbridge migrate` does to the contract, and then a daemon."""
    await registered(database, coin_contract(chain.chain_id, chain.coin))
    daemon = Daemon(configured(folder, database, settings_of(chain, **providers)), free_port())
    try:
        await daemon.start()
        yield daemon
    finally:
        await daemon.close()


@asynccontextmanager
async def living(database: Database, chain: CoinChain, folder: Path) -> AsyncIterator[Live]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(LyingNode(chain.anvil))
        second = await stack.enter_async_context(LyingNode(chain.anvil))
        urls = {"first": {"http_url": first.url}, "second": {"http_url": second.url}}
        reader = await stack.enter_async_context(reading(database.owner_dsn, chain.chain_id))
        seen = await stack.enter_async_context(consuming(database.owner_dsn, chain.chain_id))
        daemon = await stack.enter_async_context(running(folder, database, chain, **urls))
        yield Live(chain, first, second, database, daemon, reader, seen)
