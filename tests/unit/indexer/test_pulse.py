"""The pace of new heads, and how long their absence is borne."""

from __future__ import annotations

import pytest

from indexer.pulse import Pulse


def beaten(interval_s: float, count: int = 60) -> Pulse:
    pulse = Pulse()
    for number in range(count):
        pulse.beat(number, number * interval_s)
    return pulse


def test_before_any_head_a_slow_chain_is_assumed() -> None:
    pulse = Pulse()
    assert pulse.patience_s == 36.0
    assert pulse.age_s(5.0) is None
    assert pulse.block_time_s is None


@pytest.mark.parametrize(
    ("interval_s", "patience_s"), [(12.0, 36.0), (2.0, 6.0), (0.25, 3.0), (600.0, 90.0)]
)
def test_patience_is_three_block_times_within_bounds(interval_s: float, patience_s: float) -> None:
    assert beaten(interval_s).patience_s == pytest.approx(patience_s)


def test_heads_that_were_skipped_count() -> None:
    pulse = Pulse()
    pulse.beat(10, 0.0)
    pulse.beat(15, 10.0)
    assert pulse.block_time_s == 2.0


def test_a_head_that_is_no_higher_says_nothing_of_the_pace() -> None:
    pulse = beaten(2.0)
    pulse.beat(59, 200.0)
    pulse.beat(50, 300.0)
    assert pulse.block_time_s == pytest.approx(2.0)
    assert pulse.age_s(301.0) == 1.0


def test_one_late_block_moves_the_pace_by_little() -> None:
    pulse = beaten(2.0)
    pulse.beat(60, 59 * 2.0 + 12.0)
    assert pulse.block_time_s == pytest.approx(4.0)
