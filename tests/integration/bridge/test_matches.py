"""What is matched is never matched beyond itself: Postgres judges, whoever asks and however many at once."""

import asyncio

import asyncpg
import pytest

from bridge.matches import Match, open_matches, revoke_matches
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w

MATCHERS = 30
OPERATION = "SELECT operation_id, entry_id FROM bridge.operation WHERE op_id = $1"
ALLOCATED = (
    "SELECT coalesce(sum(amount_minor), 0) FROM recon.allocation WHERE entry_id = $1 AND live"
)


async def operation(world: w.World, name: str, amount: int) -> tuple[int, int]:
    """A new issuance, and the entry of its deposit."""
    op_id = await w.add_issuance(world, name, amount)
    [row] = await world.pool.fetch(OPERATION, op_id)
    return row["operation_id"], row["entry_id"]


def match(operation_id: int, entry_id: int, amount: int) -> Match:
    block_hash = w.digest(f"block of {operation_id}")
    return Match(operation_id, "op_id", entry_id, w.CHAIN_ID, block_hash, 0, amount)


async def test_one_statement_cannot_allocate_an_entry_beyond_its_amount(database: Database) -> None:
    async with w.opened(database) as world:
        one, entry_id = await operation(world, "one", 100)
        other, _ = await operation(world, "other", 100)
        with pytest.raises(asyncpg.PostgresError, match="beyond its amount"):
            async with fenced(world.pool, world.operate) as connection:
                both = [match(one, entry_id, 60), match(other, entry_id, 41)]
                await open_matches(connection, both)
        assert await world.pool.fetchval(ALLOCATED, entry_id) == 0


async def test_what_was_given_up_can_be_allocated_again(database: Database) -> None:
    async with w.opened(database) as world:
        one, entry_id = await operation(world, "one", 100)
        other, _ = await operation(world, "other", 100)
        async with fenced(world.pool, world.operate) as connection:
            await open_matches(connection, [match(one, entry_id, 100)])
        async with fenced(world.pool, world.operate) as connection:
            await revoke_matches(connection, [one])
            await open_matches(connection, [match(other, entry_id, 100)])
        assert await world.pool.fetchval(ALLOCATED, entry_id) == 100


async def test_many_at_once_cannot_allocate_an_entry_beyond_its_amount(database: Database) -> None:
    async with w.opened(database) as world:
        _, entry_id = await operation(world, "deposit", 100)
        others = [(await operation(world, f"other {n}", 30))[0] for n in range(MATCHERS)]

        async def allocated(operation_id: int) -> bool:
            try:
                async with fenced(world.pool, world.operate) as connection:
                    await open_matches(connection, [match(operation_id, entry_id, 30)])
            except asyncpg.IntegrityConstraintViolationError:
                return False
            return True

        assert sum(await asyncio.gather(*map(allocated, others))) == 3
        assert await world.pool.fetchval(ALLOCATED, entry_id) == 90
