"""What is final by what the bridge has read of the chain's feed, which is all that it may act on."""

from typing import Final

import asyncpg

from bridge.token import Token
from indexer.block import BlockRef
from indexer.database import Connection
from indexer.feed import FeedRow

CONSUMER: Final = "bridge"


async def consumed_finality(connection: Connection | asyncpg.Pool, token: Token) -> BlockRef | None:
    """The newest finalized block up to which the bridge has acted on everything; None before the first."""
    row = await connection.fetchrow(
        """SELECT final.number, final.hash FROM chain.consumer c
           JOIN chain.source s ON s.chain_id = c.chain_id AND s.name = $3 AND s.version = 1 AND s.joined_seq <= c.seq
           CROSS JOIN LATERAL (
               (SELECT f.seq, f.to_block AS number, f.block_hash AS hash FROM chain.feed f
                WHERE f.chain_id = c.chain_id AND f.op = 'finalize' AND f.seq <= c.seq ORDER BY f.seq DESC LIMIT 1)
               UNION ALL
               (SELECT n.seq, n.finalized_number, n.finalized_hash FROM chain.snapshot n
                WHERE n.chain_id = c.chain_id AND n.seq <= c.seq ORDER BY n.seq DESC LIMIT 1)) AS final
           WHERE c.chain_id = $1 AND c.name = $2 ORDER BY final.seq DESC LIMIT 1""",
        token.chain_id,
        CONSUMER,
        token.contract_name,
    )
    return None if row is None else BlockRef(row["number"], row["hash"])


async def was_final(connection: Connection, token: Token, row: FeedRow) -> bool:
    """Whether the row's one block was final by what the feed had told before it. What has become final since says
    nothing of it: another block may stand at its height by now, and a later row will tell what is final; until then
    the proof is of the block that was told."""
    final: bool = await connection.fetchval(
        """SELECT coalesce($3 <= greatest(
               (SELECT f.to_block FROM chain.feed f WHERE f.chain_id = $1 AND f.op = 'finalize' AND f.seq < $2
                ORDER BY f.seq DESC LIMIT 1),
               (SELECT n.finalized_number FROM chain.snapshot n WHERE n.chain_id = $1 AND n.seq <= $2
                ORDER BY n.seq DESC LIMIT 1)), false)""",
        token.chain_id,
        row.seq,
        row.to_block,
    )
    return final
