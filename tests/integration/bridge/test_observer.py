"""What the chain shows becomes transitions, matches and alarms, and a reorg takes them back."""

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bridge import ledger
from bridge.halts import is_halted
from bridge.observer import Observer
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import Scene, prepared, staged

MINT_OP = "(bytes32,address,uint256,bytes32,uint64)"


async def _minted(scene: Scene, name: str) -> bytes:
    """An issuance that has been mined and seen."""
    op_id = await scene.reserved(name)
    await _hold(scene, op_id)
    await scene.lane.step(scene.world.submit)
    await scene.anvil.mine()
    await scene.follow()
    return op_id


async def _hold(scene: Scene, op_id: bytes) -> None:
    """Book the deposit and hold the amount, as ingest and decider do."""
    async with fenced(scene.world.pool, scene.world.operate) as connection:
        row = await connection.fetchrow(
            "SELECT operation_id, entry_id FROM bridge.operation WHERE op_id = $1", op_id
        )
        assert row is not None
        await ledger.post(
            connection,
            scene.token,
            [
                ledger.Transfer(
                    f"deposit:{row['entry_id']}",
                    ledger.move(ledger.Book.FUNDED, ledger.Book.RESERVE, 100),
                    entry_id=row["entry_id"],
                )
            ],
        )
        await ledger.hold(
            connection,
            scene.token,
            [
                ledger.Held(
                    row["operation_id"],
                    ledger.move(ledger.Book.OUTSTANDING, ledger.Book.FUNDED, 100),
                )
            ],
        )


async def _mint_as_admin(scene: Scene, amount: int) -> None:
    """Tokens for the holder that no operation of ours stands behind."""
    await scene.make_minter(scene.admin)
    data = keccak(text=f"mint({MINT_OP})")[:4] + encode(
        [MINT_OP], [(b"x" * 32, scene.holder.address, amount, bytes(32), 2**40)]
    )
    count = await scene.anvil.rpc(
        "eth_getTransactionCount", "0x" + scene.admin.address.hex(), "latest"
    )
    raw = scene.admin.sign(
        chain_id=w.CHAIN_ID,
        nonce=int(count, 16),
        to=scene.contract.address,
        data=data,
        gas_limit=300_000,
    )
    await scene.anvil.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    await scene.anvil.mine()


async def _groups(scene: Scene) -> list[tuple[str, int]]:
    """State of each match group and how many of its allocations are live."""
    rows = await scene.world.pool.fetch(
        """SELECT g.state, count(*) FILTER (WHERE a.live)::int AS live
           FROM recon.match_group g JOIN recon.allocation a USING (group_id)
           GROUP BY g.group_id ORDER BY g.group_id"""
    )
    return [(row["state"], row["live"]) for row in rows]


async def _balance(scene: Scene, book: ledger.Book) -> int:
    found: int = await scene.world.pool.fetchval(
        "SELECT amount_minor FROM ledger.balance WHERE code = $1", ledger.code(scene.token, book)
    )
    return found


async def test_a_mint_is_matched_when_mined_and_settled_when_final(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        op_id = await _minted(scene, "d")
        assert await scene.state(op_id) == "mined"
        assert await _groups(scene) == [("soft", 2)]
        assert await _balance(scene, ledger.Book.OUTSTANDING) == 0
        await anvil.mine(5)
        await scene.follow()
        assert await scene.state(op_id) == "settled"
        assert await _groups(scene) == [("final", 2)]
        assert await _balance(scene, ledger.Book.OUTSTANDING) == -100
        assert await _balance(scene, ledger.Book.FUNDED) == 0


async def test_a_reorg_revokes_the_match_and_the_mint_is_matched_anew(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        op_id = await _minted(scene, "d")
        before = await scene.world.pool.fetchval(
            "SELECT event_block_hash FROM bridge.operation WHERE op_id = $1", op_id
        )
        await anvil.rpc("anvil_reorg", 1, [])
        assert await scene.balance() == 0
        await scene.follow()
        assert await scene.state(op_id) == "submitted"
        assert await _groups(scene) == [("revoked", 0)]
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        assert await scene.state(op_id) == "mined"
        assert await scene.balance() == 100
        assert await _groups(scene) == [("revoked", 0), ("soft", 2)]
        after = await scene.world.pool.fetchval(
            "SELECT event_block_hash FROM bridge.operation WHERE op_id = $1", op_id
        )
        assert after != before
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 1


async def test_a_mint_by_somebody_elses_key_closes_the_gate_in_the_block_it_is_mined_in(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        thief = Wallet.new()
        await chain_token.fund(anvil, thief.address)
        await scene.make_minter(thief)
        data = keccak(text=f"mint({MINT_OP})")[:4] + encode(
            [MINT_OP], [(b"x" * 32, scene.holder.address, 7, bytes(32), 2**40)]
        )
        raw = thief.sign(
            chain_id=w.CHAIN_ID, nonce=0, to=scene.contract.address, data=data, gas_limit=300_000
        )
        await anvil.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        await anvil.mine()
        assert await scene.balance() == 7
        await scene.follow()
        row = await scene.world.pool.fetchrow("SELECT kind, severity, detail FROM recon.break")
        assert row is not None
        assert (row["kind"], row["severity"]) == ("unauthorized_mint", "critical")
        assert "no operation has this op_id" in row["detail"]
        assert await is_halted(scene.world.pool, "mint")
        assert not await is_halted(scene.world.pool, "money")
        await scene.reserved("d")
        await scene.lane.step(scene.world.submit)
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 0


async def test_a_settlement_by_somebody_elses_key_is_an_alarm(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await _minted(scene, "d")
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", 40, bytes(32))
        [request] = [e for e in await scene.contract.events() if e.kind == chain_token.REQUESTED]
        role = await scene.contract.role("REDEEMER_ROLE")
        await scene.confirmed(scene.admin, "grantRole(bytes32,address)", role, scene.admin.address)
        await scene.confirmed(
            scene.admin, "settleRedeem(bytes32,bytes32)", request.topics[0], bytes(32)
        )
        await scene.follow()
        row = await scene.world.pool.fetchrow("SELECT kind, severity FROM recon.break")
        assert row is not None
        assert tuple(row) == ("missing_bank", "critical")
        assert await is_halted(scene.world.pool, "money")


async def test_a_request_that_a_reorg_drops_never_reached_the_bank_and_may_come_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await _minted(scene, "d")
        await anvil.mine(5)
        await scene.follow()
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", 40, bytes(32))
        await scene.follow()
        op_id = await scene.world.pool.fetchval(
            "SELECT op_id FROM bridge.operation WHERE kind = 'redemption'"
        )
        assert await scene.state(op_id) == "requested"
        await anvil.rpc("anvil_reorg", 1, [])
        await scene.follow()
        assert await scene.state(op_id) == "dropped"
        await scene.decider.step(scene.world.operate)
        assert await scene.state(op_id) == "dropped"
        # The same holder asks again: the same nonce on chain, so the same request and operation.
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", 40, bytes(32))
        await scene.follow()
        assert await scene.state(op_id) == "requested"
        await anvil.mine(5)
        await scene.follow()
        assert await scene.state(op_id) == "request_final"
        assert await _balance(scene, ledger.Book.ESCROW) == -40
        await scene.decider.step(scene.world.operate)
        assert await scene.state(op_id) == "payout_prepared"


async def test_an_orphaned_request_that_is_read_late_is_not_final_for_its_height_alone(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """The token joins while the request is pending, so the feed tells of that block for the token alone. The block is
    orphaned, and another one final at its height, before the bridge reads the feed at all."""
    async with prepared(database, anvil) as scene:
        await _mint_as_admin(scene, 100)
        await anvil.mine(5)
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", 40, bytes(32))
        await scene.index()
        told = await scene.world.pool.fetchrow(
            """SELECT f.from_block, f.block_hash FROM chain.feed f JOIN event.token_redeem_requested e
               USING (block_hash) WHERE f.op = 'apply' AND f.source_id IS NOT NULL AND e.canonical"""
        )
        assert told is not None, "the request is not told for the token alone"
        await anvil.rpc("anvil_reorg", 1, [])
        await anvil.mine(6)
        await scene.index()
        final = await scene.world.pool.fetchval(
            """SELECT finalized_number >= $1 FROM chain.cursor
               WHERE EXISTS (SELECT FROM chain.block WHERE hash = $2 AND NOT canonical)""",
            *told,
        )
        assert final, "another block is not final at its height"
        await scene.follow()
        op_id = await scene.world.pool.fetchval(
            "SELECT op_id FROM bridge.operation WHERE kind = 'redemption'"
        )
        assert await scene.state(op_id) == "dropped"
        assert await _balance(scene, ledger.Book.ESCROW) == 0


async def test_what_has_become_final_since_is_not_final_before_the_feed_tells_it(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """A request in a block that the token brought along when it joined: the proof is of what the feed has told."""
    async with prepared(database, anvil) as scene:
        await _mint_as_admin(scene, 100)
        await anvil.mine(5)
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", 40, bytes(32))
        await scene.index()
        told = await scene.world.pool.fetchval(
            """SELECT f.seq FROM chain.feed f JOIN event.token_redeem_requested e USING (block_hash)
               WHERE f.op = 'apply' AND f.source_id IS NOT NULL"""
        )
        assert told is not None, "the request is not told for the token alone"
        await anvil.mine(8)
        await scene.index()
        observer = Observer(scene.world.pool, scene.token, batch=1)
        position = 0
        while position < told:
            await observer.step(scene.world.operate)
            position = await scene.world.pool.fetchval("SELECT seq FROM chain.consumer")
        state = "SELECT state FROM bridge.operation WHERE kind = 'redemption'"
        assert await scene.world.pool.fetchval(state) == "requested"
        await scene.follow()
        assert await scene.world.pool.fetchval(state) == "request_final"


async def test_a_redemption_that_another_hand_refunded_is_never_paid(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await _minted(scene, "d")
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", 40, bytes(32))
        await anvil.mine(5)
        await scene.follow()
        op_id = await scene.world.pool.fetchval(
            "SELECT op_id FROM bridge.operation WHERE kind = 'redemption'"
        )
        await scene.decider._judge_waiting(scene.world.operate)
        assert await scene.state(op_id) == "approved"
        [request] = [e for e in await scene.contract.events() if e.kind == chain_token.REQUESTED]
        role = await scene.contract.role("REDEEMER_ROLE")
        await scene.confirmed(scene.admin, "grantRole(bytes32,address)", role, scene.admin.address)
        await scene.confirmed(
            scene.admin, "rejectRedeem(bytes32,bytes32)", request.topics[0], bytes(32)
        )
        await scene.follow()
        await w.lift(scene.world.pool)
        for _ in range(3):
            await scene.decider.step(scene.world.operate)
            assert await scene.state(op_id) == "held"
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bank.payout_attempt") == 0


@pytest.mark.parametrize("amount", [2**63, 2**200])
async def test_an_amount_that_no_bank_can_pay_is_a_break_and_stops_nothing(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact, amount: int
) -> None:
    async with staged(database, anvil) as scene:
        await _mint_as_admin(scene, amount)
        await scene.confirmed(scene.holder, "requestRedeem(uint256,bytes32)", amount, bytes(32))
        await scene.follow()
        kinds = await scene.world.pool.fetch("SELECT kind FROM recon.break ORDER BY kind")
        assert [row["kind"] for row in kinds] == ["amount", "unauthorized_mint"]
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.operation") == 0
