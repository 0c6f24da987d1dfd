"""The identity B = S − PNB + BNP + FNM + SUS + FEE − DEF, in every state that money passes through."""

from dataclasses import replace

import pytest

from bridge.proof import BankView, Books, ChainView, Verdict, judge

NOTHING = Books(0, 0, 0, 0, 0, 0, 0, 0)

WORKED = {
    "a deposit is booked, its mint is not final": replace(
        NOTHING, reserve=100, funded_not_minted=100
    ),
    "the mint is final": replace(NOTHING, reserve=100, supply=100),
    "40 in escrow, the payout accepted": replace(NOTHING, reserve=100, supply=100),
    "the payout is booked": replace(NOTHING, reserve=60, supply=100, paid_not_burned=40),
    "settled and final": replace(NOTHING, reserve=60, supply=60),
    "that payout returned": replace(NOTHING, reserve=100, supply=60, burned_not_paid=40),
    "the deposit reversed after the mint": replace(NOTHING, reserve=0, supply=100, deficit=100),
    "a deposit with a fee": replace(NOTHING, reserve=100, supply=99, fees=1),
    "nobody's money": replace(NOTHING, reserve=5, suspense=5),
}


def _chain(books: Books) -> ChainView:
    return ChainView(books.supply, books.supply)


def _bank(books: Books) -> BankView:
    return BankView(balance=books.reserve, cut=7, read_through=7, entries_to_cut=books.reserve)


@pytest.mark.parametrize("books", WORKED.values(), ids=WORKED.keys())
def test_each_in_between_state_agrees(books: Books) -> None:
    assert judge(books, _chain(books), _bank(books), books.reserve).verdict is Verdict.AGREE


@pytest.mark.parametrize("books", WORKED.values(), ids=WORKED.keys())
@pytest.mark.parametrize("term", list(Books.__dataclass_fields__))
@pytest.mark.parametrize("drift", [1, -1])
def test_one_minor_unit_in_any_term_is_drift(books: Books, term: str, drift: int) -> None:
    off = replace(books, **{term: getattr(books, term) + drift})
    assert judge(off, _chain(books), _bank(books), books.reserve).verdict is Verdict.DRIFT


@pytest.mark.parametrize("drift", [1, -1])
def test_the_chain_is_asked_twice(drift: int) -> None:
    books = WORKED["the mint is final"]
    supply_off = ChainView(books.supply + drift, books.supply)
    events_off = ChainView(books.supply, books.supply + drift)
    for chain in (supply_off, events_off):
        assert judge(books, chain, _bank(books), books.reserve).verdict is Verdict.DRIFT


def test_a_bank_that_disagrees_at_the_same_cut_is_drift() -> None:
    books = WORKED["the mint is final"]
    bank = replace(_bank(books), balance=101)
    judgement = judge(books, _chain(books), bank, books.reserve)
    assert judgement.verdict is Verdict.DRIFT
    assert "101" in judgement.explanation


def test_entries_that_are_still_on_their_way_are_stale_not_drift() -> None:
    books = WORKED["the mint is final"]
    ahead = BankView(balance=150, cut=8, read_through=7, entries_to_cut=100)
    assert judge(books, _chain(books), ahead, books.reserve).verdict is Verdict.STALE
    assert judge(books, _chain(books), None, books.reserve).verdict is Verdict.STALE
