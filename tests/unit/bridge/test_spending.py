"""What gas may cost, and how long the money for it lasts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.fees import FeeOffer
from bridge.spending import (
    DAY_S,
    Allowed,
    Exceeded,
    Runway,
    SpendingCeilings,
    cost_wei,
    is_low,
    judge_spending,
    runway,
)

WEI = st.integers(min_value=0, max_value=10**24)


@pytest.mark.parametrize(
    ("ceilings", "verdict"),
    [
        (SpendingCeilings(None, None), Allowed()),
        (SpendingCeilings(100, 600), Allowed()),
        (SpendingCeilings(99, 600), Exceeded("transaction", 100, 99)),
        (SpendingCeilings(100, 599), Exceeded("day", 600, 599)),
        (SpendingCeilings(99, 599), Exceeded("transaction", 100, 99)),
        (SpendingCeilings(0, None), Exceeded("transaction", 100, 0)),
    ],
)
def test_an_attempt_is_held_against_both_ceilings(
    ceilings: SpendingCeilings, verdict: Allowed | Exceeded
) -> None:
    found = judge_spending(ceilings, cost_wei=100, spent_wei=200, at_stake_wei=300)
    assert found == verdict


def test_an_exceeded_ceiling_is_said() -> None:
    assert str(Exceeded("day", 600, 599)) == "600 wei exceed the day's ceiling of 599 wei"


@given(WEI, st.lists(WEI, max_size=10))
def test_however_much_is_asked_for_a_day_never_costs_more_than_its_ceiling(
    ceiling: int, costs: list[int]
) -> None:
    at_stake = 0
    for cost in costs:
        verdict = judge_spending(
            SpendingCeilings(None, ceiling), cost_wei=cost, spent_wei=0, at_stake_wei=at_stake
        )
        if verdict == Allowed():
            at_stake += cost
        assert at_stake <= ceiling


def test_an_attempt_costs_at_most_its_gas_at_its_highest_price() -> None:
    assert cost_wei(21_000, FeeOffer(30, 2)) == cost_wei(21_000, FeeOffer(30, None)) == 630_000


@pytest.mark.parametrize(
    ("balance", "price", "per_day", "expected"),
    [
        (1_000_000, 10, 4, Runway(100, 25 * DAY_S)),
        (999_999, 10, 4, Runway(99, 99 * DAY_S // 4)),
        (9_999, 10, 4, Runway(0, 0)),
        (0, 10, 4, Runway(0, 0)),
        (-5, 10, 4, Runway(0, 0)),
        (1_000_000, 10, 0, Runway(100, None)),
        (0, 0, 4, Runway(None, None)),
    ],
)
def test_a_balance_lasts_for_so_many_transactions(
    balance: int, price: int, per_day: int, expected: Runway
) -> None:
    found = runway(
        balance_wei=balance,
        gas_price_wei=price,
        gas_per_transaction=1_000,
        transactions_per_day=per_day,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("left", "low"),
    [
        (Runway(100, 3 * DAY_S), False),
        (Runway(99, 3 * DAY_S), True),
        (Runway(100, 3 * DAY_S - 1), True),
        (Runway(100, None), False),
        (Runway(99, None), True),
        (Runway(None, None), False),
    ],
)
def test_the_alarm_is_below_either_threshold(left: Runway, low: bool) -> None:
    assert is_low(left, alarm_below_transactions=100, alarm_below_s=3 * DAY_S) is low
