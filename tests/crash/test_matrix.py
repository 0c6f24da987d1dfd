"""Which runs the crash matrix asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from tests.crash.acts import Context
from tests.crash.failpoints import Plan
from tests.crash.matrix import Matrix
from tests.crash.run import Outcome, Run

NONE: Mapping[str, int] = {}


def recorded(
    context: Context, first: Mapping[str, int], began: Mapping[str, int] = NONE
) -> Outcome:
    """A run in which nobody died, and how often it passed which points."""
    return Outcome(
        run=Run(context, None, seed=1, restarts=True),
        deaths=(),
        began=Counter(began),
        first=Counter(first),
        later=Counter(),
        faults=(),
        took_s=1.0,
    )


def of(run: Run, later: Mapping[str, int] = NONE) -> Outcome:
    """A run that died as it was to, and passed these points afterwards."""
    targets = [plan.point for plan in (run.plan, run.then) if plan is not None]
    outcome = recorded(run.context, dict.fromkeys(targets[:1], 1))
    return replace(outcome, run=run, deaths=tuple(targets), later=Counter(later))


def played(matrix: Matrix) -> bool:
    """Whether nothing is left, everything that was taken having been given out before."""
    matrix.at_work = 0
    return matrix.is_done(most_failures=1)


def test_at_first_nobody_dies() -> None:
    matrix = Matrix(seed=1)
    matrix.begin()
    assert [(one.context, one.plan) for one in matrix.runs] == [(each, None) for each in Context]
    while (run := matrix.next()) is not None:
        assert run.restarts
    assert not matrix.is_done(most_failures=1), "what is being played may bring more"


def test_there_is_a_run_for_each_point_of_each_context() -> None:
    matrix = Matrix(seed=1)
    matrix.take(recorded(Context.FIRST, {"a": 1, "b": 2}))
    matrix.take(recorded(Context.REORG, {"a": 1}))
    assert {(one.context, one.plan) for one in matrix.runs} == {
        (Context.FIRST, Plan("a")),
        (Context.FIRST, Plan("b")),
        (Context.REORG, Plan("a", stands=True)),
    }
    assert len({one.seed for one in matrix.runs}) == 3


def test_a_retry_is_died_at_where_a_point_is_passed_again() -> None:
    matrix = Matrix(seed=1)
    matrix.take(recorded(Context.RETRY, {"once": 1, "often": 5}))
    assert {one.plan for one in matrix.runs} == {Plan("once"), Plan("often", at_pass=2)}


def test_what_is_passed_at_the_start_alone_needs_a_start() -> None:
    matrix = Matrix(seed=1)
    matrix.take(recorded(Context.FIRST, {"open": 2, "step": 3}, began={"open": 2, "step": 1}))
    assert {one.plan.point: one.restarts for one in matrix.runs if one.plan} == {
        "open": True,
        "step": False,
    }


def test_what_only_a_recovery_passes_is_died_at_behind_the_same_death() -> None:
    matrix = Matrix(seed=1)
    matrix.take(recorded(Context.FIRST, {"a": 1}))
    run = matrix.runs.pop()
    matrix.take(of(run, later={"a": 1, "ask": 1}))
    [again] = matrix.runs
    assert (again.plan, again.then) == (Plan("a"), Plan("ask"))
    matrix.runs.clear()
    matrix.take(of(again))
    assert played(matrix)
    assert matrix.missed == []


def test_what_was_not_reached_is_tried_once_more_and_then_told() -> None:
    matrix = Matrix(seed=1)
    matrix.take(recorded(Context.RETRY, {"rare": 2}))
    run = matrix.runs.pop()
    matrix.take(replace(of(run), deaths=()))
    assert not played(matrix)
    run = matrix.runs.pop()
    assert run.plan == Plan("rare", at_pass=1)
    matrix.take(replace(of(run), deaths=()))
    assert played(matrix)
    assert matrix.missed == [(Context.RETRY, "rare")]


def test_names_choose_points() -> None:
    matrix = Matrix(seed=1, wanted="node:")
    matrix.take(recorded(Context.FIRST, {"node:send": 1, "bank:balance": 1}))
    assert [one.plan for one in matrix.runs] == [Plan("node:send")]
