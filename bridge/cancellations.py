"""Mints that shall not happen any more: one person asks, another agrees, and the contract consumes the id unminted.

A transaction that carries the operation may be mined at any moment, so nothing is over by asking. The lane puts one
that does nothing in its place (``bridge/bumper.py``); whichever of the two is final decides. Only then is the id
voided on chain, and only when that is final may the money go back.
"""

from dataclasses import dataclass
from typing import Final

import structlog

from bridge import ledger
from bridge.errors import BridgeError
from bridge.token import Token
from indexer.database import Connection

log = structlog.get_logger()

OPERATION: Final = """
    SELECT o.operation_id, o.op_id, o.kind, o.state, c.reason, c.proposed_by, c.approved_by
    FROM bridge.operation o LEFT JOIN bridge.cancellation c USING (op_id) WHERE o.operation_id = $1 FOR UPDATE OF o"""
PROPOSE: Final = "INSERT INTO bridge.cancellation (op_id, reason, proposed_by) VALUES ($1, $2, $3)"
AGREE: Final = """
    UPDATE bridge.cancellation SET approved_by = $2, approved_at = clock_timestamp() WHERE op_id = $1"""
# Locked first and looked at afterwards: a lane that is giving a nonce to one of them holds its row.
CANCELLED: Final = """
    SELECT o.operation_id FROM bridge.operation o JOIN bridge.cancellation c USING (op_id)
    WHERE o.chain_id = $1 AND o.token = $2 AND o.kind = 'issuance' AND o.state IN ('approved', 'held', 'reserved')
      AND c.approved_by IS NOT NULL
    ORDER BY o.operation_id LIMIT $3 FOR UPDATE OF o"""
VOID: Final = """
    UPDATE bridge.operation o SET state = $2, reason = 'cancelled by two people'
    WHERE o.operation_id = ANY ($1)
      AND NOT EXISTS (SELECT FROM bridge.tx_operation l WHERE l.op_id = o.op_id AND NOT l.released)
      AND ($2 = 'voiding' OR NOT bridge.may_have_lost_mints(o.chain_id))
    RETURNING o.operation_id"""
RETURN: Final = """
    UPDATE bridge.operation o SET state = 'returning', reason = 'its id is consumed without a mint, for good',
        event_block_hash = e.block_hash, event_block_number = e.block_number, event_log_index = e.log_index
    FROM {voided} e
    WHERE o.chain_id = $1 AND o.token = $2 AND o.kind = 'issuance' AND o.state = 'voiding' AND e.op_id = o.op_id
      AND e.canonical AND e.block_number <= $3
    RETURNING o.operation_id"""

CANCELLABLE: Final = frozenset(
    {"funded", "approved", "held", "reserved", "signed", "submitted", "mined"}
)


class CancellationRefusedError(BridgeError):
    """The operation cannot be cancelled, or not by this person."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """How it stands. ``approved_by`` is None as long as nobody but its proposer wants it."""

    state: str
    reason: str
    proposed_by: str
    approved_by: str | None


async def cancel(
    connection: Connection, operation_id: int, by: str, reason: str | None
) -> Cancellation:
    """The first person proposes it, with a reason, and another one agrees. Raises :class:`CancellationRefusedError`."""
    async with connection.transaction():
        row = await connection.fetchrow(OPERATION, operation_id)
        if row is None:
            raise CancellationRefusedError(f"operation {operation_id}: there is no such one")
        if row["kind"] != "issuance" or row["state"] not in CANCELLABLE:
            raise CancellationRefusedError(
                f"operation {operation_id} is a {row['kind']} in state {row['state']}: only a mint that is not final "
                "can be cancelled"
            )
        if row["proposed_by"] is None:
            if not reason:
                raise CancellationRefusedError("--reason: whoever proposes it has to say why")
            await connection.execute(PROPOSE, row["op_id"], reason, by)
            return Cancellation(row["state"], reason, by, None)
        if row["approved_by"] is None and row["proposed_by"] == by:
            raise CancellationRefusedError(
                f"operation {operation_id}: {by} has proposed it; somebody else has to agree"
            )
        if row["approved_by"] is None:
            await connection.execute(AGREE, row["op_id"], by)
        return Cancellation(
            row["state"], row["reason"], row["proposed_by"], row["approved_by"] or by
        )


async def begin(connection: Connection, token: Token, limit: int) -> bool:
    """Have the ids of cancelled operations consumed that no transaction carries; answers whether there were any. Of a
    plain token, which has no ids, they are over with that."""
    chosen = await connection.fetch(CANCELLED, token.chain_id, token.address, limit)
    if not chosen:
        return False
    state = "voiding" if token.kind == "deposit" else "returning"
    voided = await connection.fetch(VOID, [row["operation_id"] for row in chosen], state)
    ids = [row["operation_id"] for row in voided]
    if ids:
        if state == "returning":
            await ledger.release(connection, token, ids)
        log.warning("operations_cancelled", operations=ids, state=state)
    return bool(ids)


async def finish(connection: Connection, token: Token, to_block: int) -> None:
    """What is voided in blocks up to ``to_block``, which are final, holds nothing any more and waits to be paid
    back."""
    query = RETURN.format(voided=token.event_table("operation_voided"))
    rows = await connection.fetch(query, token.chain_id, token.address, to_block)
    if rows:
        ids = [row["operation_id"] for row in rows]
        await ledger.release(connection, token, ids)
        log.warning("operations_returning", operations=ids)
