import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bank.amounts import AmountError
from bridge.bank.connector import Direction, EntryStatus, PaymentOrder, PaymentStatus
from bridge.bank.errors import BankMessageError
from bridge.bank.messages import (
    MAX_WEBHOOK_BYTES,
    decode_balance,
    decode_page,
    decode_payment,
    decode_reason,
    decode_webhook,
)


def entry(sequence: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "entry_key": f"E-{sequence:0>6}",
        "sequence": sequence,
        "direction": "credit",
        "amount": "100.25",
        "currency": "EUR",
        "status": "booked",
        "booked_at": "2026-01-02T03:04:05+01:00",
        "end_to_end_id": None,
        "reference": "LB-1",
        "counterparty": {"name": "Payer", "iban": "DE02120300000000202051"},
    } | changes


def webhook(**changes: Any) -> bytes:
    event = {
        "type": "entry.booked",
        "timestamp": "2026-01-02T03:04:05Z",
        "data": {"account": "RES-1", "entry": entry(**changes)},
    }
    return json.dumps(event).encode()


def page(*entries: dict[str, Any], next_after: int) -> bytes:
    return json.dumps({"entries": entries, "next_after": next_after}).encode()


def test_a_webhook_becomes_an_entry_with_its_time_in_utc() -> None:
    read = decode_webhook(webhook())
    assert read.account_id == "RES-1"
    assert (read.entry_key, read.sequence) == ("E-000001", 1)
    assert (read.direction, read.status) == (Direction.CREDIT, EntryStatus.BOOKED)
    assert read.booked_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert read.amount_minor(2) == 10025
    assert read.counterparty_iban == "DE02120300000000202051"


def test_an_entry_with_a_bad_amount_or_currency_is_read_and_kept() -> None:
    read = decode_webhook(webhook(amount="1e9", currency="euro"))
    assert (read.amount, read.currency) == ("1e9", "euro")
    with pytest.raises(AmountError):
        read.amount_minor(2)


def test_fields_that_we_do_not_know_are_let_pass() -> None:
    assert decode_webhook(webhook(value_date="2026-01-02")).sequence == 1


def test_the_counterparty_stays_out_of_the_representation() -> None:
    assert "DE0212" not in repr(decode_webhook(webhook()))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"sequence": "1"}, r"\$\.data\.entry\.sequence"),
        ({"sequence": 0}, r"\$\.data\.entry\.sequence"),
        ({"sequence": 2**63}, r"\$\.data\.entry\.sequence"),
        ({"amount": 100.25}, r"\$\.data\.entry\.amount"),
        ({"amount": "9" * 65}, r"\$\.data\.entry\.amount"),
        ({"direction": "in"}, r"\$\.data\.entry\.direction"),
        ({"status": None}, r"\$\.data\.entry\.status"),
        ({"booked_at": "2026-01-02T03:04:05"}, r"\$\.data\.entry\.booked_at"),
        ({"entry_key": "has space"}, r"\$\.data\.entry\.entry_key"),
        ({"entry_key": "nul\x00"}, r"\$\.data\.entry\.entry_key"),
        ({"entry_key": "E-1\n"}, r"\$\.data\.entry\.entry_key"),
        ({"reference": "r" * 501}, r"\$\.data\.entry\.reference"),
        ({"counterparty": {"iban": 5}}, r"\$\.data\.entry\.counterparty\.iban"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(BankMessageError, match=f"^{path}: "):
        decode_webhook(webhook(**changes))


@pytest.mark.parametrize(
    "raw", [b"", b"not json", b"[]", b"\xff\xfe", b"[" * 50_000, b'{"type":"\xed\xa0\x80"}']
)
def test_a_body_that_is_not_a_message_is_refused(raw: bytes) -> None:
    with pytest.raises(BankMessageError, match=r"^\$"):
        decode_webhook(raw)


@given(raw=st.binary(max_size=200))
def test_no_bytes_crash_the_edge(raw: bytes) -> None:
    with pytest.raises(BankMessageError):
        decode_webhook(raw)


def test_an_over_long_body_is_refused_unread() -> None:
    with pytest.raises(BankMessageError, match="bytes"):
        decode_webhook(b" " * (MAX_WEBHOOK_BYTES + 1))


def test_another_type_of_event_is_named() -> None:
    raw = webhook().replace(b"entry.booked", b"account.shut")
    with pytest.raises(BankMessageError, match=r"^\$\.type: 'account\.shut'"):
        decode_webhook(raw)


def test_free_text_loses_the_nul_that_the_database_cannot_hold() -> None:
    read = decode_webhook(webhook(reference="a\x00b"))
    assert read.reference == "a\N{REPLACEMENT CHARACTER}b"


def test_one_unreadable_entry_does_not_stop_the_page() -> None:
    raw = page(entry(5), entry(6, amount=7), entry(7), next_after=7)
    read = decode_page(raw, "RES-1", 4)
    assert [good.sequence for good in read.entries] == [5, 7]
    (bad,) = read.refused
    assert bad.sequence == 6
    assert bad.fault.startswith("$.entries[1].amount: ")
    assert json.loads(bad.raw)["amount"] == 7


def test_an_empty_page_leaves_the_cursor_where_it_was() -> None:
    read = decode_page(page(next_after=9), "RES-1", 9)
    assert (read.entries, read.refused, read.next_after) == ((), (), 9)


@pytest.mark.parametrize(
    "raw",
    [
        page(entry(4), next_after=4),
        page(entry(6), entry(5), next_after=6),
        page(entry(5), entry(5), next_after=5),
        page(entry(5), next_after=4),
        page(entry(5), next_after=9),
        page(next_after=3),
        page(next_after=100),
    ],
)
def test_a_page_that_would_lose_or_repeat_entries_is_refused(raw: bytes) -> None:
    with pytest.raises(BankMessageError):
        decode_page(raw, "RES-1", 4)


def test_a_balance_is_exact_and_carries_its_cut() -> None:
    raw = b'{"balance":"-123.4","currency":"EUR","last_sequence":7}'
    read = decode_balance(raw, "EUR", 2)
    assert (read.amount_minor, read.currency, read.last_sequence) == (-12340, "EUR", 7)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"balance":"1.00","currency":"USD","last_sequence":7}',
        b'{"balance":"1.001","currency":"EUR","last_sequence":7}',
        b'{"balance":1.0,"currency":"EUR","last_sequence":7}',
        b'{"balance":"1.00","currency":"EUR"}',
    ],
)
def test_a_balance_that_is_not_ours_or_not_exact_is_refused(raw: bytes) -> None:
    with pytest.raises(BankMessageError):
        decode_balance(raw, "EUR", 2)


def test_a_payment_status_that_we_do_not_know_is_unknown() -> None:
    raw = b'{"status":"pondering","end_to_end_id":"A1"}'
    assert decode_payment(raw, "A1").status is PaymentStatus.UNKNOWN
    raw = b'{"status":"not_found","end_to_end_id":"A1"}'
    assert decode_payment(raw, "A1").status is PaymentStatus.UNKNOWN


def test_an_answer_about_another_payment_is_refused() -> None:
    with pytest.raises(BankMessageError, match=r"\$\.end_to_end_id"):
        decode_payment(b'{"status":"booked","end_to_end_id":"B2"}', "A1")


@pytest.mark.parametrize("raw", [b"", b"<html>", b"{}", b'{"reason":5}', b'{"reason":""}'])
def test_a_problem_without_a_reason_gives_none(raw: bytes) -> None:
    assert decode_reason(raw) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"end_to_end_id": ""},
        {"end_to_end_id": "a/b"},
        {"end_to_end_id": "x" * 36},
        {"amount_minor": 0},
        {"expires_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - without a zone
    ],
)
def test_an_order_that_could_not_be_sent_faithfully_cannot_be_made(
    changes: dict[str, Any],
) -> None:
    values: dict[str, Any] = {
        "end_to_end_id": "A1",
        "account_id": "RES-1",
        "amount_minor": 1,
        "currency": "EUR",
        "exponent": 2,
        "creditor_name": "Payee",
        "creditor_iban": "DE02",
        "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    assert "Payee" not in repr(PaymentOrder(**values))
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own text
        PaymentOrder(**(values | changes))
