"""The lane on a real chain: taking, signing, sending and resolving, with a proxy that watches the node's door."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest
import sha3

from bridge.custody.keystore import KeystoreCustody
from bridge.halts import halt
from bridge.lane import Lane
from bridge.node import Node
from bridge.resolver import SignerUnknownError
from bridge.taker import LaneSettings
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from indexer.rpc import Rpc
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.node_proxy import NodeProxy

GWEI = 10**9
SETTINGS = LaneSettings(max_fee_wei=500 * GWEI, priority_fee_wei=GWEI, resend_after_s=0.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A lane over a deployed token; ``proxy`` stands between it and the node."""

    world: w.World
    lane: Lane
    proxy: NodeProxy
    anvil: Anvil
    contract: chain_token.Token
    signer: bytes
    admin: Wallet

    async def state(self, op_id: bytes) -> str:
        found: str = await self.world.pool.fetchval(
            "SELECT state FROM bridge.operation WHERE op_id = $1", op_id
        )
        return found

    async def balance(self) -> int:
        found: int = await self.contract.ask("balanceOf(address)", w.WALLET, returns=["uint256"])
        return found


@asynccontextmanager
async def staged(database: Database, anvil: Anvil) -> AsyncIterator[Scene]:
    """Deploy the token, give the signer its roles, allow the wallet, open the lane."""
    admin, signer = Wallet.new(), Wallet.new()
    for wallet in (admin, signer):
        await chain_token.fund(anvil, wallet.address)
    contract = await chain_token.deploy(anvil, admin, 2)
    for role in ("MINTER_ROLE", "REDEEMER_ROLE"):
        granted = await contract.send(
            admin, "grantRole(bytes32,address)", await contract.role(role), signer.address
        )
        await chain_token.confirm(anvil, granted)
    for role in ("ALLOWLISTER_ROLE", "FREEZER_ROLE"):
        granted = await contract.send(
            admin, "grantRole(bytes32,address)", await contract.role(role), admin.address
        )
        await chain_token.confirm(anvil, granted)
    await chain_token.confirm(
        anvil, await contract.send(admin, "setAllowed(address,bool)", w.WALLET, True)
    )
    token = replace(w.TOKEN, address=contract.address)
    async with (
        w.opened(database, token) as world,
        NodeProxy(anvil.url) as proxy,
        Rpc(proxy.url) as rpc,
    ):
        lane = Lane(
            world.pool, Node(rpc), KeystoreCustody(signer.account), token, signer.address, SETTINGS
        )
        await lane.open(world.submit, "test")
        await w.add_chain(world, finalized=0, head=1)
        yield Scene(world, lane, proxy, anvil, contract, signer.address, admin)


async def _reserve(scene: Scene, name: str, token_address: bytes) -> bytes:
    return await w.add_issuance(scene.world, name, 100, "approved", "reserved", token=token_address)


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
        op_ids = [await _reserve(scene, f"d{n}", scene.contract.address) for n in range(3)]
        await scene.lane.step(scene.world.submit)
        await watcher.close()
        assert len(set(seen)) == 3
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

        op_id = await _reserve(scene, "d", scene.contract.address)
        scene.proxy.judge = lose
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "signed"
        scene.proxy.judge = NodeProxy("").judge
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
        await _reserve(scene, "d", scene.contract.address)
        await scene.lane.step(scene.world.submit)
        await anvil.rpc("anvil_dropAllTransactions")
        await anvil.mine()
        assert await scene.balance() == 0
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100


async def test_a_kill_between_the_nonce_and_the_signature_leaves_nothing_lost(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The nonce is committed, the bytes are not: a new process signs the same intent."""
    async with staged(database, anvil) as scene:
        op_id = await _reserve(scene, "d", scene.contract.address)
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
        frozen = await scene.contract.send(scene.admin, "setFrozen(address,bool)", w.WALLET, True)
        await chain_token.confirm(anvil, frozen)
        op_id = await _reserve(scene, "d", scene.contract.address)
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
            if method == "eth_estimateGas":
                return {"error": {"code": -32000, "message": "header not found"}}
            return None

        op_id = await _reserve(scene, "d", scene.contract.address)
        scene.proxy.judge = fail
        with pytest.raises(Exception, match="header not found"):
            await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "reserved"


async def test_a_halt_stops_what_is_signed_and_not_yet_sent(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await _reserve(scene, "d", scene.contract.address)
        await scene.lane._taker.step(scene.world.submit)
        await scene.lane._sender._sign(scene.world.submit)
        async with scene.world.pool.acquire() as connection:
            await halt(connection, "money", "a drill", "test")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 0


async def test_a_signer_that_was_used_elsewhere_is_refused(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await anvil.rpc("anvil_setNonce", "0x" + scene.signer.hex(), "0x5")
        with pytest.raises(SignerUnknownError, match="nonce 5"):
            await scene.lane.open(scene.world.submit, "test")


async def test_a_revert_is_believed_only_when_final_and_then_tried_on_a_new_nonce(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Frozen between simulation and inclusion: the revert is waited out, then the mint goes through."""
    async with staged(database, anvil) as scene:
        op_id = await _reserve(scene, "d", scene.contract.address)
        await scene.lane._taker.step(scene.world.submit)
        frozen = await scene.contract.send(scene.admin, "setFrozen(address,bool)", w.WALLET, True)
        await chain_token.confirm(anvil, frozen)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        receipt_block = int(await anvil.rpc("eth_blockNumber"), 16)
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"
        await _finalize(scene, receipt_block)
        await scene.lane._resolver.step(scene.world.submit)
        assert await scene.state(op_id) == "approved"
        assert await scene.world.pool.fetchval("SELECT outcome FROM bridge.tx") == "reverted"
        thawed = await scene.contract.send(scene.admin, "setFrozen(address,bool)", w.WALLET, False)
        await chain_token.confirm(anvil, thawed)
        async with w.fenced(scene.world.pool, scene.world.operate) as connection:
            await w.set_state(connection, op_id, "reserved")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 2


async def _finalize(scene: Scene, number: int) -> None:
    """Let the database believe that the chain's blocks up to ``number`` are final."""
    rows = []
    for n in range(2, number + 1):
        block = await scene.anvil.rpc("eth_getBlockByNumber", hex(n), False)
        rows.append(
            (
                w.CHAIN_ID,
                bytes.fromhex(block["hash"][2:]),
                n,
                bytes.fromhex(block["parentHash"][2:]),
            )
        )
    async with w.fenced(scene.world.pool, scene.world.follow) as connection:
        await connection.executemany(
            """INSERT INTO chain.block (chain_id, hash, number, parent_hash, timestamp_s, canonical)
               VALUES ($1, $2, $3, $4, $3, true)""",
            rows,
        )
        await connection.execute(
            """UPDATE chain.cursor SET head_number = $2, head_hash = $3, head_timestamp_s = 2000000000,
                   safe_number = $2, finalized_number = $2, finalized_hash = $3 WHERE chain_id = $1""",
            w.CHAIN_ID,
            number,
            rows[-1][1],
        )


def test_the_committed_abi_is_the_compiled_one(token_artifact: TokenArtifact) -> None:
    with open("bridge/deposit_token.abi.json") as file:  # the tests run from the repository's root
        assert json.load(file) == token_artifact["abi"]
