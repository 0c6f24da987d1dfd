"""Pacing: no second sees more than the rate, first come is first served, a refusal is heeded."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from indexer.budget import Budget
from indexer.gate import MAX_BATCH, Outcome, OutcomeKind
from indexer.pace import (
    CONFIGURED_COOL_DOWN_S,
    FIRST_COOL_DOWN_S,
    LONGEST_WINDOW_S,
    MOST_LATE_S,
    STRETCH_S,
    WINDOW_S,
    Pace,
    Window,
)


class Time:
    """A clock that moves when somebody sleeps, and at once."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


def outcome(
    kind: OutcomeKind, started_s: float, retry_after_s: float | None = None, calls: int = 1
) -> Outcome:
    return Outcome(kind, "eth_call", calls, started_s, 0.01, 10, retry_after_s=retry_after_s)


async def sent_at(budget: Budget, time: Time, count: int, calls: int = 1) -> list[float]:
    """When each of so many requests was let through, one after the other."""
    times = []
    for _ in range(count):
        await budget.enter(calls)
        times.append(time.now_s)
        budget.leave(outcome("ok", time.now_s, calls=calls))
    return times


def most_in_a_second(times: list[float], calls: int = 1) -> int:
    return max(sum(calls for at in times if start <= at < start + 1.0) for start in times)


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 10.0, 40.0])
async def test_no_second_sees_more_than_the_rate_and_nearly_all_of_it_is_used(rate: float) -> None:
    time = Time()
    budget = Budget(rate, 8, clock=time, sleep=time.sleep)
    times = await sent_at(budget, time, 200)
    assert most_in_a_second(times) <= max(1, rate)
    assert times[-1] - times[0] == pytest.approx(200 / rate, rel=0.25 if rate > 10 else 0.06)


async def test_a_batch_counts_as_its_calls() -> None:
    time = Time()
    budget = Budget(50.0, 8, clock=time, sleep=time.sleep)
    assert budget.largest_batch == 10
    times = await sent_at(budget, time, 40, calls=10)
    assert most_in_a_second(times, calls=10) == 50


def test_what_was_sent_counts_until_its_second_is_over() -> None:
    window = Window(10.0)
    window.take(4, 100.0)
    window.take(6, 100.5)
    assert window.wait_s(1, 100.5) == pytest.approx(WINDOW_S - 0.5)
    assert window.wait_s(5, 100.5) == pytest.approx(WINDOW_S)
    assert window.wait_s(4, 101.02) == 0.0


def test_more_than_a_second_admits_waits_for_an_empty_window() -> None:
    window = Window(2.0)
    assert window.wait_s(9, 0.0) == 0.0
    window.take(9, 0.0)
    assert window.wait_s(1, 0.0) == pytest.approx(WINDOW_S)


def test_what_may_have_arrived_late_is_counted_from_then() -> None:
    window = Window(2.0)
    window.take(1, 0.0)
    window.answered(0.0, 0.1)
    window.take(1, 0.2)
    window.answered(0.2, 0.3 + 0.015)
    assert window.wait_s(2, 0.9) == pytest.approx(0.2 + 0.015 + WINDOW_S - 0.9)
    assert window.wait_s(1, 0.9) == pytest.approx(WINDOW_S - 0.9)


def test_what_was_slow_to_be_answered_costs_next_to_nothing() -> None:
    window = Window(2.0)
    window.answered(0.0, 0.1)
    window.take(2, 1.0)
    window.answered(1.0, 9.0)
    assert window.wait_s(1, 1.5) == pytest.approx(WINDOW_S + MOST_LATE_S - 0.5)


async def test_without_a_rate_nobody_waits() -> None:
    time = Time()
    budget = Budget(None, 8, clock=time, sleep=time.sleep)
    assert await sent_at(budget, time, 100) == [1000.0] * 100
    assert time.slept_s == []
    assert budget.largest_batch == MAX_BATCH
    assert budget.rate_per_s is None


async def test_no_more_are_under_way_than_allowed_and_the_line_is_kept() -> None:
    budget = Budget(None, 2)
    entered: list[int] = []

    async def request(number: int) -> None:
        await budget.enter(1)
        entered.append(number)

    tasks = []
    for number in range(5):
        tasks.append(asyncio.create_task(request(number)))
        await asyncio.sleep(0)
    assert entered == [0, 1]
    assert budget.load == 2.5
    for known in range(3, 6):
        budget.leave(outcome("ok", 0.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert entered == list(range(known))
    for _ in range(2):
        budget.leave(outcome("ok", 0.0))
    await asyncio.gather(*tasks)
    assert budget.load == 0.0


async def test_who_gives_up_waiting_leaves_the_place_to_others() -> None:
    budget = Budget(None, 1)
    await budget.enter(1)
    waiting = asyncio.create_task(budget.enter(1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert budget.load == 1.0
    budget.leave(outcome("ok", 0.0))
    async with asyncio.timeout(1.0):
        await budget.enter(1)


async def test_who_gives_up_while_pacing_leaves_the_place_and_the_line() -> None:
    budget = Budget(2.0, 1)
    for _ in range(2):
        await budget.enter(1)
        budget.leave(outcome("ok", 0.0))
    waiting = asyncio.create_task(budget.enter(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert budget.load == 0.0
    async with asyncio.timeout(3.0):
        await budget.enter(1)


async def test_a_large_batch_is_not_overtaken_by_small_ones() -> None:
    budget = Budget(50.0, 8)
    await budget.enter(10)
    order: list[int] = []

    async def request(calls: int) -> None:
        await budget.enter(calls)
        order.append(calls)

    async with asyncio.timeout(2.0):
        await asyncio.gather(*(request(calls) for calls in (8, 1, 2, 3)))
    assert order == [8, 1, 2, 3]


async def test_retry_after_is_waited_for() -> None:
    time = Time()
    budget = Budget(100.0, 8, clock=time, sleep=time.sleep)
    await budget.enter(1)
    budget.leave(outcome("rate_limited", time.now_s, retry_after_s=7.0))
    assert budget.cooling_s == 7.0
    await budget.enter(1)
    assert time.now_s == pytest.approx(1007.0)
    assert budget.cooling_s == 0.0


@pytest.mark.parametrize(
    ("rate", "first_s"), [(None, FIRST_COOL_DOWN_S), (1000.0, CONFIGURED_COOL_DOWN_S)]
)
async def test_without_advice_the_pause_doubles_until_an_answer_comes(
    rate: float | None, first_s: float
) -> None:
    time = Time()
    budget = Budget(rate, 8, clock=time, sleep=time.sleep)
    pauses = []
    for _ in range(10):
        await budget.enter(1)
        budget.leave(outcome("rate_limited", time.now_s))
        pauses.append(budget.cooling_s)
        time.now_s += budget.cooling_s
    assert pauses == pytest.approx([min(60.0, first_s * 2**times) for times in range(10)])
    await budget.enter(1)
    budget.leave(outcome("ok", time.now_s))
    await budget.enter(1)
    budget.leave(outcome("rate_limited", time.now_s))
    assert budget.cooling_s == pytest.approx(first_s)


def test_a_crowd_that_is_refused_together_is_one_refusal() -> None:
    pace = Pace(None, 0.0)
    for _ in range(40):
        pace.take(1, 10.0)
    for late in range(40):
        pace.limited(10.0, 10.5 + late / 100, None)
    assert pace.rate_per_s == pytest.approx(10.0)
    assert pace.cooling_s(10.5) == pytest.approx(1.0)


def test_an_old_answer_does_not_end_the_pause_that_doubles() -> None:
    pace = Pace(None, 0.0)
    pace.limited(9.0, 10.0, None)
    pace.answered(9.5, 10.1)
    pace.limited(11.0, 11.1, None)
    assert pace.cooling_s(11.1) == pytest.approx(2.0)


def test_a_refusal_teaches_half_the_rate_that_was_sent() -> None:
    pace = Pace(None, 0.0)
    for index in range(100):
        pace.take(1, 8.0 + index * 0.02)
    pace.limited(9.98, 10.0, 0.0)
    assert pace.rate_per_s == pytest.approx(25.0, rel=0.03)
    assert pace.largest_batch == 5


def test_a_learnt_rate_creeps_up_and_is_cut_again() -> None:
    pace, now_s = Pace(None, 0.0), 10.0
    for _ in range(80):
        pace.take(1, now_s)
    pace.limited(now_s, now_s, 0.0)
    assert pace.rate_per_s == pytest.approx(20.0)
    for _ in range(300):
        now_s += 0.1
        pace.take(1, now_s)
        pace.answered(now_s, now_s)
    raised = pace.rate_per_s
    assert raised is not None
    assert 30.0 < raised < 40.0
    for _ in range(20):
        pace.take(2, now_s)
    pace.limited(now_s, now_s, 0.0)
    assert pace.rate_per_s == pytest.approx(min(raised, 30.0) / 2, rel=0.05)


def test_silence_does_not_raise_the_rate() -> None:
    pace = Pace(None, 0.0)
    for _ in range(80):
        pace.take(1, 10.0)
    pace.limited(10.0, 10.0, 0.0)
    pace.answered(5000.0, 5000.0)
    assert pace.rate_per_s == pytest.approx(20.0, rel=0.05)


def test_a_refusal_after_long_silence_still_leaves_a_call_a_second() -> None:
    pace = Pace(None, 0.0)
    pace.take(1, 1000.0)
    pace.limited(1000.0, 1000.1, 0.0)
    assert pace.rate_per_s == 1.0


def test_a_configured_rate_is_not_changed_by_a_refusal() -> None:
    pace = Pace(10.0, 0.0)
    pace.limited(1.0, 1.0, 2.0)
    assert pace.rate_per_s == 10.0
    assert pace.cooling_s(1.0) == 2.0
    pace.answered(5.0, 5.0)
    assert pace.rate_per_s == 10.0


def test_where_the_rate_is_known_a_refusal_makes_the_second_longer_up_to_a_tenth() -> None:
    pace = Pace(10.0, 0.0)
    pace.take(10, 100.0)
    assert pace.wait_s(1, 100.0) == pytest.approx(WINDOW_S)
    pace.limited(0.0, 100.0, 0.0)
    assert pace.wait_s(1, 100.0) == pytest.approx(WINDOW_S + STRETCH_S)
    for _ in range(40):
        pace.limited(200.0, 200.0, 0.0)
    pace.take(10, 300.0)
    assert pace.wait_s(1, 300.0) == pytest.approx(LONGEST_WINDOW_S)


async def test_an_unconfigured_provider_that_refuses_settles_near_its_limit() -> None:
    """Against a provider that allows 20 calls in each second and refuses the rest."""
    time = Time()
    budget = Budget(None, 4, clock=time, sleep=time.sleep)
    allowed = refused = 0
    seen: list[float] = []
    for _ in itertools.count():
        await budget.enter(1)
        seen = [at for at in seen if at > time.now_s - 1.0]
        if len(seen) >= 20:
            refused += 1
            kind: OutcomeKind = "rate_limited"
        else:
            allowed += 1
            seen.append(time.now_s)
            kind = "ok"
        budget.leave(outcome(kind, time.now_s))
        time.now_s += 0.002
        if time.now_s > 1300.0:
            break
    assert refused < 15
    assert allowed / 300 > 13.0


@pytest.mark.parametrize(("rate", "concurrency"), [(0.0, 1), (-1.0, 1), (None, 0)])
def test_a_budget_of_nothing_is_refused(rate: float | None, concurrency: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Budget(rate, concurrency)
