import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from simbank.bank import Bank, OrderConflict
from simbank.books import Books, BooksMismatch
from simbank.faults import Fault
from simbank.records import Account, Counterparty, Entry, Order

ACCOUNT = Account("RES-1", "EUR", 2)
PARTY = Counterparty("Somebody", "DE02120300000000202051")


class World:
    """A bank with a clock that the test moves, and what it told."""

    def __init__(self, path: str | None = None) -> None:
        self.now_s = 1_000_000.0
        self.told: list[tuple[Entry, str]] = []
        self.books = Books(path, ACCOUNT)
        self.bank = Bank(
            self.books,
            lambda entry, mode: self.told.append((entry, mode)),
            lambda: self.now_s,
            random.Random(7),  # no secret
            booking_delay_s=1.0,
        )

    def order(self, end_to_end_id: str = "A1", amount_minor: int = 400, iban: str = "DE1") -> Order:
        return Order(end_to_end_id, amount_minor, Counterparty("Payee", iban), 1_000_100.0)

    def funded(self) -> "World":
        self.bank.deposit(1000, "ref", PARTY, "normal")
        return self


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.books.close()


def fault(kind: str, delay_s: float = 0.0) -> Fault:
    return Fault("payments", kind, delay_s, "policy")


def test_a_deposit_is_an_entry_with_the_next_sequence_and_is_told(world: World) -> None:
    first = world.bank.deposit(10025, "one", PARTY, "normal")
    second = world.bank.deposit(1, "two", PARTY, "never")
    assert [(entry.sequence, entry.entry_key) for entry in (first, second)] == [
        (1, "E-000001"),
        (2, "E-000002"),
    ]
    assert first.amount == "100.25"
    assert world.told == [(first, "normal"), (second, "never")]
    assert world.books.entries(0, 10) == [first, second]
    assert world.books.entries(1, 10) == [second]


def test_the_balance_carries_the_last_sequence_that_it_counts(world: World) -> None:
    assert (world.books.cut().balance_minor, world.books.cut().last_sequence) == (0, 0)
    world.funded()
    assert (world.books.cut().balance_minor, world.books.cut().last_sequence) == (1000, 1)


def test_rubbish_is_listed_as_given_and_worth_nothing(world: World) -> None:
    world.funded()
    entry = world.bank.deposit_rubbish("1.2.3", "???", "ref", PARTY, "normal")
    assert world.books.entries(1, 10) == [entry]
    assert (entry.amount, entry.currency) == ("1.2.3", "???")
    assert (world.books.cut().balance_minor, world.books.cut().last_sequence) == (1000, 2)


def test_an_order_is_booked_once_when_its_time_has_come(world: World) -> None:
    world.funded()
    assert world.bank.order(world.order(), None).state == "accepted"
    world.bank.settle_due()
    assert world.books.cut().last_sequence == 1
    world.now_s += 2
    world.bank.settle_due()
    world.bank.settle_due()
    payment = world.bank.find_payment("A1")
    assert payment is not None
    assert (payment.state, payment.entry_key) == ("booked", "E-000002")
    (debit,) = world.books.entries(1, 10)
    assert (debit.direction, debit.amount, debit.end_to_end_id) == ("debit", "4.00", "A1")
    assert world.books.cut().balance_minor == 600
    assert world.told[-1] == (debit, "normal")


def test_the_same_order_again_is_the_same_payment(world: World) -> None:
    world.funded()
    first = world.bank.order(world.order(), None)
    world.now_s += 0.1
    assert world.bank.order(world.order(), None) == first
    assert world.books.counts()["accepted"] == 1


def test_another_order_under_the_same_id_is_a_conflict_and_changes_nothing(world: World) -> None:
    world.funded()
    first = world.bank.order(world.order(), None)
    with pytest.raises(OrderConflict):
        world.bank.order(world.order(amount_minor=401), None)
    assert world.books.payment("A1") == first


@pytest.mark.parametrize(
    ("iban", "amount_minor", "reason"),
    [
        ("REJECT1", 400, "creditor_account_refused"),
        ("DE1", 1001, "insufficient_funds"),
    ],
)
def test_a_refusal_is_definite_and_is_remembered(
    world: World, iban: str, amount_minor: int, reason: str
) -> None:
    world.funded()
    order = world.order(iban=iban, amount_minor=amount_minor)
    assert world.bank.order(order, None).reason == reason
    world.bank.deposit(10_000, "more", PARTY, "normal")
    assert world.bank.order(order, None).reason == reason
    found = world.bank.find_payment("A1")
    assert found is not None
    assert (found.state, found.reason) == ("rejected", reason)


def test_money_promised_to_one_payment_cannot_pay_another(world: World) -> None:
    world.funded()
    world.bank.order(world.order("A1", 600), None)
    assert world.bank.order(world.order("A2", 600), None).reason == "insufficient_funds"


def test_an_order_past_its_expiry_is_refused(world: World) -> None:
    world.funded()
    world.now_s = 1_000_100.0
    assert world.bank.order(world.order(), None).reason == "expired"


def test_an_accepted_order_that_expires_before_it_is_booked_never_is(world: World) -> None:
    world.funded()
    world.bank.order(world.order(), fault("not_found_then_book", delay_s=200))
    world.now_s += 300
    world.bank.settle_due()
    payment = world.bank.find_payment("A1")
    assert payment is not None
    assert (payment.state, payment.reason) == ("rejected", "expired")
    assert world.books.cut().balance_minor == 1000


def test_a_hidden_payment_is_denied_for_a_while_and_then_booked(world: World) -> None:
    world.funded()
    world.bank.order(world.order(), fault("not_found_then_book", delay_s=10))
    world.now_s += 9
    world.bank.settle_due()
    assert world.bank.find_payment("A1") is None
    world.now_s += 3
    world.bank.settle_due()
    payment = world.bank.find_payment("A1")
    assert payment is not None
    assert payment.state == "booked"


def test_an_accepted_order_can_be_refused_later(world: World) -> None:
    world.funded()
    assert world.bank.order(world.order(), fault("accept_then_reject")).state == "accepted"
    world.now_s += 2
    world.bank.settle_due()
    payment = world.bank.find_payment("A1")
    assert payment is not None
    assert (payment.state, payment.reason) == ("rejected", "policy")
    assert world.books.cut().available_minor == 1000


def test_books_on_disk_go_on_where_they_stopped(tmp_path: Path) -> None:
    path = str(tmp_path / "books.db")
    before = World(path).funded()
    before.bank.order(before.order(), None)
    before.books.close()
    after = World(path)
    after.now_s += 2
    after.bank.settle_due()
    assert after.books.cut().balance_minor == 600
    assert [entry.sequence for entry in after.books.entries(0, 10)] == [1, 2]
    after.books.close()


def test_books_of_another_account_are_not_opened(tmp_path: Path) -> None:
    path = str(tmp_path / "books.db")
    Books(path, ACCOUNT).close()
    with pytest.raises(BooksMismatch, match="RES-1"):
        Books(path, Account("RES-2", "EUR", 2))
