"""Rows as a finished backfill would have left them, put there by Postgres itself.

A chain with ten million events would take minutes to make and to read; what matters to those who
follow the head is how large the tables and their indexes are.
"""

from __future__ import annotations

import asyncpg

from benchmarks.chain import BLOCK_TIME_S, GENESIS_TIMESTAMP_S, Chain

ROWS_PER_BLOCK = 100
ROWS_PER_TRANSACTION = 25
FIRST_BLOCK = 2  # after the contract's deployment
BLOCKS_PER_STATEMENT = 10_000
STATEMENT_TIMEOUT_S = 600.0

INSERT = f"""
    INSERT INTO event.token_transfer (block_number, block_hash, block_timestamp_s, log_index, tx_hash,
        tx_index, address, ordinal, canonical, "from", "to", value)
    SELECT block, sha256(int8send(block)), {GENESIS_TIMESTAMP_S} + {BLOCK_TIME_S} * block, i,
        sha256(int8send(block * {ROWS_PER_BLOCK} + i / {ROWS_PER_TRANSACTION})),
        i / {ROWS_PER_TRANSACTION}, $3, i % {ROWS_PER_TRANSACTION}, true,
        substr(sha256(int8send((block * 7919 + i * 104729) % 1000)), 1, 20),
        substr(sha256(int8send((block * 15485863 + i * 32452843) % 1000)), 1, 20),
        (block * 1000003 + i)::numeric * 1000000000000
    FROM generate_series($1::bigint, $2::bigint) block, generate_series(0::bigint, {ROWS_PER_BLOCK} - 1) i
    ORDER BY block, i
"""
COUNT_AS_COVERED = f"""
    UPDATE chain.coverage SET row_count = row_count
        + {ROWS_PER_BLOCK} * (least(to_block, $2) - greatest(from_block, $1) + 1)
    WHERE from_block <= $2 AND to_block >= $1
"""


def blocks_for(wanted_rows: int) -> int:
    """How many blocks hold so many rows, the deployment's one included."""
    return FIRST_BLOCK - 1 + -(-wanted_rows // ROWS_PER_BLOCK)


async def load(chain: Chain, connection: asyncpg.Connection, wanted_rows: int) -> None:
    """Fill the final blocks from the second one on, which are empty on the chain.

    The connection is a superuser's: guards of the tables are for the daemon and are passed over.
    """
    first, last = FIRST_BLOCK, blocks_for(wanted_rows)
    address = bytes.fromhex(chain.address[2:])
    await connection.execute("SET session_replication_role = replica")
    for start in range(first, last + 1, BLOCKS_PER_STATEMENT):
        end = min(start + BLOCKS_PER_STATEMENT - 1, last)
        await connection.execute(INSERT, start, end, address, timeout=STATEMENT_TIMEOUT_S)
    await connection.execute(COUNT_AS_COVERED, first, last)
    await connection.execute("RESET session_replication_role")
    await connection.execute("VACUUM ANALYZE event.token_transfer", timeout=STATEMENT_TIMEOUT_S)
    await connection.execute("CHECKPOINT")
