"""The edge: bytes from the bank become values, or an error that starts with the field's path.

Types are strict and every text is bounded. Fields that we do not know are let pass, because a bank
may add some without asking us. One unreadable entry in a page is set aside (`RefusedEntry`) and
the rest of the page is kept.
"""

from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from bridge.bank.amounts import AmountError, parse_balance
from bridge.bank.connector import (
    Balance,
    BankEntry,
    Direction,
    EntriesPage,
    EntryStatus,
    PaymentReport,
    PaymentStatus,
    RefusedEntry,
)
from bridge.bank.errors import BankMessageError

MAX_WEBHOOK_BYTES = 64 * 1024
MAX_PAGE_BYTES = 2 * 1024 * 1024
MAX_PAGE_ENTRIES = 1000
ENTRY_BOOKED = "entry.booked"

_T = TypeVar("_T")

# Identities become keys and parts of URLs: printable ASCII without spaces.
_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]
_EndToEndId = Annotated[str, msgspec.Meta(min_length=1, max_length=35, pattern=r"^[!-~]+\Z")]
_Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Cursor = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_AmountText = Annotated[str, msgspec.Meta(max_length=64)]
_CurrencyText = Annotated[str, msgspec.Meta(max_length=16)]
_Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class _Counterparty(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=140)] | None = None
    iban: Annotated[str, msgspec.Meta(max_length=34)] | None = None


class _Entry(msgspec.Struct, frozen=True):
    entry_key: _Key
    sequence: _Sequence
    direction: Direction
    amount: _AmountText
    currency: _CurrencyText
    status: EntryStatus
    booked_at: _Timestamp
    reference: Annotated[str, msgspec.Meta(max_length=500)] = ""
    end_to_end_id: _EndToEndId | None = None
    counterparty: _Counterparty = _Counterparty()


class _EventData(msgspec.Struct, frozen=True):
    account: _Key
    entry: _Entry


class _Event(msgspec.Struct, frozen=True):
    type: Annotated[str, msgspec.Meta(max_length=64)]
    timestamp: _Timestamp
    data: _EventData


class _EventType(msgspec.Struct, frozen=True):
    type: Annotated[str, msgspec.Meta(max_length=64)]


class _Page(msgspec.Struct, frozen=True):
    entries: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)]
    next_after: _Cursor


class _JustSequence(msgspec.Struct, frozen=True):
    sequence: _Sequence


class _Balance(msgspec.Struct, frozen=True):
    balance: _AmountText
    currency: _CurrencyText
    last_sequence: _Cursor


class _Payment(msgspec.Struct, frozen=True):
    status: Annotated[str, msgspec.Meta(max_length=64)]
    end_to_end_id: _EndToEndId
    reason: _Reason | None = None
    entry_key: _Key | None = None


class _Problem(msgspec.Struct, frozen=True):
    reason: _Reason


def decode_webhook(raw: bytes) -> BankEntry:
    """The entry that an `entry.booked` event carries; raises BankMessageError."""
    _check_size(raw, MAX_WEBHOOK_BYTES)
    event_type = _decode(raw, _EventType).type
    if event_type != ENTRY_BOOKED:
        raise BankMessageError(f"$.type: {event_type!r} is not {ENTRY_BOOKED!r}")
    event = _decode(raw, _Event)
    return _entry(event.data.account, event.data.entry)


def decode_page(raw: bytes, account_id: str, after_sequence: int) -> EntriesPage:
    """A page of the entries of `account_id` after a cursor; raises BankMessageError.

    Entries must ascend from the cursor, and the cursor must not step back or past what was sent:
    either would lose entries without a trace.
    """
    _check_size(raw, MAX_PAGE_BYTES)
    page = _decode(raw, _Page)
    entries: list[BankEntry] = []
    refused: list[RefusedEntry] = []
    for index, item in enumerate(page.entries):
        try:
            entries.append(_entry(account_id, _decode(bytes(item), _Entry)))
        except BankMessageError as error:
            fault = str(error).replace("$", f"$.entries[{index}]", 1)
            refused.append(RefusedEntry(_sequence_of(bytes(item)), fault, bytes(item)))
    _check_order(entries, after_sequence)
    _check_cursor(page, entries, refused, after_sequence)
    return EntriesPage(tuple(entries), tuple(refused), page.next_after, raw)


def decode_balance(raw: bytes, currency: str, exponent: int) -> Balance:
    """The balance, which must be in `currency`; raises BankMessageError."""
    _check_size(raw, MAX_WEBHOOK_BYTES)
    message = _decode(raw, _Balance)
    if message.currency != currency:
        raise BankMessageError(f"$.currency: {message.currency!r} is not the account's {currency}")
    try:
        amount_minor = parse_balance(message.balance, exponent)
    except AmountError as error:
        raise BankMessageError(f"$.balance: {error}") from error
    return Balance(amount_minor, currency, message.last_sequence)


def decode_payment(raw: bytes, end_to_end_id: str) -> PaymentReport:
    """The state of our payment; a status that we do not know is UNKNOWN, never a guess.

    Raises BankMessageError, also when the answer is about another payment.
    """
    _check_size(raw, MAX_WEBHOOK_BYTES)
    message = _decode(raw, _Payment)
    if message.end_to_end_id != end_to_end_id:
        raise BankMessageError(f"$.end_to_end_id: {message.end_to_end_id!r} was not asked for")
    known = (PaymentStatus.ACCEPTED, PaymentStatus.REJECTED, PaymentStatus.BOOKED)
    status = message.status
    if status not in known:
        return PaymentReport(PaymentStatus.UNKNOWN, reason=message.reason)
    return PaymentReport(PaymentStatus(status), message.reason, message.entry_key)


def decode_reason(raw: bytes) -> str | None:
    """The `reason` of a problem+json body, or None: then the refusal may not be the bank's own."""
    try:
        _check_size(raw, MAX_WEBHOOK_BYTES)
        return _decode(raw, _Problem).reason
    except BankMessageError:
        return None


def _decode(raw: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `")
        raise BankMessageError(f"{path.rstrip('`') or '$'}: {detail}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BankMessageError(f"$: not JSON: {error}") from error


def _booked_at(entry: _Entry) -> datetime:
    try:
        return entry.booked_at.astimezone(UTC)
    except OverflowError as error:
        raise BankMessageError("$.booked_at: no date that a bank books on") from error


def _entry(account_id: str, entry: _Entry) -> BankEntry:
    return BankEntry(
        account_id=account_id,
        entry_key=entry.entry_key,
        sequence=entry.sequence,
        direction=entry.direction,
        amount=_storable(entry.amount),
        currency=_storable(entry.currency),
        status=entry.status,
        booked_at=_booked_at(entry),
        end_to_end_id=entry.end_to_end_id,
        reference=_storable(entry.reference),
        counterparty_name=_storable_or_none(entry.counterparty.name),
        counterparty_iban=_storable_or_none(entry.counterparty.iban),
    )


def _storable(text: str) -> str:
    """Free text without NUL, which Postgres cannot hold; the raw bytes are kept beside it."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else _storable(text)


def _sequence_of(raw: bytes) -> int | None:
    try:
        return _decode(raw, _JustSequence).sequence
    except BankMessageError:
        return None


def _check_size(raw: bytes, limit_bytes: int) -> None:
    if len(raw) > limit_bytes:
        raise BankMessageError(f"$: {len(raw)} bytes; at most {limit_bytes} are read")


def _check_order(entries: list[BankEntry], after_sequence: int) -> None:
    previous = after_sequence
    for entry in entries:
        if entry.sequence <= previous:
            raise BankMessageError(
                f"$.entries: sequence {entry.sequence} follows {previous}; it must ascend"
            )
        previous = entry.sequence


def _check_cursor(
    page: _Page, entries: list[BankEntry], refused: list[RefusedEntry], after_sequence: int
) -> None:
    highest = max(
        [after_sequence]
        + [entry.sequence for entry in entries]
        + [entry.sequence for entry in refused if entry.sequence is not None]
    )
    unreadable = sum(entry.sequence is None for entry in refused)
    if not highest <= page.next_after <= highest + unreadable:
        raise BankMessageError(
            f"$.next_after: {page.next_after} does not fit the highest sequence sent, {highest}"
        )
