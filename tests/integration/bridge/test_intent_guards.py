"""Intents, as Postgres guards them: whatever the code above it does."""

from collections.abc import Sequence

import asyncpg
import pytest

from bridge import intents, journal
from bridge.custody.intent import Approval
from bridge.custody.intent import Intent as Asked
from bridge.journal import Intent
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w

LATE_S = 2_000_000_000


async def propose(world: w.World, op_ids: Sequence[bytes], valid_until_s: int = LATE_S) -> bytes:
    """An intent of these; answers with its hash."""
    asked = Asked(
        chain_id=w.CHAIN_ID,
        token=w.TOKEN.address,
        function="mintBatch",
        ids_digest=w.digest("ids"),
        count=len(op_ids),
        amount=100 * len(op_ids),
        valid_until_s=valid_until_s,
    )
    async with fenced(world.pool, world.submit) as connection:
        await intents.add(connection, w.SIGNER, asked, "mint", op_ids)
    return asked.hash


async def decide(world: w.World, decision: intents.Decision) -> None:
    """Of the newest intent."""
    async with fenced(world.pool, world.submit) as connection:
        intent_id = await connection.fetchval("SELECT max(intent_id) FROM bridge.intent")
        await intents.decide(connection, intent_id, decision)


async def carry(world: w.World, op_ids: Sequence[bytes], approved: bytes) -> None:
    intent = Intent("mint", tuple(op_ids), w.TOKEN.address, b"call", 100_000, approved)
    async with fenced(world.pool, world.submit) as connection:
        await journal.allocate(connection, w.CHAIN_ID, w.SIGNER, [intent], w.OFFER)
        await intents.use(connection, [approved])


async def two(world: w.World) -> list[bytes]:
    return [await w.add_issuance(world, name, 100, "approved", "reserved") for name in "ab"]


async def test_a_transaction_carries_the_whole_of_its_intent_and_nothing_else(
    database: Database,
) -> None:
    async with w.opened(database) as world:
        op_ids = await two(world)
        other = await w.add_issuance(world, "c", 100, "approved", "reserved")
        approved = await propose(world, op_ids)
        with pytest.raises(asyncpg.PostgresError, match="nobody has approved"):
            await carry(world, op_ids, approved)
        await decide(world, "approved")
        for chosen in (op_ids[:1], [*op_ids, other], [other]):
            with pytest.raises(asyncpg.PostgresError, match="carries exactly"):
                await carry(world, chosen, approved)
        await carry(world, op_ids, approved)


async def test_an_operation_is_in_one_intent_or_one_transaction(database: Database) -> None:
    async with w.opened(database) as world:
        op_ids = await two(world)
        await w.allocate(world, op_ids[0])
        with pytest.raises(asyncpg.PostgresError, match="has a transaction already"):
            await propose(world, op_ids)
        await propose(world, op_ids[1:])
        with pytest.raises(asyncpg.UniqueViolationError):
            await propose(world, op_ids[1:], LATE_S + 1)
        with pytest.raises(asyncpg.PostgresError, match="stays in its intent"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute("UPDATE bridge.intent_operation SET live = false")
        await decide(world, "expired")
        await propose(world, op_ids[1:], LATE_S + 1)


async def test_an_intent_moves_as_listed_and_says_what_it_said(database: Database) -> None:
    async with w.opened(database) as world:
        await propose(world, await two(world))
        await decide(world, "rejected")
        with pytest.raises(asyncpg.PostgresError, match="does not become"):
            await decide(world, "approved")
        with pytest.raises(asyncpg.PostgresError, match="does not become"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute(
                    "UPDATE bridge.intent SET state = 'reopened', amount_minor = 1"
                )
        with pytest.raises(asyncpg.PostgresError, match="is decided"):
            async with world.pool.acquire() as connection:
                await intents.sign(connection, 1, Approval("ada", b"s"))


async def test_what_a_transaction_mints_is_written_by_postgres_and_stays(
    database: Database,
) -> None:
    async with w.opened(database) as world:
        op_ids = await two(world)
        await w.allocate(world, op_ids[0])
        assert await world.pool.fetchval("SELECT minted_minor FROM bridge.tx") == 100
        with pytest.raises(asyncpg.PostgresError, match="only its outcome may be added"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute("UPDATE bridge.tx SET minted_minor = 1")
