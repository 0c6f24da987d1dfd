"""What the daemon says of itself: never that it is synced when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.health import LAG_LIMIT_BLOCKS
from tests.conftest import Database
from tests.integration.daemon.indexing import WAIT_S
from tests.integration.daemon.running import Daemon, eventually
from tests.integration.hazards import lies
from tests.integration.hazards.coin_chain import CoinChain, coin_chain
from tests.integration.hazards.live import running, status_of
from tests.integration.hazards.lying_node import Call, LyingNode
from tests.integration.hazards.reading import Reader, reading

# So long a way to the final block that nothing is leaped over, and more than one step reads.
SLOTS = 60
ABSENT_BLOCKS = 150
STEP_BLOCKS = 64


async def test_synced_is_said_only_with_head_and_history_there_and_lag_is_counted_from_them(
    database: Database, tmp_path: Path
) -> None:
    async with (
        coin_chain(4545, slots=SLOTS) as chain,
        LyingNode(chain.anvil) as node,
        reading(database.owner_dsn, chain.chain_id) as reader,
    ):
        only = {"http_url": node.url, "timeout_s": 60.0}
        passes = asyncio.Event()
        with node.telling(lies.waiting(is_about_history, passes)):
            async with running(tmp_path, database, chain, only=only) as daemon:
                observed = Observed(daemon, reader, chain)
                said = await observed.until(lambda said: said["lag_blocks"] == 0)
                assert (said["state"], said["sources"][0]["percent"]) == ("backfilling", 0.0)
                assert not said["synced"], "the head is there, and the history is not"
                passes.set()
                await observed.until_synced()
                await grown_unseen(node, observed)
                with node.telling(lies.bare(lies.BY_NUMBER, b"", 503)):
                    said = await observed.until(lambda said: said["state"] == "failing")
                    assert not said["synced"]
                    assert (await daemon.get("/readyz")).status == 503


def is_about_history(call: Call) -> bool:
    return call.method == lies.LOGS and "fromBlock" in call.params[0]


async def grown_unseen(node: LyingNode, observed: Observed) -> None:
    """Many blocks at once, of which the last ones are kept back for a while."""
    before, passes = await observed.chain.head(), asyncio.Event()

    def is_far_above(call: Call) -> bool:
        asked = call.params[0] if call.method == lies.BY_NUMBER else ""
        return asked.startswith("0x") and int(asked, 16) > before + STEP_BLOCKS

    with node.telling(lies.waiting(is_far_above, passes)):
        await node.hold()
        await observed.chain.anvil.rpc("anvil_mine", hex(ABSENT_BLOCKS))
        node.release()
        said = await observed.until(lambda said: said["head"] == before + STEP_BLOCKS)
        assert (said["state"], said["synced"]) == ("catching_up", False)
        assert said["lag_blocks"] == ABSENT_BLOCKS - STEP_BLOCKS
        await is_lagging(observed.daemon)
        passes.set()
        await observed.until_synced(before + ABSENT_BLOCKS)


async def is_lagging(daemon: Daemon) -> None:
    async def look() -> bool:
        return bool((await daemon.get("/readyz")).json.get("status") == "lagging")

    await eventually("it says that it lags", look, WAIT_S, daemon.tail)


@dataclass(frozen=True, slots=True)
class Observed:
    """A daemon that is asked again and again; whatever it says must be so."""

    daemon: Daemon
    reader: Reader
    chain: CoinChain

    async def until_synced(self, head: int = 0) -> None:
        """With a head of this height at least."""
        await self.until(lambda said: said["synced"] and said["head"] >= head)

    async def until(self, is_enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            said: dict[str, Any] = (await status_of(self.daemon))["chains"][0]
            await self._expect_truth(said, len(await self.reader.transfers()))
            return said if is_enough(said) else None

        return await eventually("it says so", look, WAIT_S, self.daemon.tail)

    async def _expect_truth(self, said: dict[str, Any], rows: int) -> None:
        assert said["synced"] is (said["state"] == "synced")
        if said["head"] is not None:
            assert said["lag_blocks"] == max(0, said["node_head"] - said["head"])
        if said["state"] == "backfilling":
            assert not said["synced"]
        if said["synced"]:
            assert (said["sources"][0]["state"], said["sources"][0]["percent"]) == ("joined", 100.0)
            assert said["lag_blocks"] <= LAG_LIMIT_BLOCKS
            # What is shown was read after it was said, so it may be more.
            below = [
                one for one in await self.chain.transfers() if one.block_number <= said["head"]
            ]
            assert rows >= len(below)
