"""Reads final blocks of a source from the chain again, and compares them with what its tables hold.

Its events and, where they are kept, its raw logs; what is derived from them (balances) or read beside them
(transactions, receipts) is not compared. Only reads, and needs no lease: final rows do not change.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from indexer.block import BlockRef
from indexer.children import Children
from indexer.comparison import MAX_SHOWN, Comparison, Reader, Row
from indexer.contract import Verify
from indexer.database import Connection, reachable
from indexer.nodes import Nodes
from indexer.query import LogQuery
from indexer.range_reader import WORKERS, Batch, RangeReader
from indexer.recorder import Recorder
from indexer.rows import TableName, logs_of
from indexer.source import Source
from indexer.spans import Span
from indexer.table import ADDRESS_LENGTH, HASH_LENGTH, TableColumn, event_table

READ_TIMEOUT_S: Final = 600.0
EVENTS: Final = "canonical AND block_number BETWEEN $1 AND $2"
RAW: Final = "canonical AND source_id = $3 AND block_number BETWEEN $1 AND $2"

# As in the migrations, in the order in which they are written.
LOG_COLUMNS: Final = (
    TableColumn("chain_id", "bigint"),
    TableColumn("source_id", "bigint"),
    TableColumn("block_number", "bigint"),
    TableColumn("block_hash", "bytea", HASH_LENGTH),
    TableColumn("log_index", "integer"),
    TableColumn("tx_hash", "bytea", HASH_LENGTH),
    TableColumn("tx_index", "integer"),
    TableColumn("ordinal", "integer"),
    TableColumn("address", "bytea", ADDRESS_LENGTH),
    TableColumn("topics", "bytea[]"),
    TableColumn("data", "bytea"),
    TableColumn("decode_error", "text", nullable=True),
    TableColumn("canonical", "boolean"),
)

Comparisons = dict[str, Comparison]


@dataclass(frozen=True, slots=True)
class Verified:
    """Blocks up to ``last`` were compared; ``tables`` are the comparisons of all of them so far, by table."""

    last: int
    tables: Comparisons


@dataclass(frozen=True, slots=True)
class _Compared:
    """A table with how its rows are chosen and read."""

    name: TableName
    condition: str
    arguments: tuple[int, ...]
    reader: Reader


async def children_of(pool: asyncpg.Pool, live: Sequence[Source], to_block: int) -> Children:
    """What factories among ``live``, the chain's sources, had made up to a block."""
    children = Children(live)
    async with reachable(), pool.acquire() as connection:
        await children.load(connection, to_block)
    return children


async def verify(
    pool: asyncpg.Pool,
    nodes: Nodes,
    source: Source,
    children: Children,
    span: Span,
    way: Verify,
    *,
    final: BlockRef | None = None,
    workers: int = WORKERS,
) -> AsyncIterator[Verified]:
    """Compare ``span``, all of it final and covered; ``children`` are known up to its end at least.

    ``final``: our final block above it, which whoever answers must have. Answers after each batch. Raises
    Retryable errors of the node's and the database's, and ``ValueError`` if a table holds what is no row of it.
    """
    query = LogQuery.of([source], children.born)
    recorder = Recorder([source], children.born)
    tables = _tables(source)
    found = {_key(table): Comparison(0, 0, 0, 0, 0, ()) for table in tables}
    async with RangeReader(
        nodes, query, recorder, span, way, final=final, workers=workers
    ) as reader:
        while (batch := await reader.next()) is not None:
            for table in tables:
                compared = await _compare(pool, table, batch)
                found[_key(table)] = added(found[_key(table)], compared)
            yield Verified(batch.last, dict(found))


def added(before: Comparison, after: Comparison) -> Comparison:
    """Both together; ``after`` is of later blocks."""
    return replace(
        before,
        chain_rows=before.chain_rows + after.chain_rows,
        table_rows=before.table_rows + after.table_rows,
        missing=before.missing + after.missing,
        extra=before.extra + after.extra,
        different=before.different + after.different,
        shown=(*before.shown, *after.shown)[:MAX_SHOWN],
    )


def _tables(source: Source) -> list[_Compared]:
    found = []
    for event in source.contract.events:
        columns = event_table(event).columns
        names = tuple(column.name for column in columns)
        name = TableName("event", source.table(event), names)
        found.append(_Compared(name, EVENTS, (), Reader(columns)))
    # Logs that fit no event are kept in any case.
    found.append(
        _Compared(logs_of(source.source_id), RAW, (source.source_id,), Reader(LOG_COLUMNS))
    )
    return found


def _key(table: _Compared) -> str:
    return f"{table.name.schema}.{table.name.name}"


async def _compare(pool: asyncpg.Pool, table: _Compared, batch: Batch) -> Comparison:
    ours = table.reader.rows(batch.rows.lines.get(table.name, ()))
    async with reachable(), pool.acquire() as connection:
        theirs = await _stored(connection, table, batch.first, batch.last)
    return table.reader.compare(ours, theirs)


async def _stored(connection: Connection, table: _Compared, first: int, last: int) -> list[Row]:
    """The rows as COPY writes them, each line ended by a newline that no value holds."""
    pieces: list[bytes] = []

    async def take(piece: bytes) -> None:
        pieces.append(piece)

    columns = ", ".join(f'"{column}"' for column in table.name.columns)
    await connection.copy_from_query(
        f'SELECT {columns} FROM {table.name.schema}."{table.name.name}" WHERE {table.condition}',
        first,
        last,
        *table.arguments,
        output=take,
        format="text",
        timeout=READ_TIMEOUT_S,
    )
    text = b"".join(pieces).decode()
    return list(table.reader.rows(text.split("\n")[:-1]))
