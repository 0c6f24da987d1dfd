"""What gas may cost: no nonce is given out and no more is offered beyond it, and somebody is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge import pricing, taker
from bridge.lane import Lane
from bridge.spending import SpendingCeilings
from daemon.embedded.anvil import Anvil
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge.scene import SETTINGS, Scene, staged
from tests.integration.bridge.test_lane_answers import open_breaks
from tests.integration.bridge.test_lane_batches import finish, reserved
from tests.integration.bridge.test_lane_stuck import attempts, raise_base_fee


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The market is asked anew, and what was refused is looked at again, at every step."""
    monkeypatch.setattr(pricing, "REMEMBERED_S", 0.0)
    monkeypatch.setattr(taker, "RETRY_S", 0.0)


def thrifty(scene: Scene, transaction_wei: int | None, day_wei: int | None) -> Lane:
    """The lane with ceilings, which offers more at once."""
    ceilings = SpendingCeilings(transaction_wei, day_wei)
    settings = replace(SETTINGS, bump_after_s=0.0, resend_after_s=3600.0, ceilings=ceilings)
    node, custody = scene.lane._taker._node, scene.lane._signing._custody
    return Lane(scene.world.pool, node, custody, scene.token, scene.signer, settings)


async def costs(scene: Scene) -> list[int]:
    """The most that each journalled attempt can cost."""
    rows = await scene.world.pool.fetch(
        """SELECT t.gas_limit * a.max_fee_wei AS wei FROM bridge.tx t JOIN bridge.tx_attempt a USING (tx_id)
           ORDER BY t.tx_id, a.attempt"""
    )
    return [int(row["wei"]) for row in rows]


async def test_a_batch_is_as_long_as_one_transaction_may_cost(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        [one] = await costs(scene)
        await reserved(scene, *(f"d{n}" for n in range(8)))
        lane = thrifty(scene, 2 * one, None)
        await lane._taker.step(scene.world.submit)
        batches = (await costs(scene))[1:]
        assert len(batches) > 1
        assert max(batches) <= 2 * one
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        assert await scene.balance() == 900


async def test_what_alone_costs_too_much_gets_no_nonce_and_a_break_says_so_until_it_may(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        lane = thrifty(scene, 10**9, None)
        await lane.step(scene.world.submit)
        assert await costs(scene) == []
        assert await scene.state(op_id) == "reserved"
        assert "the transaction's ceiling of 1000000000" in (await open_breaks(scene))["spending"]
        await scene.lane.step(scene.world.submit)
        assert await open_breaks(scene) == {}
        await anvil.mine()
        assert await scene.balance() == 100


async def test_a_day_is_counted_from_the_journal_whoever_wrote_it(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Mined ones count, too; and after a restart the sum is the same."""
    async with staged(database, anvil) as scene:
        await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        [spent] = await costs(scene)
        [op_id] = await reserved(scene, "b")
        await thrifty(scene, None, spent + spent // 4).step(scene.world.submit)
        assert await scene.state(op_id) == "reserved"
        assert "the day's ceiling" in (await open_breaks(scene))["spending"]
        await thrifty(scene, None, 3 * spent).step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"


async def test_more_is_not_offered_beyond_what_may_be_spent(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        [first] = await costs(scene)
        await raise_base_fee(anvil, 40)
        lane = thrifty(scene, first + first // 20, None)
        await lane.step(scene.world.submit)
        assert len(await attempts(scene)) == 1
        assert "the transaction's ceiling" in (await open_breaks(scene))["stuck"]
        await thrifty(scene, None, None).step(scene.world.submit)
        assert len(await attempts(scene)) == 2
        assert "stuck" not in await open_breaks(scene)
        await anvil.mine()
        assert await scene.balance() == 100
