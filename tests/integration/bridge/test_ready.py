"""Which operations a lane chooses, beside others."""

from bridge import journal, ready
from bridge.lane import role
from bridge.ready import SHARE_S, Ready
from bridge.rules import PURPOSES
from bridge.taker import ANY_AMOUNT
from indexer import lease
from indexer.database import Connection
from indexer.lease import Fence, fenced
from tests.conftest import Database
from tests.integration.bridge import world as w

OTHER = b"R" * 20
OPERATIONS = 12


async def _chosen(connection: Connection, signer: bytes) -> set[int]:
    return {one.operation_id for one in await _selected(connection, signer)}


async def _selected(connection: Connection, signer: bytes) -> list[Ready]:
    return await ready.select(
        connection,
        w.TOKEN,
        signer,
        100,
        purposes=PURPOSES,
        amounts=ANY_AMOUNT,
        mint_deadline_s=3600,
        retry_refused_s=15.0,
    )


async def _two_lanes(world: w.World) -> Fence:
    """Operations that are ready, and a second lane at work; answers with its fence."""
    await w.add_chain(world, 5, 9)
    for number in range(OPERATIONS):
        await w.add_issuance(world, f"d{number}", 100, "approved", "reserved")
    other = await w.take(world.pool, role(OTHER))
    async with fenced(world.pool, other) as connection:
        await journal.open_signer(connection, w.CHAIN_ID, OTHER, "second")
    return other


async def test_lanes_at_work_divide_what_is_ready(database: Database) -> None:
    async with w.opened(database) as world:
        other = await _two_lanes(world)
        async with world.pool.acquire() as connection:
            ours, theirs = await _chosen(connection, w.SIGNER), await _chosen(connection, OTHER)
            assert ours
            assert theirs
            assert not ours & theirs
            assert len(ours | theirs) == OPERATIONS
            # Nobody works the other lane any more: what was its share is ours.
            await lease.release(connection, other)
            assert await _chosen(connection, w.SIGNER) == ours | theirs


async def test_what_has_waited_long_is_anybodys_after_their_own(database: Database) -> None:
    async with w.opened(database) as world:
        await _two_lanes(world)
        async with world.pool.acquire() as connection:
            ours = await _chosen(connection, w.SIGNER)
        async with fenced(world.pool, world.submit) as connection:
            await connection.execute(
                """UPDATE bridge.operation
                   SET updated_at = clock_timestamp() - make_interval(secs => $1)""",
                SHARE_S + 1,
            )
        async with world.pool.acquire() as connection:
            found = await _selected(connection, w.SIGNER)
        assert len(found) == OPERATIONS
        assert {one.operation_id for one in found[: len(ours)]} == ours
