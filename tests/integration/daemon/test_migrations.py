from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from daemon import migrations
from tests.conftest import Database

CREATE = "-- Something to fill.\nCREATE TABLE public.thing (id integer);\n"
FILL = "-- Twice would show.\nINSERT INTO public.thing VALUES (1);\n"
CONCURRENT = (
    "-- Without locking out writers.\n-- landbridge: no transaction\n"
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS thing_id ON public.thing (id);\n"
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "0001_create_thing.sql").write_text(CREATE)
    (tmp_path / "0002_fill_thing.sql").write_text(FILL)
    return tmp_path


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def value(dsn: str, query: str) -> object:
    async with connected(dsn) as connection:
        return await connection.fetchval(query)


async def test_each_file_is_applied_in_order_recorded_and_told(
    empty_database: str, directory: Path
) -> None:
    told: list[int] = []
    applied = await migrations.migrate(
        empty_database, directory, on_applied=lambda migration: told.append(migration.version)
    )
    assert applied == ["0001_create_thing", "0002_fill_thing"]
    assert told == [1, 2]
    recorded = "SELECT array_agg(name ORDER BY version) FROM ops.schema_version"
    assert await value(empty_database, recorded) == applied


async def test_a_second_run_finds_nothing_to_do(empty_database: str, directory: Path) -> None:
    await migrations.migrate(empty_database, directory)
    assert await migrations.migrate(empty_database, directory) == []


async def test_a_later_file_is_applied_alone(empty_database: str, directory: Path) -> None:
    await migrations.migrate(empty_database, directory)
    (directory / "0003_add_index.sql").write_text(CONCURRENT)
    assert await migrations.migrate(empty_database, directory) == ["0003_add_index"]


async def test_four_starters_at_once_apply_each_file_once(
    empty_database: str, directory: Path
) -> None:
    (directory / "0003_add_index.sql").write_text(CONCURRENT)
    (directory / "0004_fill_thing.sql").write_text(FILL)
    applied = await asyncio.gather(
        *(migrations.migrate(empty_database, directory) for _ in range(4))
    )
    assert sorted(map(len, applied)) == [0, 0, 0, 4]
    assert await value(empty_database, "SELECT count(*) FROM public.thing") == 2


async def test_four_starters_of_the_real_schema_on_new_databases_do_not_collide(
    empty_database: str,
) -> None:
    applied = await asyncio.gather(*(migrations.migrate(empty_database) for _ in range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations.load())]


async def test_an_edited_file_is_refused_by_name_and_nothing_runs(
    empty_database: str, directory: Path
) -> None:
    await migrations.migrate(empty_database, directory)
    (directory / "0002_fill_thing.sql").write_text(FILL + "-- harmless\n")
    (directory / "0003_fill_thing.sql").write_text(FILL)
    with pytest.raises(migrations.EditedMigrationError, match="0002_fill_thing was changed"):
        await migrations.migrate(empty_database, directory)
    assert await value(empty_database, "SELECT count(*) FROM public.thing") == 1


async def test_a_database_ahead_of_the_code_is_refused_by_name(
    empty_database: str, directory: Path
) -> None:
    await migrations.migrate(empty_database, directory)
    (directory / "0002_fill_thing.sql").unlink()
    with pytest.raises(migrations.DatabaseAheadError, match="0002_fill_thing"):
        await migrations.migrate(empty_database, directory)


async def test_a_file_that_fails_leaves_nothing_and_says_where(
    empty_database: str, directory: Path
) -> None:
    broken = FILL + "INSERT INTO public.nothing\nVALUES (1);\n"
    (directory / "0002_fill_thing.sql").write_text(broken)
    with pytest.raises(migrations.MigrationFailedError, match="0002_fill_thing failed at line 3"):
        await migrations.migrate(empty_database, directory)
    assert await value(empty_database, "SELECT count(*) FROM public.thing") == 0
    assert await value(empty_database, "SELECT max(version) FROM ops.schema_version") == 1

    (directory / "0002_fill_thing.sql").write_text(FILL)
    assert await migrations.migrate(empty_database, directory) == ["0002_fill_thing"]


async def test_a_file_without_a_transaction_says_that_a_part_may_be_kept(
    empty_database: str, directory: Path
) -> None:
    text = "-- Why.\n-- landbridge: no transaction\nCREATE INDEX CONCURRENTLY x ON nothing (id);\n"
    (directory / "0003_add_index.sql").write_text(text)
    with pytest.raises(migrations.UnboundMigrationFailedError, match="will run again"):
        await migrations.migrate(empty_database, directory)


async def test_a_file_that_commits_is_found_out(empty_database: str, directory: Path) -> None:
    (directory / "0003_end_transaction.sql").write_text("-- Why.\nCOMMIT;\n")
    with pytest.raises(migrations.TransactionEndedError, match="0003_end_transaction"):
        await migrations.migrate(empty_database, directory)


async def test_what_one_file_sets_does_not_reach_the_next(
    empty_database: str, directory: Path
) -> None:
    reckless = "-- Why.\nSET search_path = nowhere; SET ROLE pg_monitor;\n"
    (directory / "0002_fill_thing.sql").write_text(reckless)
    (directory / "0003_fill_thing.sql").write_text("-- Why.\nINSERT INTO thing VALUES (1);\n")
    assert len(await migrations.migrate(empty_database, directory)) == 3


async def test_waiting_for_the_lock_is_bounded_and_names_its_holder(
    empty_database: str, directory: Path
) -> None:
    async with connected(empty_database) as other:
        await other.execute("SET application_name = 'another starter'")
        await other.fetchval("SELECT pg_advisory_lock($1)", migrations.LOCK_KEY)
        pid = await other.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(migrations.LockTimeoutError, match=rf"process {pid} .*another starter"):
            await migrations.migrate(empty_database, directory, lock_timeout_s=0.3)


async def test_checking_a_new_database_says_that_it_is_behind(
    empty_database: str, directory: Path
) -> None:
    known = migrations.load(directory)
    async with connected(empty_database) as connection:
        assert await migrations.pending(connection, known) == known
        with pytest.raises(migrations.DatabaseBehindError, match=r"lacks 2 .* 0001_create_thing"):
            await migrations.check(connection, known)


async def test_the_daemons_role_may_check_the_schema_and_not_rewrite_its_record(
    database: Database,
) -> None:
    async with connected(database.daemon_dsn) as connection:
        await migrations.check(connection, migrations.load())
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE ops.schema_version SET name = 'another'")
