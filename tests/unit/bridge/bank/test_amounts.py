from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bank.amounts import (
    MAX_EXPONENT,
    AmountError,
    AmountFault,
    format_minor,
    parse_amount,
    parse_balance,
)

exponents = st.integers(min_value=0, max_value=MAX_EXPONENT)
minors = st.integers(min_value=1, max_value=10**18 - 1)


@pytest.mark.parametrize(
    ("text", "exponent", "amount_minor"),
    [
        ("100.25", 2, 10025),
        ("100.2", 2, 10020),
        ("100", 2, 10000),
        ("0.01", 2, 1),
        ("100", 0, 100),
        ("1.234", 3, 1234),
        ("9999999999999999.99", 2, 10**18 - 1),
    ],
)
def test_a_plain_decimal_becomes_its_minor_units(
    text: str, exponent: int, amount_minor: int
) -> None:
    assert parse_amount(text, exponent) == amount_minor


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("100.255", AmountFault.TOO_MANY_DECIMALS),
        ("100.250", AmountFault.TOO_MANY_DECIMALS),
        ("0", AmountFault.ZERO),
        ("0.00", AmountFault.ZERO),
        ("-0.00", AmountFault.NEGATIVE),
        ("-5.00", AmountFault.NEGATIVE),
        ("1e3", AmountFault.EXPONENT_NOTATION),
        ("1.5E-2", AmountFault.EXPONENT_NOTATION),
        ("", AmountFault.NOT_NUMERIC),
        ("ten", AmountFault.NOT_NUMERIC),
        ("+5", AmountFault.NOT_NUMERIC),
        (" 5", AmountFault.NOT_NUMERIC),
        ("5\n", AmountFault.NOT_NUMERIC),
        ("1,000.00", AmountFault.NOT_NUMERIC),
        ("1_000", AmountFault.NOT_NUMERIC),
        ("007", AmountFault.NOT_NUMERIC),
        (".5", AmountFault.NOT_NUMERIC),
        ("5.", AmountFault.NOT_NUMERIC),
        ("NaN", AmountFault.NOT_NUMERIC),
        ("Infinity", AmountFault.NOT_NUMERIC),
        ("٣", AmountFault.NOT_NUMERIC),
        ("10000000000000000.00", AmountFault.OVER_LONG),
        ("9" * 5000, AmountFault.OVER_LONG),
    ],
)
def test_anything_else_is_refused_with_its_fault(text: str, fault: AmountFault) -> None:
    with pytest.raises(AmountError) as caught:
        parse_amount(text, 2)
    assert caught.value.fault is fault
    assert len(str(caught.value)) < 200


@given(amount_minor=minors, exponent=exponents)
def test_an_amount_written_and_read_again_is_the_same(amount_minor: int, exponent: int) -> None:
    assert parse_amount(format_minor(amount_minor, exponent), exponent) == amount_minor


@given(amount_minor=st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1), exponent=exponents)
def test_a_balance_may_have_any_sign_and_is_exact(amount_minor: int, exponent: int) -> None:
    text = format_minor(amount_minor, exponent)
    assert parse_balance(text, exponent) == amount_minor
    assert Decimal(text) == Decimal(amount_minor).scaleb(-exponent)


@given(text=st.text(max_size=40), exponent=exponents)
def test_whatever_is_accepted_equals_the_decimal_it_was_written_as(
    text: str, exponent: int
) -> None:
    try:
        amount_minor = parse_amount(text, exponent)
    except AmountError:
        return
    assert Decimal(text) == Decimal(amount_minor).scaleb(-exponent)
    assert amount_minor > 0


def test_an_impossible_exponent_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="exponent"):
        parse_amount("1", -1)
