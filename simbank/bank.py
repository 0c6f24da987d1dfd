"""What the bank decides: taking deposits and orders, booking them, telling about them.

The clock and the random source are arguments, so the same seed and the same calls give the same
bank. HTTP is elsewhere (`api`), and so is sending webhooks (`webhooks`).
"""

import random
from collections.abc import Callable

from simbank.books import Books
from simbank.faults import Fault
from simbank.records import Counterparty, Entry, Order, Payment

BATCH = 100  # payments settled at a stretch
REJECTED_IBAN = "REJECT"  # a creditor whose IBAN starts so is always refused


class OrderConflict(Exception):
    """The end-to-end id was used before, for another order."""


class Bank:
    """`tell(entry, mode)` is called after each booking; mode: normal, twice, never or late."""

    def __init__(
        self,
        books: Books,
        tell: Callable[[Entry, str], None],
        now_s: Callable[[], float],
        chance: random.Random,
        booking_delay_s: float,
    ) -> None:
        self.books = books
        self._tell = tell
        self._now_s = now_s
        self._chance = chance
        self._booking_delay_s = booking_delay_s

    def deposit(
        self, amount_minor: int, reference: str, counterparty: Counterparty, webhook: str
    ) -> Entry:
        """The outside world pays in."""
        entry = self.books.credit(amount_minor, reference, counterparty, self._now_s())
        self._tell(entry, webhook)
        return entry

    def deposit_rubbish(
        self, amount: str, currency: str, reference: str, counterparty: Counterparty, webhook: str
    ) -> Entry:
        """An entry with whatever texts were given; see `Books.credit_rubbish`."""
        entry = self.books.credit_rubbish(amount, currency, reference, counterparty, self._now_s())
        self._tell(entry, webhook)
        return entry

    def order(self, order: Order, fault: Fault | None) -> Payment:
        """Take an order in, or refuse it for good; the same order again changes nothing.

        Gives the payment as it is now. Raises OrderConflict if the id belongs to another order.
        """
        known = self.books.payment(order.end_to_end_id)
        if known is not None:
            if known.order != order:
                raise OrderConflict(order.end_to_end_id)
            return known
        payment = self._judge(order, fault)
        self.books.keep_payment(payment)
        return payment

    def find_payment(self, end_to_end_id: str) -> Payment | None:
        """The payment, unless the bank does not know it or denies it for now."""
        payment = self.books.payment(end_to_end_id)
        if payment is None or payment.visible_at_s > self._now_s():
            return None
        return payment

    def settle_due(self) -> None:
        """Book, or refuse late, every accepted payment whose time has come."""
        now_s = self._now_s()
        for payment in self.books.due_payments(now_s, BATCH):
            reason = payment.late_reason
            if reason is None and payment.order.expires_at_s <= now_s:
                # The customer counts on it: an order not booked by its expiry never will be.
                reason = "expired"
            if reason is not None:
                self.books.refuse_payment(payment, reason)
            else:
                self._tell(self.books.book_payment(payment, now_s), "normal")

    def next_due_in_s(self) -> float | None:
        """Seconds until `settle_due` has something to do; None if nothing is accepted."""
        due_at_s = self.books.next_due_at_s()
        return None if due_at_s is None else max(0.0, due_at_s - self._now_s())

    def _judge(self, order: Order, fault: Fault | None) -> Payment:
        now_s = self._now_s()
        reason = self._refusal(order, fault, now_s)
        if reason is not None:
            return Payment(order, "rejected", reason, None, now_s, now_s)
        kind = None if fault is None else fault.kind
        hidden_s = fault.delay_s if fault is not None and kind == "not_found_then_book" else 0.0
        late_reason = fault.reason if fault is not None and kind == "accept_then_reject" else None
        visible_at_s = now_s + hidden_s
        due_at_s = visible_at_s + self._booking_delay_s * self._chance.uniform(0.5, 1.5)
        return Payment(order, "accepted", None, None, visible_at_s, due_at_s, late_reason)

    def _refusal(self, order: Order, fault: Fault | None, now_s: float) -> str | None:
        if fault is not None and fault.kind == "reject":
            return fault.reason
        if order.expires_at_s <= now_s:
            return "expired"
        if order.creditor.iban.upper().startswith(REJECTED_IBAN):
            return "creditor_account_refused"
        if order.amount_minor > self.books.cut().available_minor:
            return "insufficient_funds"
        return None
