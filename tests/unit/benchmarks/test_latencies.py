import pytest

from benchmarks.latencies import median, percentile, summary_ms


def test_a_percentile_is_a_value_by_its_position() -> None:
    values = list(range(1, 121))
    assert percentile(values, 0.5) == 61
    assert percentile(values, 0.99) == 119
    assert percentile(values, 1.0) == 120
    assert percentile([7.0], 0.99) == 7.0


def test_no_values_have_no_percentile_and_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_the_median_is_the_middle_or_the_mean_of_the_two() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5


def test_a_summary_is_in_milliseconds_whatever_the_order() -> None:
    assert summary_ms([0.030, 0.010, 0.02004]) == {
        "p50_ms": 20.0,
        "p95_ms": 30.0,
        "p99_ms": 30.0,
        "max_ms": 30.0,
        "min_ms": 10.0,
    }
