"""Tables are made once, by their owner; another definition becomes another version beside them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from indexer import registry, sources
from indexer.contract import Contract, Options, Verify
from indexer.errors import NameTaken, SourcesDiffer
from indexer.registry import Registered
from tests.conftest import Database
from tests.integration.indexer.conftest import Books, token_contract
from tests.integration.indexer.scripted_node import CHAIN_ID

RENAMED: list[dict[str, object]] = [
    {
        "type": "event",
        "name": "Sent",
        "inputs": [{"name": "sender", "type": "address", "indexed": True}],
    }
]


async def test_registering_again_and_by_several_at_once_makes_one_version(
    books: Books, database: Database
) -> None:
    async def once() -> list[Registered]:
        connection = await asyncpg.connect(database.owner_dsn)
        try:
            return await registry.register(connection, [token_contract()])
        finally:
            await connection.close()

    done = await asyncio.gather(*(once() for _ in range(4)))
    assert sorted(one.made for [one] in done) == [False, False, False, True]
    await registry.check(books.owner, CHAIN_ID, [token_contract()])


async def test_another_abi_is_a_new_version_with_tables_of_its_own(books: Books) -> None:
    await registry.register(books.owner, [token_contract()])
    changed = token_contract(abi=RENAMED)
    assert await registry.register(books.owner, [changed]) == [Registered("token", 2, True)]
    tables = await books.owner.fetch("SELECT tables FROM chain.source ORDER BY version")
    assert [row["tables"] for row in tables] == [["token_sent"], ["token_sent__2"]]
    # Its views are still those of the first version, which is what readers are served from.
    shown = await books.owner.fetchval("SELECT pg_get_viewdef('v1.token_sent'::regclass)")
    assert "token_sent__2" not in shown


async def test_going_back_to_a_version_that_is_still_followed_makes_none(books: Books) -> None:
    await registry.register(books.owner, [token_contract()])
    await registry.register(books.owner, [token_contract(abi=RENAMED)])
    back = await registry.register(books.owner, [token_contract()])
    assert back == [Registered("token", 1, False)]
    wanted = await books.owner.fetch("SELECT version FROM chain.source WHERE wanted")
    assert [row["version"] for row in wanted] == [1]


async def test_a_database_that_follows_something_else_is_refused(books: Books) -> None:
    with pytest.raises(SourcesDiffer, match="landbridge migrate"):
        await registry.check(books.owner, CHAIN_ID, [token_contract()])
    await registry.register(books.owner, [token_contract()])
    with pytest.raises(SourcesDiffer, match="token"):
        await registry.check(books.owner, CHAIN_ID, [])


async def test_how_a_contract_is_verified_makes_no_other_version(books: Books) -> None:
    first = token_contract(options=Options(verify="none"))
    await registry.register(books.owner, [first])
    await registry.check(books.owner, CHAIN_ID, [token_contract(options=Options(verify="full"))])


@pytest.mark.parametrize(
    ("registered", "configured", "verify"),
    [
        ("full", "none", "full"),
        ("none", "full", "full"),
        ("none", None, "none"),
        ("full", None, "full"),
    ],
)
async def test_a_daemon_whose_settings_are_older_verifies_as_strictly_as_the_newer_ask(
    books: Books, registered: Verify, configured: Verify | None, verify: Verify
) -> None:
    """A contract may be wanted again, more strictly, while a daemon runs that has not heard of that."""
    for said in ("bloom", registered):
        await registry.register(books.owner, [token_contract(options=Options(verify=said))])
    known = [] if configured is None else [token_contract(options=Options(verify=configured))]
    async with books.pool.acquire() as connection:
        [source] = await sources.live(connection, CHAIN_ID, known)
    assert source.contract.options.verify == verify


async def test_two_contracts_that_need_one_table_are_refused(books: Books) -> None:
    token = token_contract()
    with pytest.raises(NameTaken, match="token_sent"):
        await registry.register(books.owner, [token, replace(token, addresses=(bytes(20),))])


async def test_the_daemon_cannot_say_what_is_followed(books: Books) -> None:
    await registry.register(books.owner, [token_contract()])
    async with books.pool.acquire() as connection:
        for statement in (
            "UPDATE chain.source SET wanted = false",
            "UPDATE chain.source SET verify = 'none'",
            "UPDATE chain.source SET view_sql = 'DROP SCHEMA bank CASCADE'",
            "INSERT INTO chain.source (chain_id, name, version) VALUES (1, 'x', 1)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_a_definition_makes_the_same_contract_again() -> None:
    contract = token_contract(options=Options(raw=True, verify="full", index=("from",)))
    again = Contract.from_definition(contract.definition)
    assert (again, again.fingerprint) == (contract, contract.fingerprint)


async def test_a_reader_sees_views_and_no_tables(
    books: Books, database_reader: asyncpg.Connection
) -> None:
    await registry.register(books.owner, [token_contract()])
    for view in ("token_sent", "token_sent_final", "token_sent_history"):
        assert await database_reader.fetch(f"SELECT * FROM v1.{view}") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database_reader.fetch("SELECT * FROM event.token_sent")
