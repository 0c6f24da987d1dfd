"""Gaps in a sequence, against the plain definition."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.bank.sequences import gaps


@given(st.integers(0, 20), st.sets(st.integers(-5, 60)), st.integers(0, 50))
def test_gaps_are_exactly_what_was_not_seen(after: int, seen: set[int], through: int) -> None:
    found = gaps(after, seen, through)
    missing = [n for first, last in found for n in range(first, last + 1)]
    assert missing == [n for n in range(after + 1, through + 1) if n not in seen]


def test_a_jump_of_any_size_is_one_gap() -> None:
    assert gaps(0, [1, 2**62], 2**62) == [(2, 2**62 - 1)]
