"""A halt takes hold on every lane at its next call to custody or to the node, and outlives the lanes."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from bridge import halts
from bridge.lane import Lane, role
from bridge.sender import AT_ONCE
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from indexer.lease import Fence
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import staged
from tests.integration.bridge.test_lane_batches import relaid, reserved

ROUNDS: Final = 5
SIGNED: Final = "SELECT count(*) FROM bridge.tx_attempt WHERE raw IS NOT NULL"
WAITING: Final = "SELECT count(*) FROM bridge.operation WHERE state IN ('reserved', 'signed')"


class Working:
    """A lane at work, and how many rounds it has ended."""

    def __init__(self, lane: Lane, fence: Fence) -> None:
        self._ended = asyncio.Semaphore(0)
        self._task = asyncio.create_task(self._work(lane, fence))

    async def _work(self, lane: Lane, fence: Fence) -> None:
        while True:
            await lane.step(fence)
            self._ended.release()

    async def ended(self, rounds: int) -> None:
        """Wait for so many more; raises what ended the lane's work."""
        while not self._ended.locked():
            await self._ended.acquire()
        for _ in range(rounds):
            await self.unless_failed(self._ended.acquire())

    async def unless_failed(self, awaited: Coroutine[Any, Any, object]) -> None:
        waiting = asyncio.create_task(awaited)
        await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            self._task.result()

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def test_no_lane_signs_or_sends_once_the_round_of_the_halt_is_over(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Two lanes in full work; the door of the node sees each hash."""
    sent: set[str] = set()
    begun = asyncio.Event()
    async with staged(database, anvil) as scene:

        async def watch(method: str, params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_sendRawTransaction":
                sent.add(params[0])
                begun.set()
            return None

        pool, wallet = scene.world.pool, Wallet.new()
        await chain_token.fund(anvil, wallet.address)
        await scene.make_minter(wallet)
        mine, other = relaid(scene, batch_items=1), relaid(scene, wallet, batch_items=1)
        fence = await w.take(pool, role(wallet.address))
        await other.open(fence, "second")
        await reserved(scene, *(f"d{n}" for n in range(100)))
        scene.proxy.judge = watch
        lanes = [Working(mine, scene.world.submit), Working(other, fence)]
        await lanes[0].unless_failed(begun.wait())
        async with pool.acquire() as connection:
            await halts.halt(connection, "money", "a drill", "somebody")
        before = len(sent)
        await _all_ended(lanes, 1)
        signed, known = await pool.fetchval(SIGNED), set(sent)
        assert len(known) - before <= AT_ONCE * len(lanes), "what was on its way"
        await _all_ended(lanes, ROUNDS)
        for lane in lanes:
            await lane.stop()
        assert await pool.fetchval(SIGNED) == signed
        assert sent == known
        assert await pool.fetchval(WAITING) > 0, "there was work left"
        await relaid(scene).step(scene.world.submit)
        assert await pool.fetchval(SIGNED) == signed, "a start does not lift it"
        assert sent == known


async def _all_ended(lanes: Sequence[Working], rounds: int) -> None:
    await asyncio.gather(*(lane.ended(rounds) for lane in lanes))
