"""Limits of minting: kept by Postgres whatever lanes do, and by the lane without holding anything up."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from bridge import journal, lane, minted
from bridge.journal import Intent
from bridge.lane import Lane
from bridge.limits import Limits, Minted
from bridge.rules import Rules
from bridge.taker import TakerSettings
from daemon.embedded.anvil import Anvil
from indexer.lease import Fence, fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import SETTINGS, Scene, staged
from tests.integration.bridge.test_lane_batches import decide, finish, outcomes, reserved

OTHER = b"O" * 20
NONE = Limits("the signer")


async def declared(world: w.World, *, of_signer: Limits = NONE, of_account: Limits = NONE) -> None:
    async with fenced(world.pool, world.submit) as connection:
        await minted.declare(
            connection,
            w.CHAIN_ID,
            w.SIGNER,
            w.TOKEN.account_id,
            of_signer=of_signer,
            of_account=of_account,
        )


async def take(connection: asyncpg.Connection, signer: bytes, op_id: bytes) -> None:
    intent = Intent("mint", (op_id,), w.TOKEN.address, b"call", 100_000)
    await journal.allocate(connection, w.CHAIN_ID, signer, [intent], w.OFFER)


async def other_lane(world: w.World) -> Fence:
    fence = await w.take(world.pool, lane.role(OTHER))
    async with fenced(world.pool, fence) as connection:
        await journal.open_signer(connection, w.CHAIN_ID, OTHER, "other")
    return fence


@pytest.mark.parametrize("bound", [{"operation": 99}, {"hour": 199}, {"day": 199}])
@pytest.mark.parametrize("whose", ["of_signer", "of_account"])
async def test_postgres_gives_no_nonce_over_a_limit(
    database: Database, bound: dict[str, int], whose: str
) -> None:
    async with w.opened(database) as world:
        op_ids = [await w.add_issuance(world, n, 100, "approved", "reserved") for n in "ab"]
        if "operation" not in bound:
            await w.allocate(world, op_ids[0])
        await declared(world, **{whose: Limits("it", **bound)})
        with pytest.raises(asyncpg.PostgresError, match="more than") as refused:
            await w.allocate(world, op_ids[1])
        assert refused.value.sqlstate == "LB007"
        await declared(world, **{whose: Limits("it", operation=100, hour=200, day=200)})
        await w.allocate(world, op_ids[1])


async def test_two_lanes_together_do_not_pass_the_limit_of_an_account(database: Database) -> None:
    """The second one waits until the first has committed, and then sees it."""
    async with w.opened(database) as world:
        fence = await other_lane(world)
        await declared(world, of_account=Limits("the bank account", hour=150))
        op_ids = [await w.add_issuance(world, n, 100, "approved", "reserved") for n in "ab"]

        async def take_other() -> None:
            async with fenced(world.pool, fence) as connection:
                await take(connection, OTHER, op_ids[1])

        async with fenced(world.pool, world.submit) as connection:
            await take(connection, w.SIGNER, op_ids[0])
            second = asyncio.create_task(take_other())
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            while True:
                if second.done() or await world.pool.fetchval(waits):
                    break
                await asyncio.sleep(0.05)
            assert not second.done(), "it waits for the first one's commit"
        with pytest.raises(asyncpg.PostgresError, match="more than"):
            await second
        assert await world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 1


async def test_a_limit_is_written_when_it_changes_and_never_edited(database: Database) -> None:
    async with w.opened(database) as world:
        counted = "SELECT count(*) FROM bridge.mint_limit"
        await declared(world)
        assert await world.pool.fetchval(counted) == 0
        for hour, rows in ((5, 1), (5, 1), (6, 2), (None, 3)):
            await declared(world, of_signer=Limits("the signer", hour=hour))
            assert await world.pool.fetchval(counted) == rows
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute("UPDATE bridge.mint_limit SET hour_minor = 9")


def ruled(scene: Scene, rules: Rules) -> Lane:
    return Lane(
        scene.world.pool,
        scene.lane._taker._node,
        scene.lane._signing._custody,
        scene.token,
        scene.signer,
        replace(SETTINGS, rules=rules, taking=TakerSettings(window_s=0.0, retry_refused_s=0.0)),
    )


async def an_hour_later(database: Database) -> None:
    owner = await asyncpg.connect(database.owner_dsn)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("UPDATE bridge.tx SET resolved_at = resolved_at - interval '61 minutes'")
    await owner.close()


async def test_what_is_over_the_hour_waits_alone_and_goes_on_by_itself(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        pool = scene.world.pool
        limited = ruled(scene, Rules(of_account=Limits("the bank account", hour=250)))
        await limited.open(scene.world.submit, "minter")
        (first,) = await reserved(scene, "a", amount=200)
        await limited.step(scene.world.submit)
        big, small = await reserved(scene, "b", amount=100), await reserved(scene, "c", amount=50)
        await limited.step(scene.world.submit)
        assert await scene.state(first) == "submitted"
        assert await scene.state(small[0]) == "submitted", "nothing waits behind the big one"
        assert await scene.state(big[0]) == "reserved"
        details = await pool.fetch("SELECT kind, detail FROM recon.break WHERE closed_at IS NULL")
        assert [row["kind"] for row in details] == ["limit"]
        assert "250 minor units in an hour for the bank account" in details[0]["detail"]
        await finish(scene)
        assert not await limited.step(scene.world.submit), "final, and still within the hour"
        async with pool.acquire() as connection:
            assert await minted.minted_for(connection, w.TOKEN.account_id) == Minted(250, 250)
        await an_hour_later(database)
        async with pool.acquire() as connection:
            assert await minted.minted_by(connection, w.CHAIN_ID, scene.signer) == Minted(0, 250)
        await limited.step(scene.world.submit)
        assert await scene.state(big[0]) == "submitted"
        assert not await pool.fetchval("SELECT count(*) FROM recon.break WHERE closed_at IS NULL")


async def test_what_policy_refuses_after_it_has_its_nonce_becomes_a_noop(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        (op_id,) = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        strict = ruled(scene, Rules(recipients=frozenset({b"x" * 20})))
        await strict.step(scene.world.submit)
        await strict.step(scene.world.submit)
        await scene.anvil.mine()
        assert await scene.balance() == 0
        refused = await scene.world.pool.fetchval("SELECT refused FROM bridge.tx_attempt LIMIT 1")
        assert "policy: 0x" in refused
        await finish(scene)
        assert await outcomes(scene) == ["cancelled"]
        await decide(scene)
        await strict.step(scene.world.submit)
        assert await scene.state(op_id) == "reserved"
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 1


async def test_a_limit_that_was_lowered_holds_for_what_has_a_nonce_and_no_signature(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Of three that have a nonce, those are signed that fit, in the order of their nonces."""
    async with staged(database, anvil) as scene:
        for name in "abc":
            await reserved(scene, name)
            await scene.lane._taker.step(scene.world.submit)
        lowered = ruled(scene, Rules(of_signer=Limits("the signer", hour=200)))
        await lowered.step(scene.world.submit)
        await scene.anvil.mine()
        assert await scene.balance() == 200
        rows = await scene.world.pool.fetch("SELECT refused FROM bridge.tx_attempt ORDER BY 1")
        assert sum(row["refused"] is not None for row in rows) == 1


async def test_a_higher_offer_that_policy_refuses_is_not_tried_again_at_once(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        (op_id,) = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute("SET session_replication_role = replica")
        await owner.execute(
            "UPDATE bridge.tx_attempt SET created_at = created_at - interval '61 seconds'"
        )
        await owner.close()
        strict = ruled(scene, Rules(recipients=frozenset({b"x" * 20})))
        for _ in range(3):
            await strict.step(scene.world.submit)
        rows = await scene.world.pool.fetch(
            "SELECT refused FROM bridge.tx_attempt ORDER BY attempt"
        )
        assert [row["refused"] is None for row in rows] == [True, False]
        await scene.anvil.mine()
        await finish(scene)
        assert await scene.state(op_id) == "settled", "what was signed before is mined"
