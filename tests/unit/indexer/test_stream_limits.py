"""What of a stream may go: old entries that no consumer group needs, and the rest only when it is too much."""

from __future__ import annotations

import pytest

from indexer.stream.cloud_event import EntryId
from indexer.stream.redis_stream import Group
from indexer.stream.trim import StreamLimits, needed

LIMITS = StreamLimits(max_entries=100, max_unread_entries=1_000, max_bytes=10_000)


@pytest.mark.parametrize(
    ("length", "size_bytes", "expected"),
    [
        (50, 5_000, (100, 1_000)),
        (5_000, 9_999, (100, 1_000)),
        (500, 20_000, (100, 250)),
        (50, 20_000, (25, 25)),
        (2, 50_000, (1, 1)),
    ],
    ids=["short", "long", "large", "few and large", "one is too large"],
)
def test_so_many_entries_may_stay(length: int, size_bytes: int, expected: tuple[int, int]) -> None:
    assert LIMITS.entries(length, size_bytes) == expected


@pytest.mark.parametrize(
    ("length", "added_bytes", "is_due"),
    [(110, 0, False), (111, 0, True), (1, 626, True), (1, 625, False)],
)
def test_a_stream_is_looked_at_when_it_has_grown(
    length: int, added_bytes: int, is_due: bool
) -> None:
    assert LIMITS.is_due(length, added_bytes) is is_due


@pytest.mark.parametrize("limits", [(0, 10, 10), (11, 10, 10), (1, 1, 0)])
def test_limits_that_keep_nothing_are_refused(limits: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        StreamLimits(*limits)


def test_the_slowest_group_says_what_is_needed() -> None:
    fast = Group("fast", EntryId(9, 0), 0, None)
    waiting = Group("waiting", EntryId(9, 0), 2, EntryId(4, 1))
    slow = Group("slow", EntryId(5, 0), 0, None)
    assert needed([]) is None
    assert needed([fast]) == (9, 0)
    assert needed([fast, slow]) == (5, 0)
    assert needed([fast, slow, waiting]) == (4, 1)
