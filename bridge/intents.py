"""What people are asked to approve before there is a nonce, as Postgres keeps it.

An intent is written before anybody is asked, so whoever asks again after a kill asks about the same one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.intent import Approval, Intent
from bridge.custody.policy import Evidence
from bridge.journal import Purpose
from indexer.database import Connection

Decision = Literal["approved", "rejected", "expired"]

OPEN = """
    WITH added AS (
        INSERT INTO bridge.intent (chain_id, signer, hash, purpose, token, function, ids_digest, amount_minor,
                                   valid_until_s)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING intent_id)
    INSERT INTO bridge.intent_operation (intent_id, op_id, place)
    SELECT intent_id, o.op_id, o.place FROM added, unnest($10::bytea[]) WITH ORDINALITY AS o (op_id, place)"""
# What was cancelled, or done by a transaction that this database has lost, never comes back to where it was.
LIVE = """
    SELECT i.*, array_agg(l.op_id ORDER BY l.place) AS op_ids,
           array_agg(o.operation_id ORDER BY l.place) AS operation_ids,
           bool_and(o.state = ANY (CASE i.purpose WHEN 'mint' THEN ARRAY['approved', 'held', 'reserved']
                                   WHEN 'settle' THEN ARRAY['booked'] WHEN 'void' THEN ARRAY['voiding']
                                   ELSE ARRAY['rejecting'] END)) AS is_possible
    FROM bridge.intent i JOIN bridge.intent_operation l USING (intent_id) JOIN bridge.operation o USING (op_id)
    WHERE i.chain_id = $1 AND i.signer = $2 AND i.state IN ('proposed', 'approved')
    GROUP BY i.intent_id ORDER BY i.intent_id"""
WORKS = "SELECT state = 'active' FROM bridge.signer WHERE chain_id = $1 AND address = $2"
DECIDE = "UPDATE bridge.intent SET state = $2, reason = $3 WHERE intent_id = $1"
GIVEN = """
    SELECT i.hash, a.approver, a.signature FROM bridge.intent i JOIN bridge.intent_approval a USING (intent_id)
    WHERE i.hash = ANY ($1) ORDER BY a.approver"""
COUNTED = """
    SELECT i.*, (SELECT count(*) FROM bridge.intent_operation l WHERE l.intent_id = i.intent_id) AS count
    FROM bridge.intent i"""
ONE = COUNTED + " WHERE i.intent_id = $1"
OF_HASH = COUNTED + " WHERE i.hash = ANY ($1)"
DECLARE = """
    INSERT INTO bridge.approval_rule (account_id, above_minor, needed, approvers)
    SELECT $1::text, $2::bigint, $3::integer, $4::text[]
    FROM (SELECT) AS one LEFT JOIN bridge.approval_rule_now r ON r.account_id = $1
    WHERE (r.above_minor, r.needed, r.approvers) IS DISTINCT FROM ($2, $3, $4)"""
APPROVAL = """
    INSERT INTO bridge.intent_approval (intent_id, approver, signature) VALUES ($1, $2, $3)
    ON CONFLICT (intent_id, approver) DO NOTHING"""
REOPEN = "UPDATE bridge.intent SET state = 'reopened', reason = 'reopened by ' || $2 WHERE intent_id = $1"
STANDING = """
    SELECT i.intent_id, i.state, i.purpose, i.amount_minor, i.hash, i.valid_until_s, i.reason,
           (SELECT count(*) FROM bridge.intent_operation l WHERE l.intent_id = i.intent_id) AS operations,
           ARRAY(SELECT a.approver FROM bridge.intent_approval a
                 WHERE a.intent_id = i.intent_id ORDER BY a.approver) AS approvers
    FROM bridge.intent i WHERE i.state IN ('proposed', 'approved', 'rejected') ORDER BY i.intent_id"""
USE = "UPDATE bridge.intent SET state = 'used' WHERE hash = ANY ($1)"


@dataclass(frozen=True, slots=True)
class LiveIntent:
    """One that waits for people, or was approved and waits to be carried out; ``is_possible``: whether all of its
    operations still can be."""

    intent_id: int
    intent: Intent
    purpose: Purpose
    op_ids: tuple[bytes, ...]
    operation_ids: tuple[int, ...]
    is_approved: bool
    is_possible: bool


@dataclass(frozen=True, slots=True)
class IntentStanding:
    """One that is not over, as people look at it."""

    intent_id: int
    state: str
    purpose: Purpose
    amount_minor: int
    hash: bytes
    valid_until_s: int
    reason: str | None
    operations: int
    approvers: list[str]


async def standing(connection: Connection) -> list[IntentStanding]:
    """All that wait for people or for a nonce, and those that were rejected, oldest first."""
    return [IntentStanding(**row) for row in await connection.fetch(STANDING)]


async def reopen(connection: Connection, intent_id: int, by: str) -> bool:
    """Free the operations of a rejected intent; answers whether there is such an intent. Postgres refuses any other."""
    status: str = await connection.execute(REOPEN, intent_id, by)
    return status == "UPDATE 1"


async def add(
    connection: Connection,
    signer: bytes,
    intent: Intent,
    purpose: Purpose,
    op_ids: Sequence[bytes],
) -> None:
    """From now on no transaction takes these operations but the one that carries out this intent."""
    await connection.execute(
        OPEN,
        intent.chain_id,
        signer,
        intent.hash,
        purpose,
        intent.token,
        intent.function,
        intent.ids_digest,
        intent.amount,
        intent.valid_until_s,
        list(op_ids),
    )


async def live(connection: Connection, chain_id: int, signer: bytes) -> list[LiveIntent]:
    """Those of one signer, oldest first."""
    return [_live(row) for row in await connection.fetch(LIVE, chain_id, signer)]


async def works(connection: Connection, chain_id: int, signer: bytes) -> bool:
    """Whether the signer takes anything; what is proposed for one that does not will never be carried out by it."""
    return bool(await connection.fetchval(WORKS, chain_id, signer))


async def decide(
    connection: Connection, intent_id: int, decision: Decision, reason: str | None = None
) -> None:
    """What became of it. Operations of one that has expired are free again, of one that was rejected they are not."""
    await connection.execute(DECIDE, intent_id, decision, reason)


async def approve(connection: Connection, intent_id: int, approvals: Sequence[Approval]) -> None:
    """Enough people stand behind it, by these signatures."""
    await connection.executemany(
        APPROVAL, [(intent_id, one.approver, one.signature) for one in approvals]
    )
    await decide(connection, intent_id, "approved")


async def declare(connection: Connection, account_id: str, rule: ApprovalRule | None) -> None:
    """Let Postgres hold whoever mints for a bank account to this rule, in a fenced transaction of a lane."""
    if rule is None:
        await connection.execute(DECLARE, account_id, None, None, None)
    else:
        names = sorted(rule.approvers)
        await connection.execute(DECLARE, account_id, rule.above, rule.needed, names)


async def find(connection: Connection, intent_id: int) -> Intent | None:
    """One intent, whatever became of it."""
    row = await connection.fetchrow(ONE, intent_id)
    return None if row is None else _intent(row, row["count"])


async def sign(connection: Connection, intent_id: int, approval: Approval) -> None:
    """Keep one approval of an intent; Postgres takes it only as long as nothing was decided. Twice is once."""
    await connection.execute(APPROVAL, intent_id, approval.approver, approval.signature)


async def approvals(
    connection: Connection, hashes: Sequence[bytes]
) -> Mapping[bytes, list[Approval]]:
    """Who has approved each of these intents."""
    found: dict[bytes, list[Approval]] = {one: [] for one in hashes}
    for row in await connection.fetch(GIVEN, list(hashes)):
        found[row["hash"]].append(Approval(row["approver"], row["signature"]))
    return found


async def evidence(connection: Connection, hashes: Sequence[bytes]) -> list[Evidence]:
    """The same with the intents themselves."""
    given = await approvals(connection, hashes)
    rows = await connection.fetch(OF_HASH, list(hashes))
    return [Evidence(_intent(row, row["count"]), tuple(given[row["hash"]])) for row in rows]


async def use(connection: Connection, hashes: Sequence[bytes]) -> None:
    """They have their nonces: to be called in the transaction that gives them out."""
    await connection.execute(USE, hashes)


def _live(row: asyncpg.Record) -> LiveIntent:
    op_ids = tuple(row["op_ids"])
    return LiveIntent(
        row["intent_id"],
        _intent(row, len(op_ids)),
        row["purpose"],
        op_ids,
        tuple(row["operation_ids"]),
        is_approved=row["state"] == "approved",
        is_possible=row["is_possible"],
    )


def _intent(row: asyncpg.Record, count: int) -> Intent:
    return Intent(
        chain_id=row["chain_id"],
        token=row["token"],
        function=row["function"],
        ids_digest=row["ids_digest"],
        count=count,
        amount=row["amount_minor"],
        valid_until_s=row["valid_until_s"],
    )
