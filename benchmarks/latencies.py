"""Latencies and how they are summed up. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not pass, by position and not interpolated.

    Of 120 values, 0.99 is the largest but one. Raises ValueError for no values.
    """
    if not sorted_values:
        raise ValueError("there are no values")
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def median(values: Sequence[float]) -> float:
    """The middle one; of an even number, the mean of the two."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there are no values")
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def summary_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, max and min in milliseconds, rounded to a tenth."""
    ordered = sorted(1000 * latency for latency in latencies_s)
    return {
        "p50_ms": round(percentile(ordered, 0.50), 1),
        "p95_ms": round(percentile(ordered, 0.95), 1),
        "p99_ms": round(percentile(ordered, 0.99), 1),
        "max_ms": round(ordered[-1], 1),
        "min_ms": round(ordered[0], 1),
    }
