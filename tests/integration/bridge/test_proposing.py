"""People approve intents before there is a nonce: slow, missing and refused ones hold nothing else up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import pytest
from coincurve import PrivateKey
from pydantic import SecretStr

from bridge import intents, journal
from bridge.custody.approval import ApprovalCustody, ApprovalSettings
from bridge.custody.simulator.custodian import Custodian
from bridge.custody.simulator.server import SimulatedCustodian, SimulatorSettings
from bridge.journal import Intent
from bridge.lane import Lane, role
from bridge.taker import TakerSettings
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from indexer.lease import Fence, fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import SETTINGS, Scene, staged
from tests.integration.bridge.test_lane_batches import decide, reserved
from tests.integration.bridge.test_lane_cancel import cancel

API_KEY = "custodian-key"
APPROVERS = ("first", "second", "third")


@dataclass
class Vault:
    """A lane whose custody asks people, and the people; ``lane`` may be made anew, as after a kill."""

    scene: Scene
    simulator: SimulatedCustodian
    wallet: Wallet
    fence: Fence
    settings: ApprovalSettings
    lane: Lane
    custody: ApprovalCustody

    async def restart(self) -> None:
        await self.custody.close()
        self.custody = await ApprovalCustody.open(self.settings)
        self.lane = lane_of(self.scene, self.custody, self.wallet)

    async def steps(self, count: int = 3) -> None:
        for _ in range(count):
            await self.lane.step(self.fence)

    @property
    def tickets(self) -> list[str]:
        """Of the intents that arrived at the custodian."""
        entries = self.simulator.custodian.entries
        return [one for one in entries if one.startswith("intent-")]

    async def intents(self) -> list[str]:
        rows = await self.scene.world.pool.fetch("SELECT state FROM bridge.intent ORDER BY 1")
        return [row["state"] for row in rows]

    def approve(self, ticket: str, *approvers: str) -> None:
        for name in approvers:
            self.simulator.custodian.approve(ticket, name)


def lane_of(scene: Scene, custody: ApprovalCustody, wallet: Wallet, **changes: int) -> Lane:
    taking = TakerSettings(window_s=0.0, batch_items=1)
    settings = replace(SETTINGS, taking=taking, **changes)  # type: ignore[arg-type]
    node = scene.lane._taker._node
    return Lane(scene.world.pool, node, custody, scene.token, wallet.address, settings)


@asynccontextmanager
async def vault(database: Database, anvil: Anvil) -> AsyncIterator[Vault]:
    """The only signer that works; nobody decides unless the test does."""
    async with staged(database, anvil) as scene:
        await scene.world.pool.execute("UPDATE bridge.signer SET state = 'draining'")
        wallet = Wallet.new()
        await scene.make_minter(wallet)
        await chain_token.fund(anvil, wallet.address)
        people = {
            name: PrivateKey(bytes((place + 1,)) * 32) for place, name in enumerate(APPROVERS)
        }
        custodian = Custodian("vault", PrivateKey(bytes(wallet.account.key)), people, quorum=2)
        nobody = SimulatorSettings(API_KEY, decide_after_s=None)
        async with SimulatedCustodian(custodian, nobody) as simulator:
            settings = ApprovalSettings(
                section="signers.vault",
                url=SecretStr(simulator.url),
                account="vault",
                api_key=SecretStr(API_KEY),
                address=wallet.address,
                poll_interval_s=0.001,
            )
            custody = await ApprovalCustody.open(settings)
            lane = lane_of(scene, custody, wallet)
            fence = await w.take(scene.world.pool, role(wallet.address))
            await lane.open(fence, "vault")
            found = Vault(scene, simulator, wallet, fence, settings, lane, custody)
            try:
                yield found
            finally:
                await found.custody.close()


async def test_one_that_is_never_approved_does_not_hold_up_the_others(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        op_ids = await reserved(people.scene, "a", "b", "c")
        await people.steps()
        assert len(people.tickets) == 3
        counted = "SELECT count(*) FROM bridge.tx"
        assert await people.scene.world.pool.fetchval(counted) == 0, "no nonce waits for people"
        ignored, *others = people.tickets
        for ticket in others:
            people.approve(ticket, "first")
        await people.steps()
        assert await people.scene.world.pool.fetchval(counted) == 0, "one of two is not enough"
        for ticket in others:
            # Again, and in another order, as callbacks come.
            people.approve(ticket, "first", "third", "first")
        await people.steps()
        await anvil.mine()
        assert await people.scene.balance() == 200
        states = sorted([await people.scene.state(one) for one in op_ids])
        assert states == ["reserved", "submitted", "submitted"]
        assert await people.intents() == ["proposed", "used", "used"]
        rows = await people.scene.world.pool.fetch(
            "SELECT approver FROM bridge.intent_approval ORDER BY intent_id, approver"
        )
        assert [row["approver"] for row in rows] == ["first", "third"] * 2
        assert people.tickets[0] == ignored
        assert len(people.tickets) == 3


async def test_a_kill_between_proposing_and_approval_leaves_the_same_ticket(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        await reserved(people.scene, "a")
        # Killed when it is written and nobody has been asked.
        await people.lane._proposing._propose(people.fence)  # type: ignore[union-attr]
        assert people.tickets == []
        await people.restart()
        await people.steps()
        (ticket,) = people.tickets
        # Killed when they have been asked and have not decided.
        await people.restart()
        await people.steps()
        assert people.tickets == [ticket]
        people.approve(ticket, "second", "third")
        # Killed when they have decided and nobody has heard it.
        await people.restart()
        await people.steps()
        await anvil.mine()
        assert people.tickets == [ticket]
        assert await people.scene.balance() == 100


async def test_what_people_reject_is_told_and_taken_by_no_other_lane_until_it_is_reopened(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        scene, pool = people.scene, people.scene.world.pool
        (op_id,) = await reserved(scene, "a")
        await people.steps()
        (ticket,) = people.tickets
        people.simulator.custodian.reject(ticket, "who is this?")
        await people.steps()
        assert await people.intents() == ["rejected"]
        found = await pool.fetchrow("SELECT kind, severity, detail FROM recon.break")
        assert found is not None
        assert (found["kind"], found["severity"]) == ("approval", "warning")
        assert "who is this?" in found["detail"]
        # A key at hand would sign at once, and Postgres lets it have no nonce either.
        await pool.execute(
            """UPDATE bridge.signer SET state = CASE name WHEN 'minter' THEN 'active' ELSE 'draining' END"""
        )
        await scene.lane.step(scene.world.submit)
        assert await pool.fetchval("SELECT count(*) FROM bridge.tx") == 0
        with pytest.raises(asyncpg.PostgresError, match="nobody has approved"):
            async with fenced(pool, scene.world.submit) as connection:
                intent = Intent("mint", (op_id,), scene.token.address, b"call", 100_000)
                await journal.allocate(connection, w.CHAIN_ID, scene.signer, [intent], w.OFFER)
        async with pool.acquire() as connection:
            assert await intents.reopen(connection, 1, "a checker")
            with pytest.raises(asyncpg.PostgresError, match="is reopened"):
                await intents.reopen(connection, 1, "a checker")
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"
        assert await pool.fetchval("SELECT count(*) FROM recon.break WHERE closed_at IS NULL") == 0


async def test_what_is_too_late_is_proposed_anew_under_another_hash(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        await reserved(people.scene, "a")
        people.lane = lane_of(people.scene, people.custody, people.wallet, intent_valid_s=-1)
        await people.steps(2)
        assert await people.intents() == ["expired"]
        people.lane = lane_of(people.scene, people.custody, people.wallet)
        await people.steps()
        assert await people.intents() == ["expired", "proposed"]
        (ticket,) = people.tickets
        people.approve(ticket, "first", "second")
        await people.steps()
        await anvil.mine()
        assert await people.scene.balance() == 100


async def test_what_was_approved_and_is_frozen_meanwhile_waits_and_then_goes_on(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        scene = people.scene
        (op_id,) = await reserved(scene, "a")
        await people.steps()
        (ticket,) = people.tickets
        people.approve(ticket, "first", "second")
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, True)
        await people.steps()
        assert await scene.state(op_id) == "held"
        await scene.confirmed(scene.admin, "setFrozen(address,bool)", scene.holder.address, False)
        await scene.follow()
        await decide(scene)
        await people.steps()
        assert await scene.state(op_id) == "submitted"
        assert people.tickets[:1] == [ticket], "nobody was asked a second time"
        assert await people.intents() == ["used"]


async def test_what_a_signer_that_drains_has_proposed_is_free_for_another_lane(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        scene, pool = people.scene, people.scene.world.pool
        (op_id,) = await reserved(scene, "a")
        await people.steps()
        await pool.execute("UPDATE bridge.signer SET state = 'draining' WHERE name = 'vault'")
        with pytest.raises(asyncpg.PostgresError, match="still has intents"):
            await pool.execute("UPDATE bridge.signer SET state = 'retired' WHERE name = 'vault'")
        await people.steps(1)
        assert await people.intents() == ["expired"]
        await pool.execute("UPDATE bridge.signer SET state = 'retired' WHERE name = 'vault'")
        await pool.execute("UPDATE bridge.signer SET state = 'active' WHERE name = 'minter'")
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"


async def test_a_mint_that_two_people_cancel_leaves_its_intent_and_is_voided_instead(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with vault(database, anvil) as people:
        scene = people.scene
        (op_id,) = await reserved(scene, "a")
        await people.steps()
        (ticket,) = people.tickets
        people.approve(ticket, "first", "second")
        await cancel(scene, op_id, "maker", "checker")
        await decide(scene)
        assert await scene.state(op_id) == "voiding"
        await people.steps()
        assert await people.intents() == ["expired", "proposed"]
        assert people.tickets[0] == ticket
        people.approve(people.tickets[1], "first", "second")
        await people.steps()
        await anvil.mine()
        status, _ = await scene.contract.ask(
            "operation(bytes32)", op_id, returns=["uint8", "bytes30"]
        )
        assert status == 2
        assert await scene.balance() == 0
