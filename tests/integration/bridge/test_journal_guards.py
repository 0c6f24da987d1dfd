"""The journal of transactions, as Postgres guards it: whatever the code above it does."""

import asyncpg
import pytest

from bridge.calldata import load_abi
from bridge.halts import halt
from indexer.keccak import keccak
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w


async def test_one_nonce_carries_one_transaction(database: Database) -> None:
    async with w.opened(database) as world:
        await w.allocate(world, await w.add_issuance(world, "a", 100, "approved", "reserved"))
        with pytest.raises(asyncpg.UniqueViolationError):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute(
                    """INSERT INTO bridge.tx (chain_id, signer, nonce, purpose, to_address, data, gas_limit)
                       VALUES ($1, $2, 0, 'mint', $3, 'x', 100000)""",
                    w.CHAIN_ID,
                    w.SIGNER,
                    w.TOKEN.address,
                )


async def test_one_operation_has_one_live_transaction(database: Database) -> None:
    async with w.opened(database) as world:
        op_id = await w.add_issuance(world, "a", 100, "approved", "reserved")
        await w.allocate(world, op_id)
        with pytest.raises(asyncpg.UniqueViolationError):
            await w.allocate(world, op_id)
        assert await world.pool.fetchval("SELECT next_nonce FROM bridge.signer") == 1


async def test_a_nonce_is_never_skipped_or_handed_out_twice(database: Database) -> None:
    async with w.opened(database) as world:
        for statement in (
            "UPDATE bridge.signer SET next_nonce = next_nonce + 2",
            "UPDATE bridge.signer SET next_nonce = next_nonce - 1",
        ):
            with pytest.raises(asyncpg.PostgresError):
                async with fenced(world.pool, world.submit) as connection:
                    await connection.execute("UPDATE bridge.signer SET next_nonce = next_nonce + 1")
                    await connection.execute(statement)


async def test_an_operation_that_is_not_reserved_gets_no_mint(database: Database) -> None:
    async with w.opened(database) as world:
        op_id = await w.add_issuance(world, "a", 100, "approved")
        with pytest.raises(asyncpg.PostgresError, match="no mint transaction"):
            await w.allocate(world, op_id)


async def test_a_closed_gate_gives_no_nonce(database: Database) -> None:
    async with w.opened(database) as world:
        op_id = await w.add_issuance(world, "a", 100, "approved", "reserved")
        async with world.pool.acquire() as connection:
            await halt(connection, "mint", "drift", "test")
        with pytest.raises(asyncpg.PostgresError, match="closed"):
            await w.allocate(world, op_id)


async def test_a_nonce_is_kept_until_a_revert_is_final(database: Database) -> None:
    async with w.opened(database) as world:
        tx_id = await w.allocate(
            world, await w.add_issuance(world, "a", 100, "approved", "reserved")
        )
        with pytest.raises(asyncpg.PostgresError, match="keeps its nonce"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute(
                    "UPDATE bridge.tx_operation SET released = true WHERE tx_id = $1", tx_id
                )


async def test_an_outcome_needs_a_final_block(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        tx_id = await w.allocate(
            world, await w.add_issuance(world, "a", 100, "approved", "reserved")
        )
        async with fenced(world.pool, world.submit) as connection:
            await connection.execute(
                "UPDATE bridge.tx_attempt SET raw = 'raw', hash = $2 WHERE tx_id = $1",
                tx_id,
                w.digest("tx"),
            )
        settle = """UPDATE bridge.tx SET outcome = 'reverted', outcome_hash = $2, outcome_block = $3
                    WHERE tx_id = $1"""
        for tx_hash, block in ((w.digest("tx"), 5), (w.digest("another"), 4)):
            with pytest.raises(asyncpg.PostgresError, match="own attempts in a finalized block"):
                async with fenced(world.pool, world.submit) as connection:
                    await connection.execute(settle, tx_id, tx_hash, block)
        async with fenced(world.pool, world.submit) as connection:
            await connection.execute(settle, tx_id, w.digest("tx"), 4)


async def test_signed_bytes_never_change(database: Database) -> None:
    async with w.opened(database) as world:
        tx_id = await w.allocate(
            world, await w.add_issuance(world, "a", 100, "approved", "reserved")
        )
        write = "UPDATE bridge.tx_attempt SET raw = $2, hash = $3 WHERE tx_id = $1"
        async with fenced(world.pool, world.submit) as connection:
            await connection.execute(write, tx_id, b"raw", w.digest("tx"))
        with pytest.raises(asyncpg.PostgresError, match="never changes"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute(write, tx_id, b"other", w.digest("other"))


async def test_bytes_that_are_not_journalled_cannot_be_called_sent(database: Database) -> None:
    async with w.opened(database) as world:
        tx_id = await w.allocate(
            world, await w.add_issuance(world, "a", 100, "approved", "reserved")
        )
        with pytest.raises(asyncpg.CheckViolationError):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute(
                    "UPDATE bridge.tx_attempt SET sends = 1 WHERE tx_id = $1", tx_id
                )


async def test_money_tables_are_written_under_a_fence_only(database: Database) -> None:
    async with w.opened(database) as world:
        for statement in (
            "UPDATE bridge.signer SET next_nonce = 1",
            "INSERT INTO ledger.transfer (key, phase) VALUES ('k', 'post')",
            "INSERT INTO bank.processed (raw_id) VALUES (1)",
        ):
            with pytest.raises(asyncpg.PostgresError, match="needs the fence of role"):
                await world.pool.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM bridge.tx",
        "TRUNCATE ledger.posting",
        "ALTER TABLE bridge.tx DISABLE TRIGGER ALL",
        "DROP TRIGGER b_guard ON bridge.tx",
        "DELETE FROM bank.raw",
        "INSERT INTO bridge.transition_allowed VALUES ('issuance', '', 'settled')",
        "INSERT INTO bridge.transition VALUES (1, 1, '', 'settled', 'because')",
        "CREATE TABLE bridge.mine (x int)",
    ],
)
async def test_the_daemons_role_can_neither_delete_nor_disarm(
    database: Database, statement: str
) -> None:
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await world.pool.execute(statement)


async def test_postgres_knows_the_events_by_which_the_token_passes_over_a_part_of_a_batch(
    database: Database,
) -> None:
    signatures = {
        item["name"]: f"{item['name']}({','.join(each['type'] for each in item['inputs'])})"
        for item in load_abi()
        if item["type"] == "event"
    }
    async with w.opened(database) as world:
        rows = await world.pool.fetch("SELECT topic, purpose FROM bridge.refusal_topic")
    assert {row["purpose"]: row["topic"] for row in rows} == {
        "mint": keccak(signatures["MintRefused"].encode()),
        "settle": keccak(signatures["SettleRefused"].encode()),
    }
