"""Money out: the order is journalled, then given to the bank, then followed until it is booked.

An order whose outcome is not known is asked about by its end-to-end id, and given again only under the
same id, only to a bank that deduplicates by it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import asyncpg
import structlog

from bridge import halts
from bridge.bank.connector import (
    BankConnector,
    PaymentOrder,
    PaymentReport,
    PaymentStatus,
    Rejected,
)
from bridge.bank.errors import BankMessageError, BankOutcomeUnknown
from bridge.breaks import Break, open_break
from bridge.payout_journal import PAYOUT_REFUSED_SQLSTATE
from bridge.token import Token
from indexer.lease import Fence, fenced

log = structlog.get_logger()

_OPERATION_STATE: Final = {
    "accepted": "accepted",
    "unknown": "payout_unknown",
    "rejected": "rejecting",
    "sent": "sent",
}
# A block's time is the chain's clock and a halt's the database's: an hour covers what they differ by.
MAY_BE_KNOWN: Final = """
    EXISTS (SELECT FROM ops.halt h WHERE h.state_loss AND NOT EXISTS (
        SELECT FROM chain.block b WHERE b.chain_id = o.chain_id AND b.hash = o.event_block_hash
          AND to_timestamp(b.timestamp_s) > h.closed_at + interval '1 hour'))"""


@dataclass(frozen=True, slots=True)
class _Order:
    """``may_be_known``: the redemption is older than the last state loss, so the bank may have had this order."""

    operation_id: int
    op_id: bytes
    state: str
    order: PaymentOrder
    may_be_known: bool


class Payouts:
    """Gives journalled orders to the bank and follows them, under the lease of role ``operate``."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        bank: BankConnector,
        token: Token,
        ask_after_s: float,
        batch: int = 20,
    ) -> None:
        self._pool = pool
        self._bank = bank
        self._token = token
        self._ask_after_s = ask_after_s
        self._batch = batch

    async def step(self, fence: Fence) -> bool:
        """Send what is prepared, ask about what is not settled; answers whether anything was sent.

        Raises BankUnavailable when the bank cannot be asked, so that the loop comes back with backoff.
        """
        if await halts.is_halted(self._pool, "money"):
            return False
        prepared = await self._orders("o.state = 'payout_prepared'")
        for order in prepared:
            if not order.may_be_known:
                await self._send(fence, order)
            elif await self._begin(fence, order):
                await self._ask(fence, replace(order, state="sent"))
        # 'sent' is here only after a kill between the intent and the record of its outcome.
        waiting = await self._orders(
            """o.state IN ('sent', 'payout_unknown', 'accepted')
               AND a.updated_at < clock_timestamp() - make_interval(secs => $2)""",
            self._ask_after_s,
        )
        for order in waiting:
            await self._ask(fence, order)
        return bool(prepared)

    async def _orders(self, condition: str, *arguments: float) -> list[_Order]:
        rows = await self._pool.fetch(
            f"""SELECT o.operation_id, o.op_id, o.state, a.end_to_end_id, a.expires_at, p.account_id,
                       p.amount_minor, p.currency, y.name, y.iban, {MAY_BE_KNOWN} AS may_be_known
                FROM bridge.operation o JOIN bank.payout p USING (op_id)
                JOIN bank.payout_attempt a ON a.op_id = o.op_id AND a.state NOT IN ('rejected', 'booked')
                JOIN bank.payout_party y ON y.op_id = o.op_id
                WHERE p.account_id = $1 AND {condition} ORDER BY o.operation_id LIMIT {self._batch:d}""",
            self._token.account_id,
            *arguments,
        )
        return [self._order(row) for row in rows]

    def _order(self, row: asyncpg.Record) -> _Order:
        order = PaymentOrder(
            end_to_end_id=row["end_to_end_id"],
            account_id=row["account_id"],
            amount_minor=row["amount_minor"],
            currency=row["currency"],
            exponent=self._token.decimals,
            creditor_name=row["name"],
            creditor_iban=row["iban"],
            expires_at=row["expires_at"],
        )
        return _Order(row["operation_id"], row["op_id"], row["state"], order, row["may_be_known"])

    async def _send(self, fence: Fence, order: _Order) -> None:
        if order.state != "sent" and not await self._begin(fence, order):
            return
        # Asked again right before the write; an order stopped here is asked about and given later.
        if await halts.is_halted(self._pool, "money"):
            return
        try:
            ack = await self._bank.submit_payment(order.order)
        except BankOutcomeUnknown as error:
            await self._record(fence, order, "unknown", str(error))
            return
        if isinstance(ack, Rejected) and order.state == "sent":
            # The first copy of this order may be alive: only its own status is a refusal.
            await self._record(fence, order, "unknown", f"given again, refused: {ack.reason}")
        elif isinstance(ack, Rejected):
            await self._refused(fence, order, ack.reason)
        else:
            await self._record(fence, order, "accepted", "the bank accepted the order")

    async def _begin(self, fence: Fence, order: _Order) -> bool:
        """Commit the intent to call; answers False where the order may not leave any more."""
        try:
            return await self._record(fence, order, "sent", "about to call the bank")
        except asyncpg.PostgresError as error:
            if error.sqlstate != PAYOUT_REFUSED_SQLSTATE:
                raise
            await self._withdraw(fence, order, str(error))
            return False

    async def _withdraw(self, fence: Fence, order: _Order, why: str) -> None:
        """An order that never left: its attempt is over, and the operation waits for a person."""
        log.error("payout_withdrawn", operation_id=order.operation_id, why=why)
        async with fenced(self._pool, fence) as connection:
            await connection.execute(
                """UPDATE bank.payout_attempt SET state = 'rejected', reason = $2
                   WHERE op_id = $1 AND state = 'prepared'""",
                order.op_id,
                why[:500],
            )
            await connection.execute(
                """UPDATE bridge.operation SET state = 'held', reason = $2
                   WHERE operation_id = $1 AND state = 'payout_prepared'""",
                order.operation_id,
                why[:500],
            )
            await open_break(
                connection,
                Break(
                    "policy", "critical", f"operation:{order.operation_id}", why, order.operation_id
                ),
            )

    async def _ask(self, fence: Fence, order: _Order) -> None:
        try:
            report = await self._bank.payment_status(order.order.end_to_end_id)
        except BankMessageError as error:
            await self._record(fence, order, "unknown", f"the bank's answer is unreadable: {error}")
            return
        await self._judge_report(fence, order, report)

    async def _judge_report(self, fence: Fence, order: _Order, report: PaymentReport) -> None:
        if report.status is PaymentStatus.REJECTED:
            await self._refused(fence, order, report.reason or "no reason given")
        elif report.status in (PaymentStatus.ACCEPTED, PaymentStatus.BOOKED):
            # Booked is believed when the entry arrives: the entry is the money.
            await self._record(fence, order, "accepted", f"the bank says {report.status}")
        elif report.status is PaymentStatus.NOT_FOUND and self._may_give_again(order):
            if await self._record(
                fence, order, "sent", "the bank has not heard of it: giving the same order again"
            ):
                await self._send(fence, replace(order, state="sent"))
        else:
            await self._record(fence, order, "unknown", f"the bank says {report.status}")
            if report.status is PaymentStatus.NOT_FOUND:
                await self._report_lost(fence, order)

    async def _report_lost(self, fence: Fence, order: _Order) -> None:
        """An order that may not be given again and that the bank does not show is for a person to settle."""
        async with fenced(self._pool, fence) as connection:
            await open_break(
                connection,
                Break(
                    "missing_bank",
                    "critical",
                    f"operation:{order.operation_id}",
                    f"the bank does not know payment {order.order.end_to_end_id}, "
                    "which may not be given again: ask the bank, it is never paid afresh by itself",
                    order.operation_id,
                ),
            )

    def _may_give_again(self, order: _Order) -> bool:
        return (
            order.state != "accepted"
            and self._bank.declares.deduplicates_by == "end_to_end_id"
            and order.order.expires_at > datetime.now(UTC)
        )

    async def _refused(self, fence: Fence, order: _Order, reason: str) -> None:
        log.warning("payout_refused", operation_id=order.operation_id, reason=reason)
        await self._record(fence, order, "rejected", reason)

    async def _record(self, fence: Fence, order: _Order, outcome: str, why: str) -> bool:
        """Record what became of the call; answers False if the entry arrived first and settled it."""
        async with fenced(self._pool, fence) as connection:
            state = await connection.fetchval(
                "SELECT state FROM bridge.operation WHERE operation_id = $1 FOR UPDATE",
                order.operation_id,
            )
            if state in ("booked", "burning", "settled", "rejecting", "refunded"):
                return False
            if state == "accepted" and outcome != "rejected":
                outcome = "accepted"  # once accepted, so it stays until it is booked or refused
            await connection.execute(
                """UPDATE bank.payout_attempt SET state = $2, reason = $3
                   WHERE op_id = $1 AND state NOT IN ('rejected', 'booked')""",
                order.op_id,
                outcome,
                why[:500],
            )
            await connection.execute(
                "UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = $1",
                order.operation_id,
                _OPERATION_STATE[outcome],
                why[:500],
            )
            if outcome == "rejected":
                await open_break(
                    connection,
                    Break(
                        "payout_refused",
                        "warning",
                        f"operation:{order.operation_id}",
                        f"the bank refused the payout: {why}; the escrow goes back to the holder",
                        order.operation_id,
                    ),
                )
        return True
