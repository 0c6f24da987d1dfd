"""What every bank connector must do, whatever it speaks."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from bridge.bank.connector import (
    Accepted,
    BankEntry,
    Direction,
    PaymentReport,
    PaymentStatus,
    Rejected,
)
from bridge.bank.errors import (
    BankAccessRefused,
    BankOutcomeUnknown,
    BankPaymentConflict,
    BankUnavailable,
    WebhookSignatureWrong,
    WebhookStale,
)
from bridge.bank.rest import RestBank
from bridge.errors import Fatal, Retryable
from tests.conformance.bank.conftest import LIVE_SECRET, OTHER_SECRET, BankUnderTest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def all_entries(bank: BankUnderTest, after: int = 0) -> list[BankEntry]:
    """Every entry after a cursor, page by page."""
    entries: list[BankEntry] = []
    while True:
        page = await bank.connector.entries(after)
        assert page.refused == ()
        entries += page.entries
        if page.next_after == after:
            return entries
        after = page.next_after


async def settled(bank: BankUnderTest, end_to_end_id: str) -> PaymentReport:
    """The report once the payment is booked or rejected."""
    async with asyncio.timeout(10):
        while True:
            report = await bank.connector.payment_status(end_to_end_id)
            if report.status in (PaymentStatus.BOOKED, PaymentStatus.REJECTED):
                return report
            await asyncio.sleep(0.05)


def paid(entries: Sequence[BankEntry], end_to_end_id: str) -> list[BankEntry]:
    return [entry for entry in entries if entry.end_to_end_id == end_to_end_id]


async def test_an_order_is_accepted_then_booked_as_one_debit_of_its_amount(
    bank: BankUnderTest,
) -> None:
    order = bank.order(amount_minor=1234)
    assert await bank.connector.submit_payment(order) == Accepted()
    report = await settled(bank, order.end_to_end_id)
    assert report.status is PaymentStatus.BOOKED
    (debit,) = paid(await all_entries(bank), order.end_to_end_id)
    assert debit.entry_key == report.entry_key
    assert debit.direction is Direction.DEBIT
    assert debit.amount_minor(2) == 1234
    assert debit.counterparty_iban == order.creditor_iban


async def test_the_same_order_sent_many_times_at_once_is_one_payment(bank: BankUnderTest) -> None:
    order = bank.order()
    acks = await asyncio.gather(*(bank.connector.submit_payment(order) for _ in range(8)))
    assert acks == [Accepted()] * 8
    await settled(bank, order.end_to_end_id)
    assert await bank.connector.submit_payment(order) == Accepted()
    await asyncio.sleep(0.3)
    assert len(paid(await all_entries(bank), order.end_to_end_id)) == 1


async def test_another_order_under_a_used_id_is_a_conflict_never_a_refusal(
    bank: BankUnderTest,
) -> None:
    order = bank.order()
    await bank.connector.submit_payment(order)
    for other in (replace(order, amount_minor=999), replace(order, currency="USD")):
        with pytest.raises(BankPaymentConflict) as caught:
            await bank.connector.submit_payment(other)
        assert isinstance(caught.value, Fatal)
    await settled(bank, order.end_to_end_id)
    (debit,) = paid(await all_entries(bank), order.end_to_end_id)
    assert debit.amount_minor(2) == order.amount_minor


async def test_a_definite_refusal_carries_its_reason_and_stays(bank: BankUnderTest) -> None:
    order = bank.order(creditor_iban="REJECT00")
    expected = Rejected("creditor_account_refused")
    assert await bank.connector.submit_payment(order) == expected
    assert await bank.connector.submit_payment(order) == expected
    report = await bank.connector.payment_status(order.end_to_end_id)
    assert report == PaymentReport(PaymentStatus.REJECTED, "creditor_account_refused")


async def test_an_order_in_another_currency_is_refused(bank: BankUnderTest) -> None:
    ack = await bank.connector.submit_payment(bank.order(currency="USD"))
    assert ack == Rejected("currency_refused")


async def test_an_order_past_its_expiry_is_refused(bank: BankUnderTest) -> None:
    order = bank.order(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await bank.connector.submit_payment(order) == Rejected("expired")


async def test_an_order_can_be_refused_after_it_was_accepted(bank: BankUnderTest) -> None:
    await bank.control.fault("payments", "accept_then_reject")
    order = bank.order()
    assert await bank.connector.submit_payment(order) == Accepted()
    report = await settled(bank, order.end_to_end_id)
    assert report == PaymentReport(PaymentStatus.REJECTED, "refused_by_policy")


async def test_an_id_that_was_never_sent_is_not_found(bank: BankUnderTest) -> None:
    report = await bank.connector.payment_status("NEVERSENT")
    assert report == PaymentReport(PaymentStatus.NOT_FOUND)


@pytest.mark.parametrize("kind", ["error_500", "hang"])
async def test_trouble_before_acceptance_is_unknown_and_a_retry_pays_once(
    bank: BankUnderTest, kind: str
) -> None:
    await bank.control.fault("payments", kind)
    order = bank.order()
    with pytest.raises(BankOutcomeUnknown) as caught:
        await bank.connector.submit_payment(order)
    assert isinstance(caught.value, Retryable)
    report = await bank.connector.payment_status(order.end_to_end_id)
    assert report.status is PaymentStatus.NOT_FOUND
    assert await bank.connector.submit_payment(order) == Accepted()
    await settled(bank, order.end_to_end_id)
    assert len(paid(await all_entries(bank), order.end_to_end_id)) == 1


@pytest.mark.parametrize(
    ("kind", "delay_s"),
    [("accept_then_timeout", 5.0), ("accept_then_timeout", 0.0), ("accept_then_500", 0.0)],
)
async def test_an_accepted_order_without_an_answer_is_unknown_and_found_by_its_id(
    bank: BankUnderTest, kind: str, delay_s: float
) -> None:
    await bank.control.fault("payments", kind, delay_s=delay_s)
    order = bank.order()
    with pytest.raises(BankOutcomeUnknown):
        await bank.connector.submit_payment(order)
    report = await bank.connector.payment_status(order.end_to_end_id)
    assert report.status in (PaymentStatus.ACCEPTED, PaymentStatus.BOOKED)
    assert await bank.connector.submit_payment(order) == Accepted()
    await settled(bank, order.end_to_end_id)
    assert len(paid(await all_entries(bank), order.end_to_end_id)) == 1


async def test_a_bank_that_denies_an_order_for_a_while_still_books_it(bank: BankUnderTest) -> None:
    await bank.control.fault("payments", "not_found_then_book", delay_s=0.7)
    order = bank.order()
    with pytest.raises(BankOutcomeUnknown):
        await bank.connector.submit_payment(order)
    report = await bank.connector.payment_status(order.end_to_end_id)
    assert report.status is PaymentStatus.NOT_FOUND
    assert (await settled(bank, order.end_to_end_id)).status is PaymentStatus.BOOKED
    assert len(paid(await all_entries(bank), order.end_to_end_id)) == 1


@pytest.mark.parametrize("kind", ["error_500", "hang"])
async def test_a_read_that_fails_says_so_and_the_next_one_works(
    bank: BankUnderTest, kind: str
) -> None:
    for operation in ("payment_status", "entries", "balance"):
        await bank.control.fault(operation, kind)
    for read in (
        lambda: bank.connector.payment_status("NEVERSENT"),
        lambda: bank.connector.entries(0),
        lambda: bank.connector.balance(),
    ):
        with pytest.raises(BankUnavailable) as caught:
            await read()
        assert isinstance(caught.value, Retryable)
        await read()


async def test_paging_gives_every_entry_once_in_order(bank: BankUnderTest) -> None:
    before = (await bank.connector.balance()).last_sequence
    keys = [await bank.control.deposit("1.00", webhook="never") for _ in range(8)]
    entries = await all_entries(bank, before)
    assert [entry.entry_key for entry in entries] == keys
    everything = await all_entries(bank)
    assert [entry.sequence for entry in everything] == list(range(1, len(everything) + 1))


async def test_the_balance_is_the_sum_of_the_entries_up_to_its_cut(bank: BankUnderTest) -> None:
    await bank.connector.submit_payment(bank.order())
    await bank.control.deposit("0.01")
    balance = await bank.connector.balance()
    entries = await all_entries(bank)
    counted = [entry for entry in entries if entry.sequence <= balance.last_sequence]
    assert balance.last_sequence == counted[-1].sequence
    assert balance.currency == "EUR"
    assert balance.amount_minor == sum(
        entry.amount_minor(2) * (1 if entry.direction is Direction.CREDIT else -1)
        for entry in counted
    )


@pytest.mark.parametrize(
    "secrets", [(LIVE_SECRET, OTHER_SECRET), (OTHER_SECRET, LIVE_SECRET), (LIVE_SECRET,)]
)
async def test_a_webhook_verifies_with_either_live_secret(
    bank: BankUnderTest, secrets: tuple[str, ...]
) -> None:
    entry_key = await bank.control.deposit("2.50")
    headers, raw = await bank.control.webhook_about(entry_key)
    settings = replace(bank.settings, webhook_secrets=tuple(map(SecretStr, secrets)))
    assert RestBank(settings).verify_webhook(headers, raw)


async def test_a_webhook_that_is_forged_changed_or_old_is_refused(bank: BankUnderTest) -> None:
    entry_key = await bank.control.deposit("2.50")
    headers, raw = await bank.control.webhook_about(entry_key)
    with pytest.raises(WebhookSignatureWrong):
        bank.connector.verify_webhook(headers, raw.replace(b"2.50", b"9.50"))
    stranger = replace(bank.settings, webhook_secrets=(SecretStr(OTHER_SECRET),))
    with pytest.raises(WebhookSignatureWrong):
        RestBank(stranger).verify_webhook(headers, raw)
    at_s = int(dict(headers).get("webhook-timestamp") or headers["Webhook-Timestamp"])
    with pytest.raises(WebhookStale):
        RestBank(bank.settings, now_s=lambda: at_s + 301.0).verify_webhook(headers, raw)


async def test_webhook_and_poll_tell_the_same_entry(bank: BankUnderTest) -> None:
    before = (await bank.connector.balance()).last_sequence
    entry_key = await bank.control.deposit("2.50")
    _, raw = await bank.control.webhook_about(entry_key)
    (polled,) = await all_entries(bank, before)
    assert bank.connector.parse_webhook(raw) == polled
    assert bank.connector.declares.stable_entry_key == "entry_key"


async def test_a_key_that_the_bank_does_not_know_is_fatal(bank: BankUnderTest) -> None:
    settings = replace(bank.settings, api_key=SecretStr("wrong"))
    async with RestBank(settings) as stranger:
        with pytest.raises(BankAccessRefused) as caught:
            await stranger.balance()
        with pytest.raises(BankAccessRefused):
            await stranger.submit_payment(bank.order())
    assert isinstance(caught.value, Fatal)
    assert "wrong" not in str(caught.value) + repr(settings)
