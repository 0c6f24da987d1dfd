"""A WebSocket that stays open and says nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conftest import Database
from tests.integration.daemon.indexing import WAIT_S
from tests.integration.daemon.running import Daemon, eventually
from tests.integration.hazards.coin_chain import CoinChain
from tests.integration.hazards.live import running, status_of
from tests.integration.hazards.lying_node import LyingNode
from tests.integration.hazards.reading import Reader, reading

BLOCK_TIME_S = 0.2


async def test_a_socket_open_but_mute_is_noticed_and_polling_takes_over_until_heads_come_again(
    database: Database, tmp_path: Path, chain: CoinChain, node: LyingNode
) -> None:
    provider = {"http_url": node.url, "ws_url": node.ws_url}
    async with (
        running(tmp_path, database, chain, only=provider) as daemon,
        reading(database.owner_dsn, chain.chain_id) as reader,
        growing(chain),
    ):
        await heads_are(daemon, lambda told: told["connected"] and told["block_time_s"])
        node.mute = True
        told = await heads_are(daemon, lambda told: told["mute"] and told["last_failure"])
        # However fast they come, a block is taken to last a second.
        silent_s = 3 * max(told["block_time_s"], 1.0)
        assert f"it is mute: no head for {silent_s:.1f} s, three block" in told["last_failure"]
        await shows_a_new_block(reader, daemon)
        assert (await status_of(daemon))["chains"][0]["state"] == "synced"
        before = (await heads_of(daemon))["heads_total"]
        node.mute = False
        told = await heads_are(daemon, lambda told: told["connected"] and not told["mute"])
        assert told["heads_total"] > before
        assert told["reconnects"] > 0
        await shows_a_new_block(reader, daemon)


@asynccontextmanager
async def growing(chain: CoinChain) -> AsyncIterator[None]:
    """A block with a transfer every so often."""

    async def grow() -> None:
        value = 900
        while True:
            value += 1
            await chain.block(value)
            await asyncio.sleep(BLOCK_TIME_S)

    task = asyncio.create_task(grow())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heads_of(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = (await status_of(daemon))["chains"][0]["heads"]
    return found


async def heads_are(daemon: Daemon, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        told = await heads_of(daemon)
        return told if is_so(told) else None

    return await eventually("the heads are as they should be", look, WAIT_S, daemon.tail)


async def shows_a_new_block(reader: Reader, daemon: Daemon) -> None:
    before = await reader.transfers()

    async def look() -> bool:
        return await reader.transfers() > before

    await eventually("a new block is shown", look, WAIT_S, daemon.tail)
