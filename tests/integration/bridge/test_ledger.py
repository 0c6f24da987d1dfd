"""The ledger, as Postgres guards it, and what is written to it many at a time."""

import asyncpg
import pytest

from bridge import ledger
from bridge.ledger import Book, Held, Transfer, code, move
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w

LINE = """
    INSERT INTO ledger.posting (transfer_id, account, amount_minor)
    SELECT transfer_id, $1, $2 FROM ledger.transfer WHERE key = 'free'"""


async def balances(world: w.World, *books: Book) -> list[int]:
    rows = await world.pool.fetch("SELECT code, amount_minor FROM ledger.balance")
    known = {row["code"]: row["amount_minor"] for row in rows}
    return [known[code(w.TOKEN, book)] for book in books]


@pytest.mark.parametrize("amounts", [(100,), (100, -99)])
async def test_a_transfer_that_does_not_sum_to_zero_is_refused(
    database: Database, amounts: tuple[int, ...]
) -> None:
    books = dict(zip((Book.RESERVE, Book.FUNDED), amounts, strict=False))
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.PostgresError, match="does not sum to zero"):
            async with fenced(world.pool, world.operate) as connection:
                right = Transfer("right", move(Book.FUNDED, Book.RESERVE, 5))
                await ledger.post(connection, w.TOKEN, [right, Transfer("wrong", books)])
        assert await world.pool.fetchval("SELECT count(*) FROM ledger.transfer") == 0


async def test_the_lines_of_a_transfer_are_written_by_one_statement(database: Database) -> None:
    """So that it is balanced at each moment, whatever else its transaction does."""
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.PostgresError, match="does not sum to zero"):
            async with fenced(world.pool, world.operate) as connection:
                await connection.execute(
                    "INSERT INTO ledger.transfer (key, phase) VALUES ('free', 'post')"
                )
                await connection.execute(LINE, code(w.TOKEN, Book.RESERVE), 100)
                await connection.execute(LINE, code(w.TOKEN, Book.FUNDED), -100)


async def test_two_currencies_do_not_balance_each_other(database: Database) -> None:
    async with w.opened(database) as world:
        async with fenced(world.pool, world.operate) as connection:
            await connection.execute("INSERT INTO ledger.account VALUES ('elsewhere', 'USD')")
        with pytest.raises(asyncpg.PostgresError, match="does not sum to zero"):
            async with fenced(world.pool, world.operate) as connection:
                await connection.execute(
                    "INSERT INTO ledger.transfer (key, phase) VALUES ('free', 'post')"
                )
                await connection.execute(
                    """INSERT INTO ledger.posting (transfer_id, account, amount_minor)
                       SELECT transfer_id, unnest($1::text[]), unnest('{100,-100}'::bigint[])
                       FROM ledger.transfer WHERE key = 'free'""",
                    ["elsewhere", code(w.TOKEN, Book.RESERVE)],
                )


async def test_what_happened_is_posted_once(database: Database) -> None:
    transfer = Transfer("deposit:1", move(Book.FUNDED, Book.RESERVE, 7))
    async with w.opened(database) as world:
        for _ in range(2):
            try:
                async with fenced(world.pool, world.operate) as connection:
                    await ledger.post(connection, w.TOKEN, [transfer])
            except asyncpg.UniqueViolationError:
                break
        else:
            pytest.fail("a second transfer with the same key was written")
        assert await balances(world, Book.RESERVE, Book.FUNDED) == [7, -7]


async def test_holds_are_kept_and_not_doubled_and_become_posts_once(database: Database) -> None:
    lines = move(Book.OUTSTANDING, Book.FUNDED, 100)
    async with w.opened(database) as world:
        for name in ("a", "b"):
            await w.add_issuance(world, name, 100)
        rows = await world.pool.fetch("SELECT operation_id FROM bridge.operation ORDER BY 1")
        holds = [Held(row["operation_id"], lines) for row in rows]
        for some in (holds[:1], holds):
            async with fenced(world.pool, world.operate) as connection:
                await ledger.hold(connection, w.TOKEN, some)
        assert await balances(world, Book.OUTSTANDING, Book.FUNDED) == [0, 0]
        assert await world.pool.fetchval("SELECT count(*) FROM ledger.transfer") == 2
        async with fenced(world.pool, world.operate) as connection:
            await ledger.post_held(connection, w.TOKEN, holds)
        with pytest.raises(LookupError, match="holds nothing"):
            async with fenced(world.pool, world.operate) as connection:
                await ledger.post_held(connection, w.TOKEN, holds)
        assert await balances(world, Book.OUTSTANDING, Book.FUNDED) == [-200, 200]


async def test_balances_are_those_of_the_history(database: Database) -> None:
    async with w.opened(database) as world:
        async with fenced(world.pool, world.operate) as connection:
            many = [Transfer(f"deposit:{n}", move(Book.FUNDED, Book.RESERVE, n)) for n in (3, 4, 5)]
            await ledger.post(connection, w.TOKEN, many)
            await ledger.post(
                connection, w.TOKEN, [Transfer("fee", move(Book.RESERVE, Book.FEES, 2))]
            )
        for _ in range(2):
            assert await balances(world, Book.RESERVE, Book.FUNDED, Book.FEES) == [10, -12, 2]
            kept = await world.pool.fetch("TABLE ledger.balance ORDER BY 1")
            assert kept == await world.pool.fetch("TABLE ledger.recount ORDER BY 1")
            async with world.pool.acquire() as connection:
                await ledger.fold(connection)
        assert await world.pool.fetchval("SELECT count(*) FROM ledger.balance_change") == 0


async def test_nobody_edits_a_balance(database: Database) -> None:
    async with w.opened(database) as world:
        for sql in (
            "UPDATE ledger.balance_base SET amount_minor = 1",
            "DELETE FROM ledger.balance_change",
            "INSERT INTO ledger.balance_change (code, amount_minor) VALUES ('x', 1)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with fenced(world.pool, world.operate) as connection:
                    await connection.execute(sql)


async def test_each_move_of_a_statement_has_its_row_in_the_history(database: Database) -> None:
    async with w.opened(database) as world:
        for name in ("a", "b", "c"):
            await w.add_issuance(world, name, 100)
        async with fenced(world.pool, world.operate) as connection:
            await connection.execute(
                "UPDATE bridge.operation SET state = 'approved', reason = 'together'"
            )
            # What does not move is no news.
            await connection.execute("UPDATE bridge.operation SET updated_at = clock_timestamp()")
        rows = await world.pool.fetch(
            "SELECT version, from_state, to_state, reason FROM bridge.transition ORDER BY 1"
        )
        born, moved = (1, "", "funded", "test"), (2, "funded", "approved", "together")
        assert [tuple(row) for row in rows] == [born] * 3 + [moved] * 3


async def test_no_row_of_a_statement_moves_as_it_may_not(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_issuance(world, "a", 100, "approved")
        await w.add_issuance(world, "b", 100)
        with pytest.raises(asyncpg.PostgresError, match="may not go"):
            async with fenced(world.pool, world.operate) as connection:
                await connection.execute(
                    "UPDATE bridge.operation SET state = 'reserved', reason = 'test'"
                )
        states = await world.pool.fetch("SELECT state FROM bridge.operation ORDER BY 1")
        assert [row["state"] for row in states] == ["approved", "funded"]
