"""Rows as we write them against the same rows as Postgres copies them out."""

from __future__ import annotations

import io

import asyncpg

from indexer import quoting
from indexer.comparison import Reader, differing_blocks, digests
from indexer.table import EVENT_FRAME, TableColumn

COLUMNS = (
    *EVENT_FRAME,
    TableColumn("amount", "numeric(78,0)"),
    TableColumn("price", "numeric(78,18)"),
    TableColumn("note", "text"),
    TableColumn("raw", "bytea"),
    TableColumn("flags", "boolean[]"),
    TableColumn("amounts", "numeric(78,0)[]"),
    TableColumn("notes", "text[]"),
    TableColumn("raws", "bytea[]"),
    TableColumn("deep", "jsonb"),
)
NASTY = [
    "",
    " ",
    "a",
    "NULL",
    "null",
    "\\N",
    "\\",
    '"',
    "{}",
    ",",
    "a\tb\nc\rd",
    "\x01\x7f",
    "ä€😀",
    "A\u2028\\x41",
    "\\.",
]


def line(number: int, note: str, amount: int = -5) -> str:
    """A row with a text that is hard to write, in each place where one can be."""
    own = [
        str(amount),
        quoting.number(amount, 18),
        quoting.text(note),
        quoting.bytea(note.encode()),
        quoting.array(map(quoting.boolean, [True, False])),
        quoting.array(map(str, [0, 2**256 - 1])),
        quoting.array(map(quoting.text_in_array, NASTY)),
        quoting.array(map(quoting.bytea_in_array, [b"", b"\xab", note.encode()])),
        quoting.jsonb([[note, str(2**255)], {"b": note, "a": True}]),
    ]
    block, address = f"{number:064X}", "A1" * 20
    frame = [
        str(number),
        rf"\\x{block}",
        "1700000000",
        "0",
        rf"\\x{block}",
        "0",
        rf"\\x{address}",
        "0",
        "t",
    ]
    return "\t".join([*frame, *own]) + "\n"


async def test_what_postgres_copies_out_is_what_was_copied_in(empty_database: str) -> None:
    reader = Reader(COLUMNS)
    lines = [line(number, note) for number, note in enumerate(NASTY)]
    connection = await asyncpg.connect(empty_database)
    try:
        definition = ", ".join(f"{column.name} {column.pg_type}" for column in COLUMNS)
        await connection.execute(f"CREATE TABLE event ({definition})")
        await connection.copy_to_table(
            "event", source=io.BytesIO("".join(lines).encode()), format="text"
        )
        stored = io.BytesIO()
        query = "SELECT * FROM event ORDER BY block_number, log_index"
        await connection.copy_from_query(query, output=stored, format="text")
    finally:
        await connection.close()
    copied = stored.getvalue().decode().removesuffix("\n").split("\n")
    result = reader.compare(reader.rows(lines), reader.rows(copied))
    assert result.is_equal, [str(one) for one in result.shown]
    assert result.chain_rows == result.table_rows == len(NASTY)
    chain, table = digests(reader.rows(lines)), digests(reader.rows(copied))
    assert differing_blocks(chain, table) == []
    other = reader.rows([line(0, NASTY[0], amount=-6), *copied[1:]])
    assert differing_blocks(digests(other), table) == [0]
