"""Rows as Postgres reads them: what is encoded, copied and read back is what was emitted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from eth_abi.abi import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer import names, signature
from indexer.abi import MAX_COLUMNS, Column, Event, events
from indexer.encoder import compile_encoder
from tests.unit.indexer.abi_cases import AWKWARD, Item, Value, abi_name, cases, stored

OWN_TOPIC = "0x" + "dd" * 32
# One connection serves all examples; each makes its table anew.
EXAMPLES = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# As wide as what stands before an event's own columns.
FRAME = (
    "block_number bigint, block_hash bytea, block_timestamp_s bigint, log_index integer, "
    "tx_hash bytea, tx_index integer, address bytea, ordinal integer, canonical boolean"
)
FRAME_VALUES = rf"1	\\x{'aa' * 32}	1	1	\\x{'bb' * 32}	1	\\x{'cc' * 20}	1	t"


@pytest_asyncio.fixture(loop_scope="session")
async def connection(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(empty_database)
    await opened.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )
    yield opened
    await opened.close()


async def make_table(connection: asyncpg.Connection, event: Event) -> None:
    """A table of an event's own columns, with all that its columns ask for."""
    columns = [FRAME, *map(declared, event.columns)]
    await connection.execute(f"DROP TABLE IF EXISTS seen; CREATE TABLE seen ({', '.join(columns)})")


def declared(column: Column) -> str:
    quoted = f'"{column.name}"'
    check = f"CHECK ({column.check.format(quoted)})" if column.check else ""
    return f"{quoted} {column.pg_type} NOT NULL {check}"


async def copied(
    connection: asyncpg.Connection, event: Event, rows: Sequence[str]
) -> list[list[Value]]:
    """The event's columns of each row, after Postgres has read and stored them."""
    # By its columns, for the row of one empty string is as empty as that of no columns.
    tab = "\t" if event.columns else ""
    text = "".join(f"{FRAME_VALUES}{tab}{row}\n" for row in rows).encode("ascii")
    await connection.copy_to_table("seen", source=_source(text), format="text")
    own = [column.name for column in event.columns]
    return [[row[name] for name in own] for row in await connection.fetch("SELECT * FROM seen")]


async def _source(text: bytes) -> AsyncIterator[bytes]:
    yield text


def event_of(inputs: Sequence[Item]) -> Event:
    item = {"type": "event", "name": "Seen", "inputs": list(inputs), "anonymous": False}
    return events("token", [item])[0]


def row_of(event: Event, inputs: Sequence[Item], values: Sequence[Value]) -> str:
    data = encode([abi_name(item) for item in inputs], values)
    return compile_encoder(event)((OWN_TOPIC,), f"0x{data.hex()}")


def expected(inputs: Sequence[Item], values: Sequence[Value]) -> list[Value]:
    pairs = zip(inputs, values, strict=True)
    return [one for item, value in pairs for one in stored(item, value)]


@EXAMPLES
@given(case=cases())
async def test_every_value_comes_back_from_postgres(
    connection: asyncpg.Connection, case: tuple[list[Item], list[Value]]
) -> None:
    inputs, values = case
    event = event_of(inputs)
    await make_table(connection, event)
    row = row_of(event, inputs, values)
    assert await copied(connection, event, [row, row]) == [expected(inputs, values)] * 2


@EXAMPLES
@given(strings=st.lists(st.sampled_from(AWKWARD), max_size=8), joined=st.booleans())
async def test_texts_that_break_quoting_come_back(
    connection: asyncpg.Connection, strings: list[str], joined: bool
) -> None:
    texts = ["".join(strings)] if joined else strings
    inputs: list[Item] = [
        {"type": "string", "name": "text"},
        {"type": "string[]", "name": "texts"},
        {"type": "string[][]", "name": "deep"},
        {"type": "tuple[]", "name": "s", "components": [{"type": "string", "name": "field"}]},
    ]
    values = ["".join(strings), texts, [texts, texts], [(text,) for text in texts]]
    event = event_of(inputs)
    await make_table(connection, event)
    row = row_of(event, inputs, values)
    assert await copied(connection, event, [row]) == [expected(inputs, values)]


async def test_indexed_values_and_hashes_come_back(connection: asyncpg.Connection) -> None:
    text = "Seen(address indexed who, int256 indexed amount, string indexed note, bool isOpen)"
    (event,) = events("token", [signature.parse(text)])
    await make_table(connection, event)
    words = ["0x" + "0" * 24 + "Ab" * 20, "0x" + "f" * 64, "0x" + "9C" * 32]
    row = compile_encoder(event)((OWN_TOPIC, *words), "0x" + "0" * 63 + "1")
    assert await copied(connection, event, [row]) == [
        [b"\xab" * 20, Decimal(-1), b"\x9c" * 32, True]
    ]


async def test_one_empty_string_is_a_row_of_its_own(connection: asyncpg.Connection) -> None:
    inputs: list[Item] = [{"type": "string", "name": "note"}]
    await make_table(connection, event_of(inputs))
    row = row_of(event_of(inputs), inputs, [""])
    assert await copied(connection, event_of(inputs), [row]) == [[""]]


async def test_an_event_without_columns_is_a_row_of_its_frame(
    connection: asyncpg.Connection,
) -> None:
    event = event_of([])
    await make_table(connection, event)
    assert await copied(connection, event, [compile_encoder(event)((OWN_TOPIC,), "0x")]) == [[]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uint256", 2**256 - 1),
        ("uint256", 10**45 + 7),
        ("bytes24", b"\1" * 24),
        ("bytes23", b"\xab" * 23),
        ("bytes32", bytes(range(32))),
        ("address", b"\xcd" * 20),
        ("bytes", bytes(range(256)) * 40),
        ("string", "".join(chr(0x4E00 + one) for one in range(3000))),
        ("uint256[]", [2**255 + one for one in range(200)]),
    ],
)
async def test_the_widest_event_fits_a_row_whatever_its_values(
    connection: asyncpg.Connection, kind: str, value: Any
) -> None:
    inputs: list[Item] = [{"type": kind, "name": f"a{place}"} for place in range(MAX_COLUMNS)]
    event = event_of(inputs)
    await make_table(connection, event)
    row = row_of(event, inputs, [value] * MAX_COLUMNS)
    assert len(await copied(connection, event, [row])) == 1


async def test_names_of_columns_and_tables_are_taken_by_postgres(
    connection: asyncpg.Connection,
) -> None:
    """Those that Postgres keeps for itself are all among the reserved ones."""
    rows = await connection.fetch(
        "SELECT DISTINCT attname FROM pg_attribute WHERE attnum < 0 AND attrelid = 'pg_class'::regclass"
    )
    kept = {row["attname"] for row in rows}
    assert kept
    assert kept <= names.RESERVED
    words = [*kept, "select", "user", "table", "order", "from", "$", "ä", "x" * 100, "1"]
    found = names.columns([(word,) for word in words])
    columns = ", ".join(f'"{name}" boolean' for name in found)
    for name in names.tables("token", [(word, word) for word in words]):
        for suffix in ("", "__99", *(f"__99{each}" for each in names.VIEW_SUFFIXES)):
            await connection.execute(f'CREATE TABLE "{name}{suffix}" ({columns})')
            table = await connection.fetchval("SELECT to_regclass($1)::text", f'"{name}{suffix}"')
            assert table.strip('"') == name + suffix
