"""Which provider is asked: the first in the order that is good enough, without flapping; wide enough for a range."""

from __future__ import annotations

import pytest

from indexer.choice import Candidate, Preference, freest, preferred, span_blocks


@pytest.mark.parametrize(
    ("scores", "index"),
    [
        ([], None),
        ([None, None], None),
        ([0.9, 0.9], 0),
        ([0.6, 1.0], 0),
        ([0.5, 1.0], 0),
        ([0.49, 1.0], 1),
        ([None, 0.3], 1),
        ([None, 0.4, 0.9], 2),
        ([0.0, 0.0], 0),
    ],
)
def test_the_first_that_is_not_far_below_the_best(
    scores: list[float | None], index: int | None
) -> None:
    assert preferred(scores) == index


def test_a_provider_that_fails_is_left_at_once() -> None:
    preference = Preference()
    assert preference.choose([1.0, 1.0], 0.0) == 0
    assert preference.choose([None, 1.0], 0.1) == 1


def test_the_better_one_is_gone_back_to_once_it_has_been_better_for_a_while() -> None:
    preference = Preference()
    preference.choose([None, 1.0], 0.0)
    assert preference.choose([1.0, 1.0], 1.0) == 1
    assert preference.choose([1.0, 1.0], 20.9) == 1
    assert preference.choose([1.0, 1.0], 21.0) == 0
    assert preference.choose([1.0, 1.0], 21.1) == 0


def test_a_relapse_of_the_better_one_starts_the_wait_anew() -> None:
    preference = Preference()
    preference.choose([None, 1.0], 0.0)
    preference.choose([1.0, 1.0], 1.0)
    preference.choose([None, 1.0], 15.0)
    assert preference.choose([1.0, 1.0], 16.0) == 1
    assert preference.choose([1.0, 1.0], 35.0) == 1
    assert preference.choose([1.0, 1.0], 36.0) == 0


def test_a_slow_first_one_is_left_only_when_it_stays_slow() -> None:
    preference = Preference()
    assert preference.choose([1.0, 1.0], 0.0) == 0
    assert preference.choose([0.2, 1.0], 1.0) == 0
    assert preference.choose([1.0, 1.0], 5.0) == 0
    assert preference.choose([0.2, 1.0], 6.0) == 0
    assert preference.choose([0.2, 1.0], 26.0) == 1


def test_when_none_can_be_used_none_is_named_and_the_choice_starts_anew() -> None:
    preference = Preference()
    preference.choose([1.0, None], 0.0)
    assert preference.choose([None, None], 1.0) is None
    assert preference.choose([None, 1.0], 2.0) == 1


@pytest.mark.parametrize(
    ("candidates", "index"),
    [
        ([Candidate(0, 0.5, 1.0), Candidate(1, 0.2, 0.1)], 1),
        ([Candidate(0, 0.5, 0.1), Candidate(1, 0.5, 0.9)], 1),
        ([Candidate(0, 0.5, 0.9), Candidate(1, 0.5, 0.9)], 0),
    ],
)
def test_the_least_busy_takes_the_next_range(candidates: list[Candidate], index: int) -> None:
    assert freest(candidates) == index


@pytest.mark.parametrize(
    ("limits", "blocks"),
    [
        ([], None),
        ([None], None),
        ([None, None], None),
        ([2000], 2000),
        ([2000, 1000], 2000),
        ([2000, 1500], 1500),
        ([2000, None], 2000),
        ([10, 10_000], 10_000),
        ([10, 10_000, 9_000], 9_000),
        ([10, None], None),
        ([500, 500, 1000], 500),
    ],
)
def test_the_span_is_the_width_at_which_most_blocks_are_read_at_a_time(
    limits: list[int | None], blocks: int | None
) -> None:
    assert span_blocks(limits) == blocks
