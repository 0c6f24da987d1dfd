"""Mints, as the token's events tell of them: by the id that a deposit token names, or by the transaction's hash."""

from typing import Final

import asyncpg

from bridge.matching import MintSeen
from bridge.token import Token
from bridge.token_events import told_of
from indexer.database import Connection
from indexer.feed import FeedRow

NOBODY: Final = bytes(20)

# A plain token names no operation. A transaction of ours to it carries one.
CARRIED: Final = """
    SELECT l.op_id FROM bridge.tx_attempt a JOIN bridge.tx_operation l USING (tx_id) WHERE a.hash = $1"""


async def seen(
    connection: Connection, token: Token, row: FeedRow
) -> list[tuple[MintSeen, asyncpg.Record]]:
    """The mints that a row of the feed speaks of, each with its event, in the chain's order."""
    if token.kind == "deposit":
        events = await told_of(connection, token, "minted", row)
        return [
            (MintSeen(one["op_id"], one["to"], int(one["amount"]), one["tx_hash"]), one)
            for one in events
        ]
    events = await told_of(connection, token, "transfer", row)
    found = []
    for one in events:
        if one["from"] == NOBODY:
            op_id = await connection.fetchval(CARRIED, one["tx_hash"])
            found.append((MintSeen(op_id, one["to"], int(one["value"]), one["tx_hash"]), one))
    return found


async def burns(connection: Connection, token: Token, row: FeedRow) -> list[asyncpg.Record]:
    """The burns of a plain token that a row of the feed speaks of; a deposit token's are endings of redemptions."""
    if token.kind == "deposit":
        return []
    events = await told_of(connection, token, "transfer", row)
    return [one for one in events if one["to"] == NOBODY]


async def supply(connection: Connection, token: Token, block_number: int) -> int:
    """What the events up to a block add up to."""
    if token.kind == "deposit":
        minted, burned = token.event_table("minted"), token.event_table("redeem_settled")
        query = f"""SELECT (SELECT coalesce(sum(amount), 0) FROM {minted} WHERE canonical AND block_number <= $1)
                         - (SELECT coalesce(sum(amount), 0) FROM {burned} WHERE canonical AND block_number <= $1)"""
        return int(await connection.fetchval(query, block_number))
    query = f"""SELECT coalesce(sum(CASE "to" WHEN $2 THEN 0 ELSE value END
                                  - CASE "from" WHEN $2 THEN 0 ELSE value END), 0)
                FROM {token.event_table("transfer")} WHERE canonical AND block_number <= $1"""
    return int(await connection.fetchval(query, block_number, NOBODY))
