"""Operations that wait to be put into a transaction, as calls to the token."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg

from bridge.calldata import Mint, MintBatch, MintPlainly, Reject, Settle, SettleBatch, Void
from bridge.identity import reference
from bridge.journal import Purpose
from bridge.token import Token
from indexer.database import Connection

# A lane takes its own share of what the lanes that are at work divide between them. What has waited longer than
# this is taken by any of them that has nothing else to do, for its own lane may be out of order.
SHARE_S: Final = 30.0

# Nothing new is carried while a nonce that was given up may still turn out to have carried it.
# A refused one waits, so that it does not keep the others out.
READY = """
          AND o.chain_id = $1 AND o.token = $2
          AND (o.kind, o.state) IN (('issuance', 'reserved'), ('issuance', 'voiding'), ('redemption', 'booked'),
                                    ('redemption', 'rejecting'))
          AND NOT EXISTS (SELECT FROM bridge.tx u WHERE u.chain_id = $1 AND u.purpose = 'unknown' AND u.outcome IS NULL)
          AND (o.state <> 'reserved' OR NOT (SELECT ops.is_halted('mint')))
          AND NOT EXISTS (SELECT FROM bridge.tx_operation t WHERE t.op_id = o.op_id AND NOT t.released)
          AND (o.updated_at < clock_timestamp() - make_interval(secs => $3)
               OR NOT EXISTS (SELECT FROM recon.break b WHERE b.operation_id = o.operation_id AND b.closed_at IS NULL
                              AND (b.kind = 'limit' OR b.kind = 'policy' AND o.state <> 'reserved')))"""
CALLED = """
    SELECT o.operation_id, o.op_id, o.state, o.wallet, o.amount_minor, o.redemption_id, e.entry_key, a.end_to_end_id,
           c.head_timestamp_s, o.reason
    FROM chosen o JOIN chain.cursor c USING (chain_id)
    LEFT JOIN bank.entry e USING (entry_id)
    LEFT JOIN bank.payout_attempt a ON a.op_id = o.op_id AND a.state = 'booked'
    WHERE c.head_timestamp_s IS NOT NULL ORDER BY o.place"""
THESE = (
    """
    WITH chosen AS (
        SELECT o.*, array_position($4::bytea[], o.op_id) AS place FROM bridge.operation o WHERE o.op_id = ANY ($4)"""
    + READY
    + ")"
    + CALLED
)
# What people are asked about waits for their word.
NEXT = (
    """
    WITH lanes AS (
        SELECT count(*) AS all_lanes, count(*) FILTER (WHERE s.address < $4) AS ours FROM bridge.signer s
        WHERE s.chain_id = $1 AND s.state = 'active' AND (s.address = $4 OR EXISTS (
            SELECT FROM ops.lease l WHERE l.role = 'submit:0x' || encode(s.address, 'hex')
              AND l.expires_at > clock_timestamp()))),
    shared AS (
        SELECT o.*, get_byte(o.op_id, 31) % nullif(lanes.all_lanes, 0) = lanes.ours AS is_ours
        FROM bridge.operation o CROSS JOIN lanes
        WHERE (get_byte(o.op_id, 31) % nullif(lanes.all_lanes, 0) = lanes.ours
               OR o.updated_at < clock_timestamp() - make_interval(secs => $6))
          AND o.state = ANY ($7)
          AND (o.state <> 'reserved' OR o.amount_minor BETWEEN $8 AND $9)
          AND NOT EXISTS (SELECT FROM bridge.intent_operation i WHERE i.op_id = o.op_id AND i.live)"""
    + READY
    + """
        ORDER BY is_ours DESC, o.operation_id LIMIT $5),
    chosen AS (SELECT s.*, row_number() OVER (ORDER BY s.is_ours DESC, s.operation_id) AS place FROM shared s)"""
    + CALLED
)
# Two lanes may have chosen the same one.
STILL_READY = """
    SELECT o.operation_id FROM bridge.operation o
    WHERE o.operation_id = ANY ($1) AND o.state = ANY ($2)
      AND NOT EXISTS (SELECT FROM bridge.tx_operation t WHERE t.op_id = o.op_id AND NOT t.released)
      AND NOT EXISTS (SELECT FROM bridge.intent_operation l JOIN bridge.intent i USING (intent_id)
                      WHERE l.op_id = o.op_id AND l.live AND i.hash <> ALL ($3))
    ORDER BY o.operation_id FOR UPDATE OF o SKIP LOCKED"""

STATES: Final[Mapping[Purpose, str]] = {
    "mint": "reserved",
    "settle": "booked",
    "void": "voiding",
    "reject": "rejecting",
}

Call: TypeAlias = Mint | MintPlainly | Settle | Reject | Void


@dataclass(frozen=True, slots=True)
class Ready:
    """One operation, and the call that carries it out. ``amount_minor`` is in minor units."""

    operation_id: int
    op_id: bytes
    state: str
    purpose: Purpose
    call: Call
    amount_minor: int


async def select(
    connection: Connection,
    token: Token,
    signer: bytes,
    limit: int,
    *,
    purposes: Iterable[Purpose],
    amounts: tuple[int, int],
    mint_deadline_s: int,
    retry_refused_s: float,
) -> list[Ready]:
    """The next ones for this signer's lane, oldest first, of the mints those whose amounts lie between these two. A
    mint's deadline counts from the chain's own clock."""
    states = [STATES[one] for one in purposes]
    of_lane = (signer, limit, SHARE_S, states, *amounts)
    rows = await connection.fetch(NEXT, token.chain_id, token.address, retry_refused_s, *of_lane)
    return [_ready(row, token, mint_deadline_s) for row in rows]


async def select_these(
    connection: Connection,
    token: Token,
    op_ids: Sequence[bytes],
    *,
    mint_deadline_s: int,
    retry_refused_s: float,
) -> list[Ready]:
    """Of these operations those that can be carried out, in this order."""
    rows = await connection.fetch(
        THESE, token.chain_id, token.address, retry_refused_s, list(op_ids)
    )
    return [_ready(row, token, mint_deadline_s) for row in rows]


async def are_still_ready(
    connection: Connection, chosen: Sequence[Ready], approved: Sequence[bytes] = ()
) -> bool:
    """Whether all of them can be taken in this transaction, which locks them: no other transaction has them, and
    people are asked about none of them but in the intents with these hashes."""
    ids = [one.operation_id for one in chosen]
    states = list({one.state for one in chosen})
    rows = await connection.fetch(STILL_READY, ids, states, list(approved))
    return len(rows) == len(ids)


def call_data(chosen: Sequence[Ready]) -> bytes:
    """Of one call for several of one purpose; more than one only of those that the token has a batch for."""
    if len(chosen) == 1:
        return chosen[0].call.encode()
    mints = [one.call for one in chosen if isinstance(one.call, Mint)]
    settlements = [one.call for one in chosen if isinstance(one.call, Settle)]
    if len(mints) == len(chosen):
        return MintBatch(tuple(mints)).encode()
    if len(settlements) == len(chosen):
        return SettleBatch(tuple(settlements)).encode()
    raise ValueError("these operations have no batch in common")


def _ready(row: asyncpg.Record, token: Token, mint_deadline_s: int) -> Ready:
    call: Call
    purpose: Purpose
    match row["state"]:
        case "reserved" if token.kind == "plain":
            purpose, call = "mint", MintPlainly(row["wallet"], row["amount_minor"])
        case "reserved":
            purpose = "mint"
            call = Mint(
                row["op_id"],
                row["wallet"],
                row["amount_minor"],
                reference(row["entry_key"]),
                row["head_timestamp_s"] + mint_deadline_s,
            )
        case "booked":
            purpose = "settle"
            call = Settle(row["redemption_id"], reference(row["end_to_end_id"]))
        case "voiding":
            purpose, call = "void", Void(row["op_id"])
        case _:
            purpose, call = "reject", Reject(row["redemption_id"], reference(row["reason"]))
    return Ready(
        row["operation_id"], row["op_id"], row["state"], purpose, call, row["amount_minor"]
    )
