"""The lane on a real chain: taking, signing, sending and resolving, with a proxy that watches the node's door."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sha3

from bridge.halts import halt
from daemon.embedded.anvil import Anvil
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.node_proxy import pass_all
from tests.integration.bridge.scene import staged


async def test_no_hash_reaches_the_node_before_its_journal_row(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    unjournalled: list[str] = []
    seen: list[str] = []
    async with staged(database, anvil) as scene:
        watcher = await asyncpg.connect(database.owner_dsn)

        async def watch(method: str, params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_sendRawTransaction":
                raw = bytes.fromhex(params[0][2:])
                tx_hash = sha3.keccak_256(raw).digest()
                seen.append(tx_hash.hex())
                kept = await watcher.fetchval(
                    "SELECT raw FROM bridge.tx_attempt WHERE hash = $1", tx_hash
                )
                if kept != raw:
                    unjournalled.append(tx_hash.hex())
            return None

        scene.proxy.judge = watch
        op_ids = [await scene.reserved(f"d{n}") for n in range(3)]
        await scene.lane.step(scene.world.submit)
        await watcher.close()
        assert len(set(seen)) == 1, "three mints in one batch"
        assert unjournalled == []
        await anvil.mine()
        assert await scene.balance() == 300
        assert [await scene.state(op_id) for op_id in op_ids] == ["submitted"] * 3


async def test_a_lost_answer_leads_to_the_same_bytes_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The node took the transaction and its answer never came: no new nonce, no second mint."""
    sent: list[str] = []
    async with staged(database, anvil) as scene:

        async def lose(method: str, params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_sendRawTransaction":
                sent.append(params[0])
                await anvil.rpc("eth_sendRawTransaction", params[0])
                return {"error": {"code": -32603, "message": "upstream timed out"}}
            return None

        op_id = await scene.reserved("d")
        scene.proxy.judge = lose
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "signed"
        scene.proxy.judge = pass_all
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"
        await anvil.mine()
        assert await scene.balance() == 100
        assert len(set(sent)) == 1
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx_attempt") == 1


async def test_a_dropped_transaction_is_sent_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await scene.reserved("d")
        await scene.lane.step(scene.world.submit)
        await anvil.rpc("anvil_dropAllTransactions")
        await anvil.mine()
        assert await scene.balance() == 0
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100


async def test_what_became_final_while_nobody_followed_is_resolved(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The blocks of the absence are read as one range; the receipt's block must be known all the same."""
    async with staged(database, anvil) as scene:
        op_id = await w.add_issuance(
            scene.world, "d", 100, token=scene.contract.address, wallet=scene.holder.address
        )
        while await scene.decider.step(scene.world.operate):
            pass
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await anvil.mine(200)
        assert (await scene.follower.step(scene.world.follow)).kind == "leaped"
        await scene.follow()
        assert await scene.state(op_id) == "settled"
        await scene.lane.step(scene.world.submit)
        assert await scene.world.pool.fetchval("SELECT outcome FROM bridge.tx") == "success"


async def test_a_kill_between_the_nonce_and_the_signature_leaves_nothing_lost(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The nonce is committed, the bytes are not: a new process signs the same intent."""
    async with staged(database, anvil) as scene:
        op_id = await scene.reserved("d")
        await scene.lane._taker.step(scene.world.submit)
        assert await scene.state(op_id) == "reserved"
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100
        assert (
            await scene.world.pool.fetchval(
                "SELECT next_nonce FROM bridge.signer WHERE address = $1", scene.signer
            )
            == 1
        )


async def test_a_mint_that_the_chain_would_refuse_is_held_and_costs_no_nonce(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, True)
        op_id = await scene.reserved("d")
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "held"
        row = await scene.world.pool.fetchrow("SELECT kind, detail FROM recon.break")
        assert row is not None
        assert row["kind"] == "policy"
        assert "AccountFrozen" in row["detail"]
        assert (
            await scene.world.pool.fetchval(
                "SELECT next_nonce FROM bridge.signer WHERE address = $1", scene.signer
            )
            == 0
        )


async def test_a_node_fault_during_simulation_holds_nothing(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:

        async def fail(method: str, _params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_simulateV1":
                return {"error": {"code": -32000, "message": "header not found"}}
            return None

        op_id = await scene.reserved("d")
        scene.proxy.judge = fail
        with pytest.raises(Exception, match="header not found"):
            await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "reserved"


async def test_a_halt_stops_what_is_signed_and_not_yet_sent(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await scene.reserved("d")
        await scene.lane._taker.step(scene.world.submit)
        await scene.lane._signing.step(scene.world.submit)
        async with scene.world.pool.acquire() as connection:
            await halt(connection, "money", "a drill", "test")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 0


async def test_a_revert_is_believed_only_when_final_and_then_tried_on_a_new_nonce(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Frozen between simulation and inclusion: the revert is waited out, then the mint goes through."""
    async with staged(database, anvil) as scene:
        op_id = await scene.reserved("d")
        await scene.lane._taker.step(scene.world.submit)
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, True)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"
        await anvil.mine(5)
        await scene.follow()
        await scene.lane._resolver.step(scene.world.submit)
        assert await scene.state(op_id) == "approved"
        assert await scene.world.pool.fetchval("SELECT outcome FROM bridge.tx") == "reverted"
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, False)
        async with fenced(scene.world.pool, scene.world.operate) as connection:
            await w.set_state(connection, op_id, "reserved")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 2


def test_the_committed_abi_is_the_compiled_one(token_artifact: TokenArtifact) -> None:
    committed = Path(__file__).resolve().parents[3] / "bridge" / "deposit_token.abi.json"
    assert json.loads(committed.read_text()) == token_artifact["abi"]
