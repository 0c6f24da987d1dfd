"""What the measured program stored, and whether it is what the chain says.

Rows are read where a user reads them, in `v1.token_transfer`, by a connection of our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from benchmarks.chain import Chain
from benchmarks.errors import RowsDifferError

VIEW = "v1.token_transfer"
COUNT = f"SELECT count(*) FROM {VIEW}"
ANY = f"SELECT EXISTS (SELECT FROM {VIEW})"
ROWS = f"""SELECT block_number, block_hash, log_index, "from", "to", value::text FROM {VIEW}
           WHERE block_number BETWEEN $1 AND $2"""
OUTSIDE = f"SELECT count(*) FROM {VIEW} WHERE NOT block_number BETWEEN $1 AND $2"
WINDOW_BLOCKS = 200

# Block number, block hash, log index, from, to, value.
Row = tuple[int, bytes, int, bytes, bytes, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows too many (those stored twice are among them) and rows missing, of `wanted`."""

    extra: int
    missing: int
    wanted: int

    @property
    def exact(self) -> bool:
        return self.extra == 0 and self.missing == 0

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.extra + other.extra, self.missing + other.missing, self.wanted + other.wanted
        )


def difference(stored: Iterable[Row], wanted: Iterable[Row]) -> Difference:
    """Compare as multisets: a row that is stored twice is one too many."""
    have, want = Counter(stored), Counter(wanted)
    return Difference((have - want).total(), (want - have).total(), want.total())


def row_of_log(log: Mapping[str, Any]) -> Row:
    """A Transfer as the node tells it."""
    return (
        int(log["blockNumber"], 16),
        bytes.fromhex(log["blockHash"][2:]),
        int(log["logIndex"], 16),
        bytes.fromhex(log["topics"][1][26:]),
        bytes.fromhex(log["topics"][2][26:]),
        int(log["data"], 16),
    )


# What there is before the program has made the view.
NO_VIEW = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)


async def count(connection: asyncpg.Connection) -> int:
    """Rows visible now."""
    return await _number(connection, COUNT)


async def any_row(connection: asyncpg.Connection) -> bool:
    """Whether a row is visible."""
    return bool(await _number(connection, ANY))


async def stored_rows(connection: asyncpg.Connection, from_block: int, to_block: int) -> list[Row]:
    """The visible rows of a range of blocks."""
    try:
        records = await connection.fetch(ROWS, from_block, to_block)
    except NO_VIEW:
        return []
    return [
        (number, block_hash, index, sender, receiver, int(value))
        for number, block_hash, index, sender, receiver, value in records
    ]


async def chain_rows(chain: Chain, from_block: int, to_block: int) -> list[Row]:
    """What the node says of a range of blocks."""
    return [row_of_log(log) for log in await chain.logs(from_block, to_block)]


async def compare(chain: Chain, connection: asyncpg.Connection, from_block: int = 0) -> Difference:
    """The whole chain from a block on, in windows that fit into memory."""
    head = await chain.head()
    outside = await _number(connection, OUTSIDE, 0, head)
    total = Difference(outside, 0, 0)
    for start in range(from_block, head + 1, WINDOW_BLOCKS):
        end = min(start + WINDOW_BLOCKS - 1, head)
        stored = await stored_rows(connection, start, end)
        total += difference(stored, await chain_rows(chain, start, end))
    return total


async def require_exact(chain: Chain, connection: asyncpg.Connection, from_block: int = 0) -> int:
    """How many rows there are. Raises RowsDifferError."""
    found = await compare(chain, connection, from_block)
    if not found.exact:
        raise RowsDifferError(extra=found.extra, missing=found.missing, wanted=found.wanted)
    return found.wanted


async def _number(connection: asyncpg.Connection, query: str, *arguments: object) -> int:
    try:
        return int(await connection.fetchval(query, *arguments))
    except NO_VIEW:
        return 0
