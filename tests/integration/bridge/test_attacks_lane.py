"""Attacks on the lane: refused operations, a lagging observer, a foreign nonce, a node with strange words."""

from contextlib import suppress
from typing import Any

import pytest
from eth_account import Account

from bridge import halts
from bridge.errors import Retryable as BridgeRetryable
from bridge.resolver import MISSES_BEFORE_LOSS
from bridge.taker import AT_ONCE, Taker, TakerSettings
from daemon.embedded.anvil import Anvil
from indexer.errors import Retryable
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.node_proxy import pass_all
from tests.integration.bridge.scene import Scene, staged
from tests.integration.bridge.test_attacks_payouts import tell

BLOCKS_TO_FINALITY = 6


async def _refused(scene: Scene, name: str) -> bytes:
    """A refund that the chain refuses, as nobody there knows its redemption."""
    op_id = w.digest(f"op {name}")
    async with fenced(scene.world.pool, scene.world.operate) as connection:
        await connection.execute(
            """INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id,
                   currency, amount_minor, wallet, redemption_id, event_block_hash,
                   event_block_number, event_log_index)
               VALUES ($1, 'redemption', 'requested', 'test', $2, $3, $4, 'EUR', 40, $5, $6, $7, 1, 0)""",
            op_id,
            w.CHAIN_ID,
            scene.contract.address,
            w.TOKEN.account_id,
            scene.holder.address,
            w.digest(name),
            w.digest("block1"),
        )
        for state in ("request_final", "held", "rejecting"):
            await w.set_state(connection, op_id, state)
    return op_id


async def test_a_refund_that_the_chain_refuses_does_not_keep_the_lane_from_minting(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """With as many refused operations as a batch holds, nothing younger may starve."""
    async with staged(database, anvil) as scene:
        for place in range(AT_ONCE):
            await _refused(scene, f"r{place}")
        op_id = await scene.reserved("d")
        taker = Taker(
            scene.world.pool,
            scene.lane._taker._node,
            scene.token,
            scene.signer,
            scene.lane._taker._pricing,
            scene.lane._taker._budget,
            TakerSettings(batch_items=1, window_s=0.0),
        )
        for _ in range(3):
            await taker.step(scene.world.submit)
        assert await scene.world.pool.fetchval(
            "SELECT EXISTS (SELECT FROM bridge.tx_operation WHERE op_id = $1)", op_id
        )


async def test_a_refused_operation_does_not_make_the_lane_ask_the_node_without_rest(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """A step that could do nothing must say so, or the supervisor repeats it at once, for ever."""
    asked: list[str] = []
    async with staged(database, anvil) as scene:

        async def watch(method: str, _params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_simulateV1":
                asked.append(method)
            return None

        await _refused(scene, "r")
        scene.proxy.judge = watch
        worked = [await scene.lane.step(scene.world.submit) for _ in range(5)]
        assert not all(worked)
        assert len(asked) < 5


async def test_a_revert_that_is_final_before_the_observer_has_caught_up_leaves_nothing_stuck(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Mined in a block that was orphaned, reverted in the one that is final; the observer is late."""
    async with staged(database, anvil) as scene:
        op_id = await scene.reserved("d")
        await scene.lane._taker.step(scene.world.submit)
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, True)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        orphan = int(await anvil.rpc("eth_blockNumber"), 16)
        # What the observer saw last: the mint in a block that is an orphan by now.
        async with fenced(scene.world.pool, scene.world.operate) as connection:
            await connection.execute(
                """UPDATE bridge.operation SET state = 'mined', reason = 'test', event_block_hash = $2,
                       event_block_number = $3, event_log_index = 0 WHERE op_id = $1""",
                op_id,
                w.digest(f"block{orphan}"),
                orphan,
            )
        await anvil.mine(BLOCKS_TO_FINALITY)
        while (await scene.follower.step(scene.world.follow)).more:
            pass
        with suppress(Exception):
            await scene.lane._resolver.step(scene.world.submit)
        await tell(scene.world, ("retract", orphan, orphan))
        # Only the retraction: the rows in between are of no concern here.
        async with fenced(scene.world.pool, scene.world.operate) as connection:
            await connection.execute(
                """UPDATE chain.consumer SET seq = (SELECT feed_seq - 1 FROM chain.cursor)
                   WHERE name = 'bridge'"""
            )
        await scene.observer.step(scene.world.operate)
        await scene.lane.step(scene.world.submit)
        state = await scene.state(op_id)
        carried = await scene.world.pool.fetchval(
            "SELECT EXISTS (SELECT FROM bridge.tx_operation WHERE op_id = $1 AND NOT released)",
            op_id,
        )
        assert carried or state == "approved", f"{state}, and no transaction carries it"


async def test_a_nonce_that_a_foreign_transaction_took_halts_money(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The key is used elsewhere: waiting cannot help, so it must not be a Retryable error for ever."""
    async with staged(database, anvil) as scene:
        op_id = await scene.reserved("d")
        await scene.lane._taker.step(scene.world.submit)
        key = scene.lane._signing._custody._key  # type: ignore[attr-defined]
        account = Account.from_key(key.secret)
        foreign = account.sign_transaction(
            {
                "type": 2,
                "chainId": w.CHAIN_ID,
                "nonce": 0,
                "to": scene.admin.address,
                "value": 0,
                "gas": 21_000,
                "maxFeePerGas": 500 * 10**9,
                "maxPriorityFeePerGas": 10**9,
            }
        )
        await anvil.rpc("eth_sendRawTransaction", "0x" + foreign.raw_transaction.hex())
        await anvil.mine()
        await scene.lane.step(scene.world.submit)
        await anvil.mine(BLOCKS_TO_FINALITY)
        await scene.follow()
        for _ in range(MISSES_BEFORE_LOSS - 1):
            with pytest.raises(BridgeRetryable):
                await scene.lane.step(scene.world.submit)
        await scene.lane.step(scene.world.submit)
        async with scene.world.pool.acquire() as connection:
            [latched] = await halts.open_halts(connection)
        assert latched.state_loss
        assert "nonce 0 is final" in latched.reason
        outcome = await scene.world.pool.fetchval("SELECT outcome FROM bridge.tx")
        assert outcome == "foreign"
        assert await scene.state(op_id) == "approved", "what took its nonce did nothing for it"


async def test_a_nul_in_the_nodes_words_does_not_stop_the_lane(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Postgres stores no NUL in text; the journal must keep the rest."""
    async with staged(database, anvil) as scene:

        async def speak(method: str, _params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_sendRawTransaction":
                return {"error": {"code": -32000, "message": "already known\0"}}
            return None

        op_id = await scene.reserved("d")
        scene.proxy.judge = speak
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"


async def test_signed_bytes_are_sent_although_a_simulation_fails(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """What is under way must not wait for what is not taken yet."""
    async with staged(database, anvil) as scene:
        first = await scene.reserved("a")
        await scene.lane._taker.step(scene.world.submit)
        await scene.reserved("b")

        async def fail(method: str, _params: list[Any]) -> dict[str, Any] | None:
            if method == "eth_simulateV1":
                return {"error": {"code": -32000, "message": "header not found"}}
            return None

        scene.proxy.judge = fail
        with suppress(Retryable):
            await scene.lane.step(scene.world.submit)
        scene.proxy.judge = pass_all
        assert await scene.state(first) == "submitted"
