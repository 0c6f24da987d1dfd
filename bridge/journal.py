"""The journal of transactions: what we meant to send, what was signed, what became of it.

Written before the act, always: nonces are allocated in the transaction that takes the operations, fees
are committed before custody is asked, signed bytes before they are broadcast. Every statement runs in
the caller's fenced transaction, and speaks of many transactions at once, so that a batch costs one commit.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final, Literal

import asyncpg

from bridge.custody.protocol import SignRequest
from bridge.custody.transaction import NOOP_GAS, noop
from bridge.custody.verification import SignedTransaction
from bridge.fees import FeeOffer
from bridge.sending import Answer
from indexer.database import Connection

Purpose = Literal["mint", "settle", "reject", "void"]
TxOutcome = Literal["success", "reverted", "cancelled", "foreign"]

GIVE_UP = """
    INSERT INTO bridge.tx (chain_id, signer, nonce, purpose, to_address, data, gas_limit)
    SELECT $1, $2, n, 'unknown', $2, '', $5 FROM generate_series($3::bigint, $4::bigint - 1) AS n ORDER BY n"""
LOST = """
    INSERT INTO bridge.lost_payload (chain_id, signer, nonce, payload, proposal)
    SELECT $1, $2, l.nonce, l.payload, $5 FROM unnest($3::bigint[], $4::bytea[]) AS l (nonce, payload)"""
OPEN = """
    INSERT INTO bridge.signer (chain_id, address, name) VALUES ($1, $2, $3)
    ON CONFLICT (chain_id, address) DO NOTHING"""
NEXT = "SELECT next_nonce FROM bridge.signer WHERE chain_id = $1 AND address = $2"
TAKE = """
    UPDATE bridge.signer SET next_nonce = next_nonce + $3
    WHERE chain_id = $1 AND address = $2 AND state = ANY ($4)
    RETURNING next_nonce - $3"""
INSERT = """
    INSERT INTO bridge.tx (chain_id, signer, nonce, purpose, to_address, data, gas_limit, intent)
    SELECT $1, $2, $3 + i.place - 1, i.purpose, i.to_address, i.data, i.gas_limit, i.intent
    FROM unnest($4::text[], $5::bytea[], $6::bytea[], $7::bigint[], $8::bytea[])
        WITH ORDINALITY AS i (purpose, to_address, data, gas_limit, intent, place)
    ORDER BY i.place RETURNING tx_id"""
CARRY = """
    INSERT INTO bridge.tx_operation (tx_id, op_id) SELECT * FROM unnest($1::bigint[], $2::bytea[])"""
ATTEMPT = """
    INSERT INTO bridge.tx_attempt (tx_id, attempt, cancels, max_fee_wei, priority_fee_wei)
    SELECT t.tx_id, 1 + (SELECT count(*) FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id), $2,
           t.max_fee_wei, t.priority_fee_wei
    FROM unnest($1::bigint[], $3::numeric[], $4::numeric[]) AS t (tx_id, max_fee_wei, priority_fee_wei)"""
EVERY = """
    SELECT t.tx_id, a.attempt, t.purpose, a.cancels, t.signer, t.chain_id, t.nonce, t.to_address, t.data,
           t.gas_limit, t.intent, a.max_fee_wei, a.priority_fee_wei, a.raw, a.hash, a.sends
    FROM bridge.tx t JOIN bridge.tx_attempt a USING (tx_id)
    WHERE t.chain_id = $1 AND t.signer = $2"""
FROM_NONCE = EVERY + " AND t.nonce >= $3"
ATTEMPTS = EVERY + " AND t.outcome IS NULL"
UNSIGNED = (
    ATTEMPTS + " AND a.raw IS NULL AND a.refused IS NULL ORDER BY t.nonce, a.attempt LIMIT $3"
)
# The logs of a transaction that stands in a block are there as soon as its block is.
DUE = (
    ATTEMPTS
    + """ AND a.raw IS NOT NULL
      AND (a.last_sent_at IS NULL OR a.last_sent_at < clock_timestamp() - make_interval(secs => $3))
      AND NOT bridge.is_in_a_block(t)
      ORDER BY t.nonce, a.attempt LIMIT $4"""
)
# Of each nonce the newest form that was sent: whoever lost the nonce takes that one.
EARLIER = (
    ATTEMPTS
    + """ AND a.sends > 0 AND t.nonce < $3
      AND NOT EXISTS (SELECT FROM bridge.tx_attempt n
                      WHERE n.tx_id = t.tx_id AND n.sends > 0 AND n.attempt > a.attempt)
      ORDER BY t.nonce LIMIT $4"""
)
# What was allocated and never signed here cannot be what took its nonce.
BARE = """
    SELECT t.tx_id, t.purpose, t.nonce FROM bridge.tx t
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL AND t.nonce < $3
      AND NOT EXISTS (SELECT FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id AND a.raw IS NOT NULL)
    ORDER BY t.nonce LIMIT $4"""
LOWEST_OPEN = """
    SELECT coalesce(min(nonce), (SELECT next_nonce FROM bridge.signer WHERE chain_id = $1 AND address = $2), 0)
    FROM bridge.tx WHERE chain_id = $1 AND signer = $2 AND outcome IS NULL"""
UNRESOLVED = (
    ATTEMPTS + " AND a.raw IS NOT NULL AND t.nonce < $3 ORDER BY t.nonce, a.attempt LIMIT $4"
)
SIGNED = """
    UPDATE bridge.tx_attempt a SET raw = s.raw, hash = s.hash
    FROM unnest($1::bigint[], $2::integer[], $3::bytea[], $4::bytea[]) AS s (tx_id, attempt, raw, hash)
    WHERE a.tx_id = s.tx_id AND a.attempt = s.attempt"""
SENT = """
    UPDATE bridge.tx_attempt a SET sends = sends + 1, last_sent_at = clock_timestamp(), last_answer = s.answer,
        last_verdict = s.verdict
    FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[]) AS s (tx_id, attempt, answer, verdict)
    WHERE a.tx_id = s.tx_id AND a.attempt = s.attempt"""
REFUSED = "UPDATE bridge.tx_attempt SET refused = $3 WHERE tx_id = $1 AND attempt = $2"
RESOLVED = """
    UPDATE bridge.tx t SET outcome = r.outcome, outcome_hash = r.hash, outcome_block = r.block
    FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[]) AS r (tx_id, outcome, hash, block)
    WHERE t.tx_id = r.tx_id"""

MAX_ANSWER_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Intent:
    """A transaction that shall carry operations; ``approved`` is the hash of what people have approved, if they were
    asked."""

    purpose: Purpose
    op_ids: tuple[bytes, ...]
    to_address: bytes
    data: bytes
    gas_limit: int
    approved: bytes | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One form of a journalled transaction; ``raw`` is None until custody has signed it. ``unknown``: what its nonce
    was used for, if it was, is lost."""

    tx_id: int
    attempt: int
    purpose: Purpose | Literal["unknown"]
    cancels: bool
    request: SignRequest
    raw: bytes | None
    hash: bytes | None
    sends: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a finalized block says of a transaction, and the attempt's hash by which it says it; None where the nonce
    went to a transaction that is not ours."""

    tx_id: int
    outcome: TxOutcome
    hash: bytes | None
    block_number: int


async def open_signer(connection: Connection, chain_id: int, address: bytes, name: str) -> None:
    """A signer that is new to this database starts at nonce 0."""
    await connection.execute(OPEN, chain_id, address, name)


async def next_nonce(connection: Connection, chain_id: int, signer: bytes) -> int:
    """The next nonce that is given out; 0 of a signer that is not known."""
    found: int | None = await connection.fetchval(NEXT, chain_id, signer)
    return found or 0


async def lowest_open(connection: Connection, chain_id: int, signer: bytes) -> int:
    """The lowest nonce without an outcome; the next one if each has one."""
    lowest: int = await connection.fetchval(LOWEST_OPEN, chain_id, signer)
    return lowest


async def allocate(
    connection: Connection,
    chain_id: int,
    signer: bytes,
    intents: Sequence[Intent],
    offer: FeeOffer,
) -> list[int]:
    """Take the signer's next nonces, one for each intent in their order; answers with the tx_ids.

    The signer's row is locked first: whoever takes nonces takes them alone. One that does not work any more has none.
    """
    first = await connection.fetchval(TAKE, chain_id, signer, len(intents), ["active"])
    if first is None:
        return []
    rows = await connection.fetch(
        INSERT,
        chain_id,
        signer,
        first,
        [one.purpose for one in intents],
        [one.to_address for one in intents],
        [one.data for one in intents],
        [one.gas_limit for one in intents],
        [one.approved for one in intents],
    )
    tx_ids = sorted(row["tx_id"] for row in rows)
    carried = [
        (tx_id, op_id) for tx_id, one in zip(tx_ids, intents, strict=True) for op_id in one.op_ids
    ]
    await connection.execute(CARRY, [one for one, _ in carried], [one for _, one in carried])
    await add_attempts(connection, [(tx_id, offer) for tx_id in tx_ids])
    return tx_ids


async def give_up_nonces(
    connection: Connection, chain_id: int, signer: bytes, first_free: int
) -> None:
    """After a state loss: the nonces below ``first_free`` that this journal never gave out are not given out any more.

    Postgres allows it while money is latched shut. The lane sees each of them filled, one way or another. A signer
    that has retired gives out none any more.
    """
    working = ["active", "draining"]
    next_nonce = await connection.fetchval(TAKE, chain_id, signer, 0, working)
    if next_nonce is not None and first_free > next_nonce:
        await connection.execute(TAKE, chain_id, signer, first_free - next_nonce, working)
        await connection.execute(GIVE_UP, chain_id, signer, next_nonce, first_free, NOOP_GAS)


async def record_lost(
    connection: Connection,
    chain_id: int,
    signer: bytes,
    payloads: Mapping[int, Set[bytes]],
    proposal: bytes,
) -> None:
    """Keep what custody was asked for, by nonce, and this journal does not know."""
    lost = [(nonce, one) for nonce, each in payloads.items() for one in sorted(each)]
    await connection.execute(
        LOST, chain_id, signer, [one for one, _ in lost], [one for _, one in lost], proposal
    )


async def add_attempts(
    connection: Connection, offers: Sequence[tuple[int, FeeOffer]], *, cancels: bool = False
) -> None:
    """The next attempt of each: a first one, one that offers more, or one that does nothing in its place."""
    await connection.execute(
        ATTEMPT,
        [tx_id for tx_id, _ in offers],
        cancels,
        [offer.max_fee_wei for _, offer in offers],
        [offer.priority_fee_wei for _, offer in offers],
    )


async def requests_from(
    connection: Connection, chain_id: int, signer: bytes, nonce: int
) -> list[SignRequest]:
    """What custody was asked for, or will be, from a nonce on."""
    rows = await connection.fetch(FROM_NONCE, chain_id, signer, nonce)
    return [_request(row) for row in rows]


async def unsigned(
    connection: Connection, chain_id: int, signer: bytes, limit: int
) -> list[Attempt]:
    """Attempts whose fees are committed and whose bytes are not there yet, lowest nonce first."""
    rows = await connection.fetch(UNSIGNED, chain_id, signer, limit)
    return [_attempt(row) for row in rows]


async def due(
    connection: Connection, chain_id: int, signer: bytes, resend_after_s: float, limit: int
) -> list[Attempt]:
    """Signed attempts that were never sent, or not lately, of transactions that stand in no block of ours."""
    rows = await connection.fetch(DUE, chain_id, signer, resend_after_s, limit)
    return [_attempt(row) for row in rows]


async def earlier(
    connection: Connection, chain_id: int, signer: bytes, below_nonce: int, limit: int
) -> list[Attempt]:
    """What was sent of the nonces below one and has no outcome, lowest first."""
    rows = await connection.fetch(EARLIER, chain_id, signer, below_nonce, limit)
    return [_attempt(row) for row in rows]


async def unresolved(
    connection: Connection, chain_id: int, signer: bytes, below_nonce: int, limit: int
) -> list[Attempt]:
    """Attempts of transactions without an outcome whose nonce the finalized chain has passed."""
    rows = await connection.fetch(UNRESOLVED, chain_id, signer, below_nonce, limit)
    return [_attempt(row) for row in rows]


async def bare(
    connection: Connection, chain_id: int, signer: bytes, below_nonce: int, limit: int
) -> list[asyncpg.Record]:
    """Transactions without an outcome and without signed bytes whose nonce the finalized chain has passed: their
    ``tx_id``, ``purpose`` and ``nonce``."""
    rows: list[asyncpg.Record] = await connection.fetch(BARE, chain_id, signer, below_nonce, limit)
    return rows


async def record_signed(
    connection: Connection, signed: Sequence[tuple[Attempt, SignedTransaction]]
) -> None:
    """Keep the signed bytes; Postgres refuses to change them afterwards."""
    await connection.execute(
        SIGNED,
        [attempt.tx_id for attempt, _ in signed],
        [attempt.attempt for attempt, _ in signed],
        [transaction.raw for _, transaction in signed],
        [transaction.hash for _, transaction in signed],
    )


async def record_refused(connection: Connection, attempt: Attempt, why: str) -> None:
    """Keep that custody will never sign this attempt."""
    await connection.execute(REFUSED, attempt.tx_id, attempt.attempt, why[:MAX_ANSWER_TEXT])


async def record_sent(
    connection: Connection, answers: Sequence[tuple[Attempt, Answer, str]]
) -> None:
    """Keep that the bytes were given to a node, what that meant, and what it said."""
    await connection.execute(
        SENT,
        [attempt.tx_id for attempt, _, _ in answers],
        [attempt.attempt for attempt, _, _ in answers],
        [text[:MAX_ANSWER_TEXT] for _, _, text in answers],
        [answer.value for _, answer, _ in answers],
    )


async def record_outcomes(connection: Connection, resolved: Sequence[Resolved]) -> None:
    """Keep what finalized blocks say."""
    await connection.execute(
        RESOLVED,
        [one.tx_id for one in resolved],
        [one.outcome for one in resolved],
        [one.hash for one in resolved],
        [one.block_number for one in resolved],
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        tx_id=row["tx_id"],
        attempt=row["attempt"],
        purpose=row["purpose"],
        cancels=row["cancels"],
        request=_request(row),
        raw=row["raw"],
        hash=row["hash"],
        sends=row["sends"],
    )


def _prefix(row: asyncpg.Record) -> str:
    """Custody may know a payload of the lost journal by the id that this attempt would have."""
    return "lost:" if row["purpose"] == "unknown" else ""


def _request(row: asyncpg.Record) -> SignRequest:
    chain_id, signer, nonce, tip_wei = (
        row[name] for name in ("chain_id", "signer", "nonce", "priority_fee_wei")
    )
    filler = noop(
        f"{chain_id}:{signer.hex()}:{nonce}:{_prefix(row)}{row['attempt']}",
        signer,
        chain_id,
        nonce,
        max_fee_wei=int(row["max_fee_wei"]),
        priority_fee_wei=None if tip_wei is None else int(tip_wei),
    )
    if row["cancels"]:
        return filler
    return replace(
        filler,
        to_address=row["to_address"],
        data=row["data"],
        gas_limit=row["gas_limit"],
        intent=row["intent"],
    )
