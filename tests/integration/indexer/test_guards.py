"""What the database itself refuses, and what one transaction keeps together. Each of these fails when
the guard that it is named after is taken away."""

from __future__ import annotations

import asyncpg
import pytest

from indexer import lease
from indexer.errors import LeaseLost
from indexer.lease import Fence
from tests.integration.indexer.conftest import Books, Following
from tests.integration.indexer.scripted_node import CHAIN_ID, ScriptedNode

REFUSED = asyncpg.IntegrityConstraintViolationError
FENCE_SQLSTATE = "LB001"


async def settled(node: ScriptedNode, follower: Following) -> None:
    """Eight blocks, of which six are final."""
    node.grow(8)
    await follower.settle()
    node.finalized = 6
    assert (await follower.settle()).finalized_number == 6


async def refuse(books: Books, statement: str, *values: object) -> None:
    """The daemon's own role, holding the fence, may not do this."""
    async with books.pool.acquire() as connection:
        with pytest.raises(REFUSED):
            async with connection.transaction():
                await lease.enter(connection, books.fence)
                await connection.execute(statement, *values)


@pytest.mark.parametrize(
    ("table", "height"),
    [
        ("chain.block", "number"),
        ("chain.log", "block_number"),
        ("event.token_sent", "block_number"),
    ],
)
async def test_finality_trigger_keeps_the_flag_of_final_rows(
    books: Books, node: ScriptedNode, follower: Following, table: str, height: str
) -> None:
    await settled(node, follower)
    await refuse(books, f"UPDATE {table} SET canonical = false WHERE {height} = 6")
    # One above is not final yet: the guard is about finality, not about updates.
    async with books.pool.acquire() as connection, connection.transaction():
        await lease.enter(connection, books.fence)
        done = await connection.execute(f"UPDATE {table} SET canonical = false WHERE {height} = 8")
    assert done == "UPDATE 1"


async def test_finality_trigger_keeps_the_cursor_from_going_back(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    await settled(node, follower)
    lower = "SELECT hash FROM chain.block WHERE number = 5"
    await refuse(books, f"UPDATE chain.cursor SET finalized_number = 5, finalized_hash = ({lower})")
    await refuse(books, "UPDATE chain.cursor SET finalized_number = NULL, finalized_hash = NULL")
    await refuse(books, "UPDATE chain.cursor SET safe_number = finalized_number - 1")
    # Up, but to a block that we do not hold.
    await refuse(books, "UPDATE chain.cursor SET finalized_number = 7")


async def test_a_reorg_is_one_transaction(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    """When the new branch cannot be stored, the old one has not been taken back either."""
    node.grow(6)
    await follower.settle()
    before = await books.snapshot()
    await books.owner.execute(
        """CREATE FUNCTION chain.fail() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$;
           CREATE TRIGGER fail BEFORE INSERT ON chain.block EXECUTE FUNCTION chain.fail()"""
    )
    node.fork(3, 4, "b")
    with pytest.raises(Exception, match="the disk is full"):
        await follower.step()
    assert await books.snapshot() == before
    await books.owner.execute("DROP TRIGGER fail ON chain.block")
    assert (await follower.step()).kind == "rolled_back"
    assert await books.hashes() == [block.hash for block in node.chain]


async def test_a_stale_fence_is_refused(books: Books) -> None:
    stale = Fence(books.fence.role, books.fence.epoch - 1)
    async with books.pool.acquire() as connection:
        with pytest.raises(LeaseLost):
            async with connection.transaction():
                await lease.enter(connection, stale)


@pytest.mark.parametrize("role", [None, "operate"])
async def test_the_chain_is_written_only_inside_the_followers_fence(
    books: Books, node: ScriptedNode, follower: Following, role: str | None
) -> None:
    await settled(node, follower)
    other = await lease.acquire(books.owner, role or "unused", "the test", 60)
    names = ("chain.cursor", "chain.block", "chain.log", "chain.feed", "chain.reorg")
    tables = [(name, "chain_id") for name in names]
    tables += [("chain.coverage", "source_id"), ("event.token_sent", "canonical")]
    for table, column in tables:
        async with books.pool.acquire() as connection:
            with pytest.raises(asyncpg.PostgresError) as raised:
                async with connection.transaction():
                    if role is not None and other is not None:
                        await lease.enter(connection, other)
                    await connection.execute(f"UPDATE {table} SET {column} = {column}")
            assert raised.value.sqlstate == FENCE_SQLSTATE


async def test_evidence_is_never_changed_nor_deleted(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    await settled(node, follower)
    await refuse(books, "UPDATE event.token_sent SET value = value + 1 WHERE block_number = 8")
    await refuse(books, "UPDATE chain.log SET data = '' WHERE block_number = 8")
    await refuse(books, "UPDATE chain.feed SET op = 'retract' WHERE seq = 1")
    for table in ("chain.block", "chain.log", "chain.feed", "event.token_sent"):
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
            async with books.pool.acquire() as connection:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            # Not even the owner does it by accident.
            with pytest.raises(REFUSED):
                await books.owner.execute(statement)


async def test_the_feed_has_no_gaps_and_never_leads_the_cursor(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    await settled(node, follower)
    insert = f"""INSERT INTO chain.feed (chain_id, seq, op, from_block, to_block, block_hash)
                 SELECT {CHAIN_ID}, feed_seq + $1::int, 'apply', 9, 9, head_hash FROM chain.cursor"""
    await refuse(books, insert, 1)
    await refuse(books, insert, 2)
    await refuse(books, "UPDATE chain.cursor SET feed_seq = feed_seq - 1")
    # Counted but not written: found at the commit.
    await refuse(books, "UPDATE chain.cursor SET feed_seq = feed_seq + 1")


async def test_consumers_only_go_forward_and_not_past_the_feed(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    await settled(node, follower)
    await books.owner.execute(
        "INSERT INTO chain.consumer (name, chain_id, seq) VALUES ('one', $1, 5)", CHAIN_ID
    )
    for seq in (4, 10_000):
        with pytest.raises(REFUSED):
            await books.owner.execute("UPDATE chain.consumer SET seq = $1", seq)
