"""What the bank keeps: an account, its entries, the payments ordered from it."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the bank's customer. `exponent`: decimals of its currency."""

    account_id: str
    currency: str
    exponent: int


@dataclass(frozen=True, slots=True)
class Counterparty:
    """The other side of an entry or the creditor of a payment."""

    name: str
    iban: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an account; it never changes.

    `amount` and `currency` are what every channel shows. A rubbish entry (a raw deposit) shows
    what it was given, lies in the bank's own suspense, and counts for nothing in the balance.
    """

    sequence: int
    entry_key: str
    direction: str
    amount: str
    currency: str
    booked_at_s: float
    end_to_end_id: str | None
    reference: str
    counterparty: Counterparty

    def as_json(self) -> dict[str, object]:
        """The entry as REST and webhooks carry it."""
        return {
            "entry_key": self.entry_key,
            "sequence": self.sequence,
            "direction": self.direction,
            "amount": self.amount,
            "currency": self.currency,
            "status": "booked",
            "booked_at": timestamp(self.booked_at_s),
            "end_to_end_id": self.end_to_end_id,
            "reference": self.reference,
            "counterparty": {"name": self.counterparty.name, "iban": self.counterparty.iban},
        }


@dataclass(frozen=True, slots=True)
class Order:
    """A payment as the customer ordered it; equal orders are the same order."""

    end_to_end_id: str
    amount_minor: int
    creditor: Counterparty
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class Payment:
    """An order and what became of it: accepted, rejected (with `reason`) or booked.

    Until `visible_at_s` the bank denies knowing it. An accepted one is settled at `due_at_s`:
    booked, or refused if a `late_reason` is given.
    """

    order: Order
    state: str
    reason: str | None
    entry_key: str | None
    visible_at_s: float
    due_at_s: float
    late_reason: str | None = None

    def as_json(self) -> dict[str, object]:
        """The payment as REST carries it."""
        return {
            "end_to_end_id": self.order.end_to_end_id,
            "status": self.state,
            "reason": self.reason,
            "entry_key": self.entry_key,
        }


def timestamp(at_s: float) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
