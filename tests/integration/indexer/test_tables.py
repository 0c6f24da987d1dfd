"""Tables are made once, by their owner, and never bent to another ABI."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from indexer import tables
from indexer.abi import events
from indexer.errors import TablesDiffer
from tests.conftest import Database
from tests.integration.indexer.conftest import Books
from tests.integration.indexer.scripted_node import ABI

RENAMED: list[dict[str, object]] = [
    {
        "type": "event",
        "name": "Sent",
        "inputs": [{"name": "sender", "type": "address", "indexed": True}],
    }
]


async def test_making_tables_again_and_by_several_at_once_changes_nothing(
    books: Books, database: Database
) -> None:
    async def once() -> None:
        connection = await asyncpg.connect(database.owner_dsn)
        await tables.create(connection, "token", ABI)
        await connection.close()

    await asyncio.gather(*(once() for _ in range(4)))
    await once()
    await tables.check(books.owner, "token", events("token", ABI))


async def test_tables_of_another_abi_are_refused(books: Books) -> None:
    await tables.create(books.owner, "token", ABI)
    with pytest.raises(TablesDiffer, match="landbridge migrate"):
        await tables.create(books.owner, "token", RENAMED)


async def test_missing_tables_are_found_before_following(books: Books) -> None:
    with pytest.raises(TablesDiffer, match="does not exist"):
        await tables.check(books.owner, "token", events("token", ABI))


async def test_a_reader_sees_views_and_no_tables(
    books: Books, database_reader: asyncpg.Connection
) -> None:
    await tables.create(books.owner, "token", ABI)
    assert await database_reader.fetch("SELECT * FROM v1.token_sent") == []
    assert await database_reader.fetch("SELECT * FROM v1.token_sent_final") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database_reader.fetch("SELECT * FROM event.token_sent")
