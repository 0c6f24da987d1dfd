"""What a reader of the schema v1 sees of the feed, of finality and of the contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from indexer import registry
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.indexer.feed_chain import (
    CHAIN_ID,
    FeedChain,
    feed_chain,
    publish,
    token_contract,
)


@pytest_asyncio.fixture(loop_scope="session")
async def chain(database: Database) -> AsyncIterator[FeedChain]:
    async with feed_chain(database.owner_dsn, database.daemon_dsn) as found:
        await found.open(token_contract())
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def reader(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.owner_dsn)
    await connection.execute("SET ROLE landbridge_reader")
    yield connection
    await connection.close()


async def named(reader: asyncpg.Connection) -> list[tuple[str, str | None, list[str]]]:
    """Of each row of the feed: what it does, which contract it names, whose views hold its events."""
    rows = await reader.fetch("SELECT op, source, contracts FROM v1.feed ORDER BY seq")
    return [(row["op"], row["source"], row["contracts"]) for row in rows]


async def sources(reader: asyncpg.Connection) -> list[dict[str, Any]]:
    rows = await reader.fetch("SELECT * FROM v1.source ORDER BY name, version")
    return [dict(row) for row in rows]


async def states(reader: asyncpg.Connection) -> list[tuple[str, int, str]]:
    return [(row["name"], row["version"], row["state"]) for row in await sources(reader)]


async def test_the_feed_is_told_as_it_is(chain: FeedChain, reader: asyncpg.Connection) -> None:
    await chain.grow(2)
    await chain.replace(1, 1, salt="b", finalized=0)
    rows = await reader.fetch(
        "SELECT chain_id, seq, op, source, from_block, to_block, block_hash FROM v1.feed ORDER BY seq"
    )
    stored = await chain.owner.fetch(
        "SELECT chain_id, seq, op, NULL, from_block, to_block, block_hash FROM chain.feed ORDER BY seq"
    )
    assert [tuple(row) for row in rows] == [tuple(row) for row in stored]
    assert await reader.fetchval("SELECT max(at) - min(at) < interval '1 hour' FROM v1.feed")


async def test_a_row_names_the_contracts_whose_views_hold_its_events(
    chain: FeedChain, reader: asyncpg.Connection
) -> None:
    await chain.grow(2, finalized=1)
    await registry.register(chain.owner, [token_contract(), token_contract("late")])
    [late] = [source for source in await chain.sources() if not source.joined]
    await chain.backfill(late, 0, 1)
    await chain.join(late)
    await chain.grow(1)
    assert await named(reader) == [
        ("apply", None, ["token"]),
        ("apply", None, ["token"]),
        ("finalize", None, ["token"]),
        ("apply", "late", ["late"]),
        ("apply", None, ["late", "token"]),
    ]


async def test_rows_name_a_contract_anew_once_its_next_version_is_shown(
    chain: FeedChain, reader: asyncpg.Connection
) -> None:
    await chain.grow(1)
    await registry.register(chain.owner, [token_contract(start_block=1)])
    old, new = await chain.sources()
    await chain.join(new, replaces=[old])
    await chain.grow(1)
    assert await states(reader) == [("token", 1, "retired"), ("token", 2, "joining")]
    assert await named(reader) == [("apply", None, ["token"]), ("apply", None, [])]
    await publish(chain, new)
    assert await states(reader) == [("token", 1, "retired"), ("token", 2, "following")]
    assert await named(reader) == [("apply", None, []), ("apply", None, ["token"])]
    shown = await reader.fetch("SELECT block_number FROM v1.token_transfer")
    assert [row["block_number"] for row in shown] == [1]


async def test_a_contract_that_was_dropped_is_named_no_more(
    chain: FeedChain, reader: asyncpg.Connection
) -> None:
    await chain.grow(1)
    await registry.register(chain.owner, [])
    [source] = await chain.sources()
    async with fenced(chain.pool, chain.fence) as connection:
        await connection.execute(
            "UPDATE chain.source SET retired_seq = 1 WHERE source_id = $1", source.source_id
        )
    await chain.grow(1)
    assert await named(reader) == [("apply", None, ["token"]), ("apply", None, [])]
    assert await states(reader) == [("token", 1, "retired")]


async def test_a_contract_tells_how_far_it_is(chain: FeedChain, reader: asyncpg.Connection) -> None:
    await chain.grow(5, finalized=3)
    [followed] = await sources(reader)
    assert (followed["state"], followed["covered_to"], followed["start_block"]) == (
        "following",
        4,
        0,
    )
    assert (followed["chain_id"], followed["joined_seq"], followed["retired_seq"]) == (
        CHAIN_ID,
        0,
        None,
    )
    assert followed["tables"] == ["token_transfer", "token_paused", "token_noted"]
    await registry.register(chain.owner, [token_contract(start_block=1), token_contract("other")])
    late = [source for source in await chain.sources() if not source.joined]
    await chain.backfill(late[1] if late[1].name == "token" else late[0], 1, 2)
    other, _, second = await sources(reader)
    assert (other["state"], other["covered_to"], other["joined_at"]) == ("backfilling", None, None)
    assert (second["state"], second["covered_to"], second["version"]) == ("backfilling", 2, 2)
    assert second["tables"] == followed["tables"]
    for table in followed["tables"]:
        assert await reader.fetchval("SELECT to_regclass($1) IS NOT NULL", f"v1.{table}")
    await registry.register(chain.owner, [token_contract()])
    assert ("other", 1, "abandoned") in await states(reader)


async def test_finality_is_of_each_chain(chain: FeedChain, reader: asyncpg.Connection) -> None:
    [empty] = await reader.fetch("SELECT * FROM v1.finality")
    assert (empty["chain_id"], empty["head_number"], empty["lag_blocks"]) == (CHAIN_ID, None, None)
    await chain.grow(4, finalized=1)
    [row] = await reader.fetch("SELECT * FROM v1.finality")
    headers = chain.headers
    assert (row["head_number"], row["head_hash"]) == (3, headers[3].hash)
    assert (row["safe_number"], row["safe_hash"]) == (1, headers[1].hash)
    assert (row["finalized_number"], row["finalized_hash"]) == (1, headers[1].hash)
    assert (row["head_timestamp_s"], row["lag_blocks"]) == (headers[3].timestamp_s, 0)
    assert row["feed_seq"] == 5


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM chain.feed",
        "SELECT * FROM chain.source",
        "SELECT * FROM event.token_transfer",
        "UPDATE v1.feed SET seq = 1",
        "DELETE FROM v1.source",
        "CREATE TABLE v1.mine (seq bigint)",
    ],
)
async def test_a_reader_sees_no_more_and_changes_nothing(
    chain: FeedChain, reader: asyncpg.Connection, statement: str
) -> None:
    assert chain
    with pytest.raises(asyncpg.PostgresError) as refused:
        await reader.execute(statement)
    assert isinstance(
        refused.value,
        asyncpg.InsufficientPrivilegeError | asyncpg.ObjectNotInPrerequisiteStateError,
    )
