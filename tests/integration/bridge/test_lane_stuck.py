"""Transactions that cost too little for the market: more is offered on the same nonce, and whatever is mined counts."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import pricing
from daemon.embedded.anvil import Anvil
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge.geth_pool import GethPool
from tests.integration.bridge.node_proxy import pass_all
from tests.integration.bridge.scene import GWEI, Scene, staged
from tests.integration.bridge.test_lane_batches import finish, outcomes, relaid, reserved


@pytest.fixture(autouse=True)
def ask_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The market changes here faster than it is asked."""
    monkeypatch.setattr(pricing, "REMEMBERED_S", 0.0)


async def attempts(scene: Scene) -> list[bytes]:
    """The hashes of everything that was signed, oldest first."""
    rows = await scene.world.pool.fetch(
        "SELECT hash FROM bridge.tx_attempt WHERE hash IS NOT NULL ORDER BY tx_id, attempt"
    )
    return [row["hash"] for row in rows]


async def raise_base_fee(anvil: Anvil, gwei: int) -> None:
    await anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
    await anvil.mine()


async def test_every_offer_above_a_risen_base_fee_is_one_that_geth_takes(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        pool = GethPool(anvil)
        scene.proxy.judge = pool
        # Each is offered once, so that an old one is not offered again behind a newer one.
        lane = relaid(scene, bump_after_s=0.0, resend_after_s=3600.0)
        [op_id] = await reserved(scene, "a")
        await lane.step(scene.world.submit)
        for gwei in (40, 110):
            await raise_base_fee(anvil, gwei)
            await lane.step(scene.world.submit)
        assert await scene.balance() == 0, "the base fee was above every offer"
        assert pool.refused == []
        signed = await attempts(scene)
        assert len(pool.taken) == len(signed) >= 3
        await anvil.mine()
        assert await scene.balance() == 100
        await scene.follow()
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        [tx] = await scene.world.pool.fetch("SELECT nonce, outcome, outcome_hash FROM bridge.tx")
        assert (tx["nonce"], tx["outcome"], tx["outcome_hash"]) == (0, "success", signed[-1])


async def test_an_old_attempt_that_is_mined_after_a_higher_offer_is_found_by_its_hash(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The higher offer never reached the pool."""
    async with staged(database, anvil) as scene:
        lane = relaid(scene, bump_after_s=0.0)
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)

        async def lose(method: str, _params: list[Any]) -> dict[str, Any] | None:
            return (
                {"error": {"code": -32603, "message": "timeout"}} if "sendRaw" in method else None
            )

        scene.proxy.judge = lose
        await lane.step(scene.world.submit)
        scene.proxy.judge = pass_all
        first, *higher = await attempts(scene)
        assert higher
        await anvil.mine()
        await scene.follow()
        assert await scene.state(op_id) == "mined"
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100
        [tx] = await scene.world.pool.fetch("SELECT outcome, outcome_hash FROM bridge.tx")
        assert (tx["outcome"], tx["outcome_hash"]) == ("success", first)


async def test_another_attempt_may_be_mined_after_a_reorg_than_before_it(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        lane = relaid(scene, bump_after_s=0.0)
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        assert await scene.state(op_id) == "mined"
        await anvil.rpc("anvil_reorg", 1, [])
        await scene.follow()
        assert await scene.state(op_id) == "submitted"
        await lane.step(scene.world.submit)
        first, second = await attempts(scene)
        await anvil.mine()
        await scene.follow()
        await finish(scene)
        assert await scene.balance() == 100
        assert await scene.state(op_id) == "settled"
        mined = await scene.world.pool.fetchval("SELECT outcome_hash FROM bridge.tx")
        assert mined == second != first


async def test_above_the_ceiling_nothing_is_offered_and_a_break_says_so_until_it_can_be(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        low = relaid(scene, bump_after_s=0.0, max_fee_wei=60 * GWEI, resend_after_s=3600.0)
        await reserved(scene, "a")
        await low.step(scene.world.submit)
        await raise_base_fee(anvil, 100)
        await low.step(scene.world.submit)
        offered = len(await attempts(scene))
        [found] = await scene.world.pool.fetch("SELECT kind, subject, closed_at FROM recon.break")
        assert (found["kind"], found["subject"]) == ("stuck", f"signer:0x{scene.signer.hex()}")
        assert found["closed_at"] is None
        await relaid(scene, bump_after_s=0.0).step(scene.world.submit)
        assert len(await attempts(scene)) == offered + 1
        assert await scene.world.pool.fetchval("SELECT closed_at IS NOT NULL FROM recon.break")
        await anvil.mine()
        assert await scene.balance() == 100


@pytest.mark.parametrize("higher_offers", [0, 1])
async def test_one_nonce_is_one_mint_however_often_the_pool_is_lost(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact, higher_offers: int
) -> None:
    async with staged(database, anvil) as scene:
        lane = relaid(scene, bump_after_s=0.0)
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        for _ in range(higher_offers):
            await lane.step(scene.world.submit)
        for _ in range(2):
            await anvil.rpc("anvil_dropAllTransactions")
            await anvil.mine()
            await scene.lane.step(scene.world.submit)
        assert len(await attempts(scene)) == 1 + higher_offers, "the same bytes again"
        await anvil.mine()
        await scene.follow()
        await finish(scene)
        assert await scene.balance() == 100
        assert await scene.state(op_id) == "settled"
        assert await outcomes(scene) == ["success"]


async def test_the_break_ends_with_what_was_stuck(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Nothing more was offered: the base fee fell, and the first offer was enough after all."""
    async with staged(database, anvil) as scene:
        low = relaid(scene, bump_after_s=0.0, max_fee_wei=6 * GWEI)
        await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await raise_base_fee(anvil, 10)
        await low.step(scene.world.submit)
        open_now = "SELECT count(*) FROM recon.break WHERE kind = 'stuck' AND closed_at IS NULL"
        assert await scene.world.pool.fetchval(open_now) == 1
        await raise_base_fee(anvil, 1)
        await scene.lane._sender.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        assert await scene.balance() == 100
        await low.step(scene.world.submit)
        assert await scene.world.pool.fetchval(open_now) == 0
