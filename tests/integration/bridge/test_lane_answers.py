"""What nodes say to transactions: one node's word stops nothing, and each refusal leads to what helps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from bridge import bumper, pricing
from bridge.errors import Fatal
from bridge.node import Node
from bridge.purse import PurseSettings
from daemon.demo.token import ETHER_WEI, as_hex
from daemon.embedded.anvil import Anvil
from indexer.rpc import Rpc
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge.node_proxy import NodeProxy, pass_all
from tests.integration.bridge.scene import Scene, staged
from tests.integration.bridge.test_lane_batches import relaid, reserved

LONG_S = 3600.0


def saying(text: str) -> Any:
    """A judge that answers every transaction so."""

    async def judge(method: str, _params: list[Any]) -> dict[str, Any] | None:
        return (
            {"error": {"code": -32000, "message": text}}
            if method == "eth_sendRawTransaction"
            else None
        )

    return judge


@asynccontextmanager
async def two_nodes(scene: Scene) -> AsyncIterator[NodeProxy]:
    """The lane's node gets a second one beside it, whose door is this proxy."""
    async with NodeProxy(scene.anvil.url) as second, Rpc(second.url) as rpc:
        first = scene.lane._taker._node._rpc
        scene.lane._sender._node = Node(first, lambda: [first, rpc])
        yield second


async def open_breaks(scene: Scene) -> dict[str, str]:
    rows = await scene.world.pool.fetch(
        "SELECT kind, detail FROM recon.break WHERE closed_at IS NULL"
    )
    return {row["kind"]: row["detail"] for row in rows}


@pytest.mark.parametrize("text", ["invalid chain id for signer", "txpool is full"])
async def test_what_one_node_refuses_is_given_to_another(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact, text: str
) -> None:
    async with staged(database, anvil) as scene, two_nodes(scene):
        scene.proxy.judge = saying(text)
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"
        await anvil.mine()
        assert await scene.balance() == 100


async def test_what_two_nodes_refuse_for_good_stops_the_lane(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene, two_nodes(scene) as second:
        scene.proxy.judge = second.judge = saying("invalid chain id for signer")
        await reserved(scene, "a")
        with pytest.raises(Fatal, match="refused for good"):
            await scene.lane.step(scene.world.submit)


async def test_a_refusal_that_the_second_node_does_not_confirm_is_waited_out(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene, two_nodes(scene) as second:
        scene.proxy.judge = saying("invalid chain id for signer")
        second.judge = saying("txpool is full")
        await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        second.judge = pass_all
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100


async def test_more_is_offered_at_once_for_what_a_node_calls_too_little(
    database: Database,
    anvil: Anvil,
    token_artifact: TokenArtifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bumper, "PAUSE_S", LONG_S)
    async with staged(database, anvil) as scene:
        lane = relaid(scene, bump_after_s=LONG_S, resend_after_s=LONG_S)
        scene.proxy.judge = saying("transaction underpriced")
        [op_id] = await reserved(scene, "a")
        await lane.step(scene.world.submit)
        for _ in range(3):
            await lane.step(scene.world.submit)
        offers = await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx_attempt")
        assert offers == 2, "the next one after a pause"
        assert await scene.state(op_id) == "signed"
        scene.proxy.judge = pass_all
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100


async def test_a_node_that_has_lost_the_lower_nonces_is_given_them_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        lane = relaid(scene, batch_items=1, resend_after_s=LONG_S)
        await reserved(scene, "a", "b", "c")
        await lane.step(scene.world.submit)
        await anvil.rpc("anvil_dropAllTransactions")

        async def refuse_gaps(method: str, params: list[Any]) -> dict[str, Any] | None:
            if method != "eth_sendRawTransaction":
                return None
            nonce = TypedTransaction.from_bytes(HexBytes(params[0])).as_dict()["nonce"]
            known = await anvil.rpc("eth_getTransactionCount", as_hex(scene.signer), "pending")
            gap = nonce > int(known, 16)
            return {"error": {"code": -32000, "message": "nonce too high"}} if gap else None

        scene.proxy.judge = refuse_gaps
        await reserved(scene, "d")
        await lane.step(scene.world.submit)
        await anvil.mine()
        await anvil.mine()
        assert await scene.balance() == 400
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx_attempt") == 4


async def test_a_signer_that_cannot_pay_is_told_of_until_it_can(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await anvil.rpc("anvil_setBalance", as_hex(scene.signer), hex(10**9))
        await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        told = await open_breaks(scene)
        assert set(told) == {"no_funds", "signer_low"}
        needed = await scene.world.pool.fetchval("SELECT at_stake_wei FROM bridge.signer_balance")
        for part in (scene.signer.hex(), str(10**9), f"{needed} wei"):
            assert part in told["no_funds"]
        await anvil.rpc("anvil_setBalance", as_hex(scene.signer), hex(100 * ETHER_WEI))
        scene.lane._purse._looked_at_s = None
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100
        assert await open_breaks(scene) == {}


async def test_somebody_is_told_before_a_signer_runs_dry(
    database: Database,
    anvil: Anvil,
    token_artifact: TokenArtifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pricing, "REMEMBERED_S", 0.0)
    async with staged(database, anvil) as scene:
        scene.lane._purse._settings = PurseSettings(alarm_below_transactions=10, alarm_below_s=1)
        for balance_wei, low in ((ETHER_WEI, False), (10**15, True), (ETHER_WEI, False)):
            await anvil.rpc("anvil_setBalance", as_hex(scene.signer), hex(balance_wei))
            scene.lane._purse._looked_at_s = None
            await scene.lane.step(scene.world.submit)
            assert ("signer_low" in await open_breaks(scene)) is low
            kept = await scene.world.pool.fetchval("SELECT balance_wei FROM bridge.signer_balance")
            assert kept == balance_wei
