"""What the bridge needs of a bank, whatever the bank speaks.

A connector translates; it decides nothing about money. Every method either answers with one of
the values below or raises a `bridge.bank.errors.BankError`; it never guesses an outcome.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from bridge.bank.amounts import parse_amount

# ISO 20022 Max35Text, narrowed to what can stand in a URL path and in every bank's records.
_END_TO_END_ID = re.compile(r"[A-Za-z0-9-]{1,35}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """An order to pay `amount_minor` from our account to a creditor, not after `expires_at`.

    Under one `end_to_end_id` there is only ever one order: the same id always carries the same
    values. Raises ValueError if a value could not be sent faithfully.
    """

    end_to_end_id: str
    account_id: str
    amount_minor: int
    currency: str
    exponent: int
    creditor_name: str = field(repr=False)  # personal data stays out of logs
    creditor_iban: str = field(repr=False)
    expires_at: datetime

    def __post_init__(self) -> None:
        if _END_TO_END_ID.fullmatch(self.end_to_end_id) is None:
            raise ValueError("end_to_end_id is 1 to 35 letters, digits or hyphens")
        if self.amount_minor <= 0:
            raise ValueError(f"a payment is above zero, not {self.amount_minor} minor units")
        if self.expires_at.utcoffset() is None:
            raise ValueError("expires_at needs a time zone")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bank holds the order and will book it, or refuse it later: follow its status."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The bank refused the order for good, with its reason code; no money moves under its id."""

    reason: str


Ack = Accepted | Rejected


class PaymentStatus(StrEnum):
    """Where a payment stands at the bank."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    BOOKED = "booked"
    NOT_FOUND = "not_found"  # final only when `Declares.not_found_final_after_s` have passed
    UNKNOWN = "unknown"  # the bank answered, but not with anything that settles the question


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """The status of a payment; `reason` when rejected, `entry_key` of its debit when booked."""

    status: PaymentStatus
    reason: str | None = None
    entry_key: str | None = None


class Direction(StrEnum):
    """Seen from our account: a credit is money in, a debit is money out."""

    CREDIT = "credit"
    DEBIT = "debit"


class EntryStatus(StrEnum):
    """A pending entry may still vanish; only a booked one is money."""

    PENDING = "pending"
    BOOKED = "booked"


@dataclass(frozen=True, slots=True)
class BankEntry:
    """One line of the account, as the bank told it; `amount` and `currency` are not judged yet.

    They stay text because an entry that carries a bad amount is still evidence and must be kept.
    `entry_key` is the bank's stable name for the entry, the same in every channel; `sequence`
    counts the account's entries from 1 without gaps.
    """

    account_id: str
    entry_key: str
    sequence: int
    direction: Direction
    amount: str
    currency: str
    status: EntryStatus
    booked_at: datetime
    end_to_end_id: str | None
    reference: str
    counterparty_name: str | None = field(repr=False)
    counterparty_iban: str | None = field(repr=False)

    def amount_minor(self, exponent: int) -> int:
        """The amount in minor units; raises `bridge.bank.amounts.AmountError`."""
        return parse_amount(self.amount, exponent)


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that could not be read at all: kept as bytes, so that it does not stop the others.

    `sequence` is None if not even that could be read.
    """

    sequence: int | None
    fault: str
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EntriesPage:
    """Entries after a cursor, in ascending sequence; `next_after` is the cursor to go on from.

    The page was the last one when `next_after` equals the cursor that was asked for. `raw` is the
    page as it was received: what is kept as evidence.
    """

    entries: tuple[BankEntry, ...]
    refused: tuple[RefusedEntry, ...]
    next_after: int
    raw: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """The page's name: the SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Balance:
    """Booked balance in minor units right after the entry `last_sequence` (0: before the first)."""

    amount_minor: int
    currency: str
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Declares:
    """What a bank promises; money decisions rest on it.

    `stable_entry_key` names the field that is the same in every channel; None: such entries are
    never minted automatically. `deduplicates_by` names the field under which a second order is
    the same order; None: an order is never sent twice. `not_found_final_after_s` is how long
    after an order's expiry a `not_found` means that it will never be booked; None: never.
    """

    stable_entry_key: str | None
    deduplicates_by: str | None
    not_found_final_after_s: int | None


class BankConnector(Protocol):
    """One account at one bank. Safe to use from several tasks at once."""

    @property
    def declares(self) -> Declares: ...

    async def submit_payment(self, order: PaymentOrder) -> Ack:
        """Send the order once.

        Raises BankOutcomeUnknown whenever the bank may have accepted it, BankPaymentConflict if
        it holds another order under this id, BankAccessRefused if it does not know us.
        """

    async def payment_status(self, end_to_end_id: str) -> PaymentReport:
        """Ask what became of an order. Raises BankUnavailable or BankAccessRefused."""

    async def entries(self, after_sequence: int) -> EntriesPage:
        """One bounded page. Raises BankUnavailable, BankMessageError or BankAccessRefused."""

    async def balance(self) -> Balance:
        """The balance and its cut. Raises as `entries` does."""

    def verify_webhook(self, headers: Mapping[str, str], raw: bytes) -> str:
        """The message id of an authentic webhook; raises WebhookRefused."""

    def parse_webhook(self, raw: bytes) -> BankEntry:
        """The entry in an authentic webhook's body; raises BankMessageError."""
