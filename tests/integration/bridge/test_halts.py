"""One person stops money, and two let it go on: Postgres refuses anything else, whatever the code above it does."""

import json
from collections.abc import Sequence

import asyncpg
import pytest

from bridge import halts, journal, rotation
from bridge.halts import ResumeRefusedError
from bridge.watch import record_identity
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w


async def _halted(pool: asyncpg.Pool, *reasons: str) -> list[int]:
    async with pool.acquire() as connection:
        for reason in reasons:
            await halts.halt(connection, "money", reason, "somebody")
        return [one.halt_id for one in await halts.open_halts(connection)]


async def _proposed(pool: asyncpg.Pool, halt_ids: Sequence[int], by: str = "Alice") -> bytes:
    async with pool.acquire() as connection:
        return await halts.propose(connection, json.dumps({"halts": halt_ids}), by)


@pytest.mark.parametrize("by", ["Alice", "alice", " ALICE "])
async def test_nobody_approves_what_they_proposed(database: Database, by: str) -> None:
    async with w.opened(database) as world:
        halt_ids = await _halted(world.pool, "a drill")
        proposal = await _proposed(world.pool, halt_ids)
        async with world.pool.acquire() as connection:
            with pytest.raises(ResumeRefusedError, match="second person"):
                await halts.approve(connection, proposal, halt_ids, by)
        assert await halts.is_halted(world.pool, "money")


async def test_another_person_lifts_just_what_was_proposed(database: Database) -> None:
    async with w.opened(database) as world:
        first, second = await _halted(world.pool, "a drill", "another")
        proposal = await _proposed(world.pool, [first])
        async with world.pool.acquire() as connection:
            with pytest.raises(ResumeRefusedError, match="a proposal that names it"):
                await halts.approve(connection, proposal, [second], "Bob")
            [lifted] = await halts.approve(connection, proposal, [first], "Bob")
            assert lifted.reason == "a drill"
            [left] = await halts.open_halts(connection)
        assert left.halt_id == second


async def test_sql_as_the_daemon_cannot_lift_alone(database: Database) -> None:
    async with w.opened(database) as world:
        await _halted(world.pool, "a drill")
        for statement in (
            "UPDATE ops.halt SET closed_by = 'Bob', closed_at = now()",
            "UPDATE ops.halt SET closed_by = 'Bob', closed_at = now(), proposal = sha256('x')",
            "DELETE FROM ops.halt",
        ):
            with pytest.raises(asyncpg.PostgresError):
                await world.pool.execute(statement)
        assert await halts.is_halted(world.pool, "money")


async def test_a_proposal_is_what_its_hash_says(database: Database) -> None:
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.CheckViolationError):
            await world.pool.execute(
                """INSERT INTO ops.resume_proposal (proposal, content, proposed_by)
                   VALUES (sha256('other'), '{"halts": [1]}', 'Alice')"""
            )


async def test_a_state_loss_is_not_lifted_in_a_database_that_was_not_accepted(
    database: Database,
) -> None:
    async with w.opened(database) as world:
        async with world.pool.acquire() as connection:
            await record_identity(connection, "daemon")
        await _as_if_restored(database)
        assert await halts.is_halted(world.pool, "money"), "nobody had to notice"
        async with world.pool.acquire() as connection:
            with pytest.raises(asyncpg.PostgresError, match="where a state loss has halted money"):
                await record_identity(connection, "Bob")
            await halts.latch(connection, ["a copy"], "watch")
            [loss] = await halts.open_halts(connection)
        proposal = await _proposed(world.pool, [loss.halt_id])
        async with world.pool.acquire() as connection:
            with pytest.raises(ResumeRefusedError, match="after a rescan"):
                await halts.approve(connection, proposal, [loss.halt_id], "Bob")
            await record_identity(connection, "Bob")
            await halts.approve(connection, proposal, [loss.halt_id], "Bob")
        assert not await halts.is_halted(world.pool, "money")


async def test_nonces_are_given_up_only_after_a_state_loss(database: Database) -> None:
    async with w.opened(database) as world:
        await _halted(world.pool, "a drill")
        with pytest.raises(asyncpg.PostgresError, match="given up only where a state loss"):
            await _give_up(world, 3)
        async with world.pool.acquire() as connection:
            await halts.latch(connection, ["a copy"], "watch")
        await _give_up(world, 3)
        rows = await world.pool.fetch("SELECT nonce, purpose FROM bridge.tx ORDER BY nonce")
        assert [(row["nonce"], row["purpose"]) for row in rows] == [
            (nonce, "unknown") for nonce in range(3)
        ]


@pytest.mark.parametrize(("states", "given_up"), [(["draining"], 3), (["draining", "retired"], 0)])
async def test_a_signer_that_drains_goes_on_behind_what_was_lost_and_a_retired_one_does_not(
    database: Database, states: list[rotation.State], given_up: int
) -> None:
    async with w.opened(database) as world:
        async with world.pool.acquire() as connection:
            for state in states:
                await rotation.move(connection, w.CHAIN_ID, w.SIGNER, state)
            await halts.latch(connection, ["a copy"], "watch")
        await _give_up(world, 3)
        assert await world.pool.fetchval("SELECT count(*) FROM bridge.tx") == given_up


async def _give_up(world: w.World, first_free: int) -> None:
    async with fenced(world.pool, world.submit) as connection:
        await journal.give_up_nonces(connection, w.CHAIN_ID, w.SIGNER, first_free)


async def _as_if_restored(database: Database) -> None:
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await owner.execute(
            """ALTER TABLE ops.database_identity DISABLE TRIGGER ALL;
               UPDATE ops.database_identity SET timeline_id = timeline_id + 1;
               ALTER TABLE ops.database_identity ENABLE TRIGGER ALL"""
        )
    finally:
        await owner.close()
