"""Transactions whose blocks are replaced: gone, mined elsewhere, failed where they had succeeded, and the other way."""

from __future__ import annotations

from daemon.demo.token import as_hex, call_data
from daemon.embedded.anvil import Anvil
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge.scene import Scene, staged
from tests.integration.bridge.test_lane_batches import decide, finish, outcomes, relaid, reserved


async def raw_of(scene: Scene) -> str:
    """The bytes of the one transaction that was signed."""
    raw: bytes = await scene.world.pool.fetchval("SELECT raw FROM bridge.tx_attempt")
    return as_hex(raw)


async def frozen(scene: Scene, value: bool) -> str:
    """The signed bytes of a transaction that freezes the holder, or ends that; not sent."""
    count = await scene.anvil.rpc("eth_getTransactionCount", as_hex(scene.admin.address), "latest")
    return as_hex(
        scene.admin.sign(
            chain_id=scene.token.chain_id,
            nonce=int(count, 16),
            to=scene.contract.address,
            data=call_data("setFrozen(address,bool)", scene.holder.address, value),
            gas_limit=250_000,
        )
    )


async def block_of_mint(scene: Scene) -> int:
    found: int = await scene.world.pool.fetchval(
        "SELECT event_block_number FROM bridge.operation WHERE event_block_number IS NOT NULL"
    )
    return found


async def test_a_receipt_that_vanishes_leads_to_the_same_bytes_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        assert await scene.state(op_id) == "mined"
        await anvil.rpc("anvil_reorg", 1, [])
        await scene.follow()
        assert await scene.state(op_id) == "submitted"
        assert await scene.balance() == 0
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx_attempt") == 1


async def test_a_mint_that_is_mined_in_another_block_after_a_reorg_is_one_mint(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await anvil.mine(2)
        await scene.follow()
        before = await block_of_mint(scene)
        await anvil.rpc("anvil_reorg", 2, [[await raw_of(scene), 1]])
        await scene.follow()
        assert await scene.state(op_id) == "mined"
        assert await block_of_mint(scene) == before + 1
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100
        assert await outcomes(scene) == ["success"]


async def test_a_success_that_a_reorg_turns_into_a_revert_is_tried_on_a_new_nonce_once_that_is_final(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        assert await scene.state(op_id) == "mined"
        await anvil.rpc(
            "anvil_reorg", 1, [[await frozen(scene, True), 0], [await raw_of(scene), 0]]
        )
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.balance() == 0
        assert await scene.state(op_id) == "submitted", "the revert is not final yet"
        await finish(scene)
        assert await outcomes(scene) == ["reverted"]
        assert await scene.state(op_id) == "approved"
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, False)
        await scene.follow()
        await decide(scene)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await finish(scene)
        assert await outcomes(scene) == ["reverted", "success"]
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100


async def test_a_revert_that_a_reorg_turns_into_a_success_never_gives_the_operation_another_nonce(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, True)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.balance() == 0
        assert await scene.state(op_id) == "submitted"
        await anvil.rpc("anvil_reorg", 2, [[await raw_of(scene), 0]])
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "mined"
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100
        assert await outcomes(scene) == ["success"]


async def test_one_transaction_dropped_from_the_middle_holds_up_the_others_only_until_it_is_sent_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        lane = relaid(scene, batch_items=1)
        op_ids = await reserved(scene, "a", "b", "c")
        await lane.step(scene.world.submit)
        hashes = await scene.world.pool.fetch("SELECT hash FROM bridge.tx_attempt ORDER BY tx_id")
        assert len(hashes) == 3
        await anvil.rpc("anvil_dropTransaction", as_hex(hashes[1]["hash"]))
        await anvil.mine()
        assert await scene.balance() == 100
        await scene.follow()
        await lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await finish(scene)
        assert await scene.balance() == 300
        assert {await scene.state(op_id) for op_id in op_ids} == {"settled"}
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx_attempt") == 3
