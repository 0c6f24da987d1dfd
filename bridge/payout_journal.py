"""The journal of payouts: an order is written before the bank hears of it, and booked by the bank's own entry."""

from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import structlog

from bridge import ledger
from bridge.breaks import close_breaks
from bridge.identity import end_to_end_id
from bridge.ledger import Book, Transfer, move
from bridge.token import Token
from indexer.database import Connection

log = structlog.get_logger()

PAYOUT_REFUSED_SQLSTATE: Final = "LB004"
ORDER_LIFETIME: Final = timedelta(hours=24)


async def prepare_payout(connection: Connection, token: Token, operation: asyncpg.Record) -> None:
    """Journal the order of an approved redemption; Postgres refuses one that is not owed exactly so."""
    attempt = 1 + await connection.fetchval(
        "SELECT count(*) FROM bank.payout_attempt WHERE op_id = $1", operation["op_id"]
    )
    await connection.execute(
        """INSERT INTO bank.payout (op_id, account_id, amount_minor, currency, beneficiary_id)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING""",
        operation["op_id"],
        token.account_id,
        operation["amount_minor"],
        token.currency,
        operation["beneficiary_id"],
    )
    await connection.execute(
        """INSERT INTO bank.payout_party (op_id, name, iban)
           SELECT $1, name, iban FROM bridge.beneficiary WHERE beneficiary_id = $2
           ON CONFLICT DO NOTHING""",
        operation["op_id"],
        operation["beneficiary_id"],
    )
    await connection.execute(
        """INSERT INTO bank.payout_attempt (op_id, attempt, end_to_end_id, state, expires_at)
           VALUES ($1, $2, $3, 'prepared', $4)""",
        operation["op_id"],
        attempt,
        end_to_end_id(
            account_id=token.account_id,
            chain_id=token.chain_id,
            token=token.address,
            redemption_id=operation["redemption_id"],
            attempt=attempt,
        ),
        (datetime.now(UTC) + ORDER_LIFETIME).replace(microsecond=0),
    )
    await connection.execute(
        "UPDATE bridge.operation SET state = 'payout_prepared', reason = 'order journalled' WHERE operation_id = $1",
        operation["operation_id"],
    )


async def is_ours(connection: Connection, payment_id: str | None) -> bool:
    """Whether an end-to-end id names a payout of ours, in any state."""
    known: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM bank.payout_attempt WHERE end_to_end_id = $1)", payment_id
    )
    return known


async def may_be_paid_twice(
    connection: Connection, payment_id: str | None, amount_minor: int
) -> bool:
    """Whether a debit that we cannot book may be a payment that we took for refused, or paid already."""
    doubtful: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM bank.payout_attempt a JOIN bank.payout p USING (op_id)
                          WHERE a.end_to_end_id = $1 AND (a.state = 'rejected' OR p.amount_minor = $2))""",
        payment_id,
        amount_minor,
    )
    return doubtful


async def book_payout(
    connection: Connection,
    token: Token,
    payment_id: str | None,
    entry_id: int,
    amount_minor: int,
) -> bool:
    """A booked debit that one of our orders explains exactly; answers False if none does."""
    row = await connection.fetchrow(
        """SELECT o.operation_id, o.op_id, a.attempt FROM bank.payout_attempt a
           JOIN bank.payout p USING (op_id) JOIN bridge.operation o USING (op_id)
           WHERE a.end_to_end_id = $1 AND p.amount_minor = $2 AND p.account_id = $3
             AND a.state IN ('sent', 'accepted', 'unknown')
           FOR UPDATE OF o""",
        payment_id,
        amount_minor,
        token.account_id,
    )
    if row is None:
        return False
    await connection.execute(
        """UPDATE bank.payout_attempt SET state = 'booked', entry_id = $3
           WHERE op_id = $1 AND attempt = $2""",
        row["op_id"],
        row["attempt"],
        entry_id,
    )
    await connection.execute(
        "UPDATE bridge.operation SET state = 'booked', reason = 'the bank booked the payout' WHERE operation_id = $1",
        row["operation_id"],
    )
    lines = move(Book.RESERVE, Book.PAID, amount_minor)
    transfer = Transfer(f"payout:{row['operation_id']}", lines, row["operation_id"], entry_id)
    await ledger.post(connection, token, [transfer])
    await close_breaks(
        connection,
        ["missing_bank"],
        f"operation:{row['operation_id']}",
        "the bank booked the payout",
    )
    log.info("payout_booked", operation_id=row["operation_id"], op_id=row["op_id"].hex())
    return True
