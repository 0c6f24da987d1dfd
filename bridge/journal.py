"""The journal of transactions: what we meant to send, what was signed, what became of it.

Written before the act, always: a nonce is allocated in the transaction that takes the operation, fees
are committed before custody is asked, signed bytes before they are broadcast. Every statement runs in
the caller's fenced transaction.
"""

from dataclasses import dataclass
from typing import Literal

import asyncpg

from bridge.custody.protocol import SignRequest
from bridge.fees import FeeOffer
from indexer.database import Connection

Purpose = Literal["mint", "settle", "reject"]


@dataclass(frozen=True, slots=True)
class Intent:
    """A transaction that shall carry one operation."""

    purpose: Purpose
    op_id: bytes
    to_address: bytes
    data: bytes
    gas_limit: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed form of a journalled transaction; ``raw`` is None until custody has signed it."""

    tx_id: int
    attempt: int
    purpose: Purpose
    op_id: bytes
    request: SignRequest
    raw: bytes | None
    hash: bytes | None
    sends: int


async def open_signer(connection: Connection, chain_id: int, address: bytes, key_id: str) -> int:
    """The signer's next nonce; a signer that is new to this database starts at 0."""
    await connection.execute(
        """INSERT INTO bridge.signer (chain_id, address, key_id, next_nonce) VALUES ($1, $2, $3, 0)
           ON CONFLICT DO NOTHING""",
        chain_id,
        address,
        key_id,
    )
    next_nonce: int = await connection.fetchval(
        "SELECT next_nonce FROM bridge.signer WHERE chain_id = $1 AND address = $2",
        chain_id,
        address,
    )
    return next_nonce


async def allocate(
    connection: Connection, chain_id: int, signer: bytes, intent: Intent, offer: FeeOffer
) -> int:
    """Take the signer's next nonce for one operation and journal the intent; answers with the tx_id."""
    nonce = await connection.fetchval(
        """UPDATE bridge.signer SET next_nonce = next_nonce + 1
           WHERE chain_id = $1 AND address = $2 RETURNING next_nonce - 1""",
        chain_id,
        signer,
    )
    tx_id: int = await connection.fetchval(
        """INSERT INTO bridge.tx (chain_id, signer, nonce, purpose, to_address, data, gas_limit)
           VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING tx_id""",
        chain_id,
        signer,
        nonce,
        intent.purpose,
        intent.to_address,
        intent.data,
        intent.gas_limit,
    )
    await connection.execute(
        "INSERT INTO bridge.tx_operation (tx_id, op_id) VALUES ($1, $2)", tx_id, intent.op_id
    )
    await connection.execute(
        """INSERT INTO bridge.tx_attempt (tx_id, attempt, max_fee_wei, priority_fee_wei)
           VALUES ($1, 1, $2, $3)""",
        tx_id,
        offer.max_fee_wei,
        offer.priority_fee_wei,
    )
    return tx_id


_ATTEMPT_COLUMNS = """
    SELECT t.tx_id, a.attempt, t.purpose, o.op_id, t.signer, t.chain_id, t.nonce, t.to_address, t.data,
           t.gas_limit, a.max_fee_wei, a.priority_fee_wei, a.raw, a.hash, a.sends
    FROM bridge.tx t
    JOIN bridge.tx_operation o ON o.tx_id = t.tx_id AND NOT o.released
    JOIN bridge.tx_attempt a ON a.tx_id = t.tx_id
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL
"""


async def unsigned(
    connection: Connection, chain_id: int, signer: bytes, limit: int
) -> list[Attempt]:
    """Attempts whose fees are committed and whose bytes are not there yet, lowest nonce first."""
    rows = await connection.fetch(
        _ATTEMPT_COLUMNS + " AND a.raw IS NULL ORDER BY t.nonce, a.attempt LIMIT $3",
        chain_id,
        signer,
        limit,
    )
    return [_attempt(row) for row in rows]


async def due(
    connection: Connection, chain_id: int, signer: bytes, resend_after_s: float, limit: int
) -> list[Attempt]:
    """Signed attempts that were never sent, or not lately, and are not in a block as far as we know."""
    rows = await connection.fetch(
        _ATTEMPT_COLUMNS
        + """ AND a.raw IS NOT NULL
              AND (a.last_sent_at IS NULL OR a.last_sent_at < clock_timestamp() - make_interval(secs => $3))
              AND NOT EXISTS (SELECT FROM chain.log l
                              WHERE l.chain_id = t.chain_id AND l.tx_hash = a.hash AND l.canonical)
              ORDER BY t.nonce, a.attempt LIMIT $4""",
        chain_id,
        signer,
        resend_after_s,
        limit,
    )
    return [_attempt(row) for row in rows]


async def unresolved(
    connection: Connection, chain_id: int, signer: bytes, below_nonce: int
) -> list[Attempt]:
    """Attempts of transactions without an outcome whose nonce the finalized chain has passed."""
    rows = await connection.fetch(
        _ATTEMPT_COLUMNS
        + " AND a.raw IS NOT NULL AND t.nonce < $3 ORDER BY t.nonce, a.attempt LIMIT 200",
        chain_id,
        signer,
        below_nonce,
    )
    return [_attempt(row) for row in rows]


async def record_signed(
    connection: Connection, attempt: Attempt, raw: bytes, tx_hash: bytes
) -> None:
    """Keep the signed bytes; Postgres refuses to change them afterwards."""
    await connection.execute(
        "UPDATE bridge.tx_attempt SET raw = $3, hash = $4 WHERE tx_id = $1 AND attempt = $2",
        attempt.tx_id,
        attempt.attempt,
        raw,
        tx_hash,
    )


async def record_sent(connection: Connection, attempt: Attempt, answer: str) -> None:
    """Keep that the bytes were given to a node, and what it said."""
    await connection.execute(
        """UPDATE bridge.tx_attempt SET sends = sends + 1, last_sent_at = clock_timestamp(), last_answer = $3
           WHERE tx_id = $1 AND attempt = $2""",
        attempt.tx_id,
        attempt.attempt,
        answer[:500],
    )


async def record_outcome(
    connection: Connection, attempt: Attempt, outcome: str, block_number: int
) -> None:
    """Keep what a finalized block says of the transaction; a revert releases its operation."""
    await connection.execute(
        """UPDATE bridge.tx SET outcome = $2, outcome_hash = $3, outcome_block = $4 WHERE tx_id = $1""",
        attempt.tx_id,
        outcome,
        attempt.hash,
        block_number,
    )
    if outcome == "reverted":
        await connection.execute(
            "UPDATE bridge.tx_operation SET released = true WHERE tx_id = $1", attempt.tx_id
        )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        tx_id=row["tx_id"],
        attempt=row["attempt"],
        purpose=row["purpose"],
        op_id=row["op_id"],
        request=SignRequest(
            request_id=f"{row['chain_id']}:{row['signer'].hex()}:{row['nonce']}:{row['attempt']}",
            signer=row["signer"],
            chain_id=row["chain_id"],
            nonce=row["nonce"],
            to_address=row["to_address"],
            data=row["data"],
            gas_limit=row["gas_limit"],
            max_fee_wei=int(row["max_fee_wei"]),
            priority_fee_wei=int(row["priority_fee_wei"]),
        ),
        raw=row["raw"],
        hash=row["hash"],
        sends=row["sends"],
    )
