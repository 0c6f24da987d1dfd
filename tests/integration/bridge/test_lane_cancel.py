"""Mints that people cancel: whatever is mined first counts, and money may go back only once no mint can follow."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from bridge import cancellations, pricing
from bridge.halts import halt
from daemon.embedded.anvil import Anvil
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.geth_pool import GethPool
from tests.integration.bridge.node_proxy import pass_all
from tests.integration.bridge.scene import Scene, staged
from tests.integration.bridge.test_lane_batches import decide, finish, outcomes, relaid, reserved


@pytest.fixture(autouse=True)
def ask_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The market changes here faster than it is asked."""
    monkeypatch.setattr(pricing, "REMEMBERED_S", 0.0)


async def cancel(scene: Scene, op_id: bytes, *people: str) -> None:
    async with scene.world.pool.acquire() as connection:
        operation_id = await connection.fetchval(
            "SELECT operation_id FROM bridge.operation WHERE op_id = $1", op_id
        )
        for person in people:
            await cancellations.cancel(connection, operation_id, person, "a wrong amount")


async def void(scene: Scene, op_id: bytes) -> None:
    """What follows once nothing carries the operation any more."""
    await decide(scene)
    assert await scene.state(op_id) == "voiding"
    await scene.lane.step(scene.world.submit)
    await scene.anvil.mine()
    await scene.follow()
    assert await scene.state(op_id) == "voiding", "not before it is final"
    await finish(scene)
    await scene.follow()
    assert await scene.state(op_id) == "returning"
    status, _ = await scene.contract.ask("operation(bytes32)", op_id, returns=["uint8", "bytes30"])
    assert status == 2
    assert await scene.balance() == 0


async def test_a_mint_without_a_nonce_is_voided_once_two_people_want_it(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await cancel(scene, op_id, "maker")
        await decide(scene)
        assert await scene.state(op_id) == "reserved", "one person is not enough"
        with pytest.raises(cancellations.CancellationRefusedError, match="somebody else"):
            await cancel(scene, op_id, "maker")
        await cancel(scene, op_id, "checker")
        await void(scene, op_id)
        assert await outcomes(scene) == ["success"]
        phases = await scene.world.pool.fetch("SELECT phase FROM ledger.transfer ORDER BY 1")
        assert [row["phase"] for row in phases] == ["pending", "void"], "nothing is held for it"


async def test_a_mint_that_waits_for_a_block_gives_its_nonce_to_a_transaction_that_does_nothing(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        pool = GethPool(anvil)
        scene.proxy.judge = pool
        lane = relaid(scene, resend_after_s=3600.0)
        [op_id] = await reserved(scene, "a")
        await lane.step(scene.world.submit)
        await cancel(scene, op_id, "maker", "checker")
        await lane.step(scene.world.submit)
        await lane.step(scene.world.submit)
        assert len(pool.taken) == 2, "the mint, and once what replaces it"
        assert pool.refused == []
        await decide(scene)
        assert await scene.state(op_id) == "submitted", "the mint may be mined all the same"
        await finish(scene)
        assert await outcomes(scene) == ["cancelled"]
        await void(scene, op_id)


async def test_a_mint_that_is_mined_before_it_is_cancelled_stands(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await cancel(scene, op_id, "maker", "checker")

        async def lose(method: str, _params: list[Any]) -> dict[str, Any] | None:
            return (
                {"error": {"code": -32603, "message": "timeout"}} if "sendRaw" in method else None
            )

        scene.proxy.judge = lose
        await scene.lane.step(scene.world.submit)
        scene.proxy.judge = pass_all
        assert await scene.world.pool.fetchval("SELECT bool_or(cancels) FROM bridge.tx_attempt")
        await anvil.mine()
        await scene.follow()
        await finish(scene)
        await decide(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100
        with pytest.raises(cancellations.CancellationRefusedError, match="settled"):
            await cancel(scene, op_id, "third")


async def test_what_else_the_batch_carries_is_minted_by_another_one(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        bad, *good = await reserved(scene, "a", "b", "c")
        await scene.lane.step(scene.world.submit)
        await cancel(scene, bad, "maker", "checker")
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        assert await outcomes(scene) == ["cancelled"]
        await decide(scene)
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        await scene.follow()
        assert await scene.state(bad) == "returning"
        assert {await scene.state(op_id) for op_id in good} == {"settled"}
        assert await scene.balance() == 200


async def test_a_mint_at_the_closed_gate_can_be_cancelled(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        async with scene.world.pool.acquire() as connection:
            await halt(connection, "mint", "a drill", "test")
        await scene.lane.step(scene.world.submit)
        await cancel(scene, op_id, "maker", "checker")
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        assert await outcomes(scene) == ["cancelled"]
        await void(scene, op_id)


async def test_postgres_refuses_to_give_money_back_before_the_id_is_consumed_for_good(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        for people, state in (((), "voiding"), (("maker", "checker"), "returning")):
            await cancel(scene, op_id, *people)
            await decide(scene)
            with pytest.raises(asyncpg.PostgresError, match=r"cancel|voided") as refused:
                async with fenced(scene.world.pool, scene.world.operate) as connection:
                    await w.set_state(connection, op_id, state)
            assert refused.value.sqlstate == "LB002"


async def test_postgres_refuses_to_void_what_a_transaction_carries(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        await cancel(scene, op_id, "maker", "checker")
        with pytest.raises(asyncpg.PostgresError, match="no transaction may carry it"):
            async with fenced(scene.world.pool, scene.world.operate) as connection:
                await w.set_state(connection, op_id, "voiding")
