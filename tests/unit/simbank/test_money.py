import pytest
from hypothesis import given
from hypothesis import strategies as st

from simbank.money import MAX_MINOR, MoneyError, to_minor, to_text


@given(
    amount_minor=st.integers(min_value=1, max_value=MAX_MINOR),
    exponent=st.integers(min_value=0, max_value=8),
)
def test_an_amount_written_and_read_again_is_the_same(amount_minor: int, exponent: int) -> None:
    assert to_minor(to_text(amount_minor, exponent), exponent) == amount_minor


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.001", "amount_decimals"),
        ("0.00", "amount_out_of_range"),
        ("10000000000000.00", "amount_out_of_range"),
        ("-1", "amount_invalid"),
        ("1e3", "amount_invalid"),
        ("1\n", "amount_invalid"),
        ("", "amount_invalid"),
    ],
)
def test_a_bad_amount_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(MoneyError) as caught:
        to_minor(text, 2)
    assert caught.value.reason == reason


def test_a_negative_balance_is_written_with_its_sign() -> None:
    assert to_text(-5, 2) == "-0.05"
