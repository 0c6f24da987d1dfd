"""Copies rows into their tables, inside the writer's transaction."""

from collections.abc import AsyncIterator

import asyncpg

from indexer.block import BlockRef
from indexer.database import Connection
from indexer.errors import LogsMalformed
from indexer.rows import Rows, TableName

PIECE_BYTES = 1 << 20


async def rows(connection: Connection, wanted: Rows) -> None:
    """Raises :class:`LogsMalformed` if a node's text is no value of its column."""
    try:
        texts = list(wanted.texts())
    except ValueError as error:
        raise LogsMalformed(reason=str(error)) from error
    for table, text in texts:
        await _copy(connection, table, text)


async def missing_rows(connection: Connection, block: BlockRef, wanted: Rows) -> None:
    """Copy the rows of a block into those tables that have none of it: of a block, a table has all or none."""
    lacking = Rows()
    for table, lines in wanted.lines.items():
        part = "" if table.source_id is None else f" AND source_id = {table.source_id}"
        there = await connection.fetchval(
            f"""SELECT EXISTS (SELECT FROM {table.schema}."{table.name}"
                WHERE block_number = $1 AND block_hash = $2 AND canonical{part})""",
            block.number,
            block.hash,
        )
        if not there:
            lacking.lines[table] = lines
    await rows(connection, lacking)


async def _copy(connection: Connection, table: TableName, text: bytes) -> None:
    try:
        await connection.copy_to_table(
            table.name,
            schema_name=table.schema,
            columns=table.columns,
            format="text",
            source=_pieces(text),
        )
    except (asyncpg.DataError, asyncpg.CheckViolationError) as error:
        # The text of such an error quotes what the node sent.
        reason = f"{table.schema}.{table.name}: {type(error).__name__}"
        raise LogsMalformed(reason=reason) from error


async def _pieces(text: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(text), PIECE_BYTES):
        yield text[start : start + PIECE_BYTES]
