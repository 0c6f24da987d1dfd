"""Many operations in one transaction, and transactions that cost too little, were refused, or are shared by lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from coincurve import PrivateKey

from bridge.custody.keystore import KeystoreCustody
from bridge.custody.protocol import Outcome, Rejected, SignRequest
from bridge.lane import Lane, role
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import SETTINGS, Scene, staged

FINAL_BLOCKS = 6


async def outcomes(scene: Scene) -> list[str | None]:
    rows = await scene.world.pool.fetch("SELECT outcome FROM bridge.tx ORDER BY tx_id")
    return [row["outcome"] for row in rows]


async def finish(scene: Scene) -> None:
    """Everything that was sent is mined and final, and acted on."""
    await scene.anvil.mine(FINAL_BLOCKS)
    await scene.follow()
    while await scene.lane.step(scene.world.submit):
        pass


async def reserved(
    scene: Scene, *names: str, wallet: bytes | None = None, amount: int = 100
) -> list[bytes]:
    """Issuances that wait for a nonce, their amounts held in the ledger."""
    holder = scene.holder.address if wallet is None else wallet
    op_ids = [
        await w.add_issuance(scene.world, one, amount, token=scene.contract.address, wallet=holder)
        for one in names
    ]
    await decide(scene)
    return op_ids


async def decide(scene: Scene) -> None:
    while await scene.decider.step(scene.world.operate):
        pass


async def test_many_mints_are_one_transaction_and_settle_together(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        op_ids = await reserved(scene, *(f"d{n}" for n in range(120)))
        await scene.lane.step(scene.world.submit)
        # The first batches are short, until it is known how much gas an operation takes.
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 3
        await anvil.mine()
        assert await scene.balance() == 120 * 100
        await scene.follow()
        await finish(scene)
        assert await outcomes(scene) == ["success"] * 3
        states = {await scene.state(op_id) for op_id in op_ids}
        assert len(states) == 1


async def test_one_bad_mint_is_set_aside_and_the_others_go_on(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        stranger = Wallet.new()
        good = await reserved(scene, "a", "b")
        bad = await w.add_issuance(
            scene.world,
            "c",
            100,
            "approved",
            "reserved",
            token=scene.contract.address,
            wallet=stranger.address,
        )
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 200
        assert [await scene.state(op_id) for op_id in good] == ["submitted"] * 2
        assert await scene.state(bad) == "held"
        detail = await scene.world.pool.fetchval("SELECT detail FROM recon.break")
        assert "AccountNotAllowed" in detail


async def test_what_slips_through_is_refused_by_the_token_and_is_free_again_when_that_is_final(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Frozen between the simulation and the block: the batch goes through without that one."""
    async with staged(database, anvil) as scene:
        other = Wallet.new()
        await scene.confirmed(scene.admin, "setAllowed(address,bool)", other.address, True)
        await scene.follow()
        [good] = await reserved(scene, "a")
        [late] = await reserved(scene, "b", wallet=other.address)
        await scene.lane._taker.step(scene.world.submit)
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", other.address, True)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.state(good) == "mined"
        assert await scene.state(late) == "submitted", "not before its block is final"
        await finish(scene)
        assert await outcomes(scene) == ["success"]
        assert await scene.state(late) == "approved"
        assert await scene.state(good) in ("final", "settled")
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", other.address, False)
        await scene.follow()
        await decide(scene)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        held = await scene.contract.ask("balanceOf(address)", other.address, returns=["uint256"])
        assert held == 100
        assert await scene.balance() == 100


async def test_a_batch_that_is_too_much_for_the_minters_limit_goes_as_far_as_that(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        await scene.confirmed(
            scene.admin,
            "configureMinter(address,uint256,uint208,uint48)",
            scene.signer,
            250,
            10**15,
            1,
        )
        op_ids = await reserved(scene, "a", "b", "c")
        await scene.lane.step(scene.world.submit)
        states = sorted([await scene.state(op_id) for op_id in op_ids])
        assert states == ["held", "submitted", "submitted"]
        # What is in flight counts: nothing more is taken before it is mined.
        [more] = await reserved(scene, "e")
        await scene.lane.step(scene.world.submit)
        assert await scene.state(more) == "reserved"
        await anvil.mine()
        assert await scene.balance() == 200
        # What stands in a block the token has counted itself, final or not.
        [small] = await reserved(scene, "f", amount=50)
        await scene.lane.step(scene.world.submit)
        assert await scene.state(small) == "reserved"
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.state(small) == "submitted"


async def test_more_is_offered_for_what_waits_too_long(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        lane = relaid(scene, bump_after_s=0.0)
        [op_id] = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        # The base fee rises far above the offer.
        await anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(100 * 10**9))
        await anvil.mine()
        for _ in range(3):
            await lane.step(scene.world.submit)
        offers = await scene.world.pool.fetch(
            "SELECT max_fee_wei, priority_fee_wei FROM bridge.tx_attempt ORDER BY attempt"
        )
        assert len(offers) >= 2
        for lower, higher in pairwise(offers):
            for field in ("max_fee_wei", "priority_fee_wei"):
                assert higher[field] * 10 >= lower[field] * 11, "geth's rule"
        assert offers[-1]["max_fee_wei"] > 100 * 10**9
        await anvil.mine()
        assert await scene.balance() == 100
        await scene.follow()
        await finish(scene)
        assert await scene.state(op_id) in ("final", "settled")
        assert await outcomes(scene) == ["success"]


class Refusing:
    """Custody that signs nothing that does something."""

    def __init__(self, scene: Scene) -> None:
        self._custody = scene.lane._signing._custody
        self._refused: set[str] = set()

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        self._refused = {one.request_id for one in requests if one.data}
        kept = [one for one in requests if one.request_id not in self._refused]
        await self._custody.submit(kept)
        return [one.request_id for one in requests]

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        found: list[Outcome] = []
        for ticket in tickets:
            if ticket in self._refused:
                found.append(Rejected("not today"))
            else:
                found += await self._custody.poll([ticket])
        return found


async def test_a_nonce_that_custody_refuses_is_filled_and_its_operations_are_free_again(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        [op_id] = await reserved(scene, "a")
        custody, scene.lane._signing._custody = scene.lane._signing._custody, Refusing(scene)  # type: ignore[assignment]
        for _ in range(3):
            await scene.lane.step(scene.world.submit)
        scene.lane._signing._custody = custody
        await anvil.mine()
        await scene.follow()
        assert await scene.state(op_id) == "reserved"
        await finish(scene)
        assert await outcomes(scene) == ["cancelled"]
        await scene.follow()
        await decide(scene)
        assert await scene.balance() == 0
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        assert await scene.balance() == 100


async def test_two_lanes_share_the_operations_and_none_is_minted_twice(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        second = Wallet.new()
        await chain_token.fund(anvil, second.address)
        await scene.make_minter(second)
        other = relaid(scene, second)
        fence = await w.take(scene.world.pool, role(second.address))
        await other.open(fence, "second")
        await reserved(scene, *(f"d{n}" for n in range(40)))
        for _ in range(2):
            await scene.lane.step(scene.world.submit)
            await other.step(fence)
        await anvil.mine()
        assert await scene.balance() == 40 * 100
        shares = await scene.world.pool.fetch(
            """SELECT t.signer, count(*) FROM bridge.tx t JOIN bridge.tx_operation l USING (tx_id)
               GROUP BY t.signer"""
        )
        assert len(shares) == 2
        assert sum(row["count"] for row in shares) == 40


def relaid(
    scene: Scene,
    wallet: Wallet | None = None,
    *,
    batch_items: int | None = None,
    **changes: object,
) -> Lane:
    """Another lane, or the same one with other settings."""
    custody = scene.lane._signing._custody
    if wallet is not None:
        custody = KeystoreCustody(PrivateKey(bytes(wallet.account.key)))
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    if batch_items is not None:
        settings = replace(settings, taking=replace(settings.taking, batch_items=batch_items))
    return Lane(
        scene.world.pool,
        scene.lane._taker._node,
        custody,
        scene.token,
        scene.signer if wallet is None else wallet.address,
        settings,
    )
