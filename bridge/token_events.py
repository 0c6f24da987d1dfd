"""The token's events that a row of the feed speaks of, orphaned ones too."""

import asyncpg

from bridge.token import Token
from indexer.database import Connection
from indexer.feed import FeedRow


async def told_of(
    connection: Connection, token: Token, event: str, row: FeedRow
) -> list[asyncpg.Record]:
    """Rows of the event's table, in the chain's order."""
    rows: list[asyncpg.Record] = await connection.fetch(
        f"SELECT * FROM {token.event_table(event)} WHERE {row.rows} ORDER BY block_number, log_index",
        *row.arguments,
    )
    return rows
