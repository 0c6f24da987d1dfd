import json

import pytest

from benchmarks.errors import ResultMalformedError
from benchmarks.result import Result, Wanted, parse_lines, ratio


def test_a_line_says_what_was_measured_against_what() -> None:
    result = Result(
        "backfill", 2.0, "s", "sqd", 8.0, Wanted("<=", 0.4), {"sqd": "1.27"}, {"exact": True}
    )
    assert json.loads(result.line()) == {
        "bench": "backfill",
        "value": 2.0,
        "unit": "s",
        "against": "sqd",
        "against_value": 8.0,
        "ratio": 0.25,
        "versions": {"sqd": "1.27"},
        "wanted": "<= 0.4",
        "met": True,
        "exact": True,
    }
    assert "\n" not in result.line()


def test_without_a_peer_nothing_is_met_and_nothing_missed() -> None:
    line = json.loads(Result("backfill", 2.0, "s", wanted=Wanted("<=", 0.4)).line())
    assert line["ratio"] is None
    assert line["met"] is None


@pytest.mark.parametrize(
    ("relation", "wanted", "found", "met"),
    [("<=", 0.4, 0.4, True), ("<=", 0.4, 0.401, False), (">=", 3, 3, True), (">=", 3, 2.9, False)],
)
def test_what_is_wanted_includes_its_bound(
    relation: str, wanted: float, found: float, met: bool
) -> None:
    assert Wanted("<=" if relation == "<=" else ">=", wanted).met(found) is met


def test_nothing_is_divided_by_nothing() -> None:
    assert ratio(1.0, None) is None
    assert ratio(None, 1.0) is None
    assert ratio(1.0, 0.0) is None


def test_lines_are_read_back_and_blank_ones_passed_over() -> None:
    line = Result("backfill", 2.0, "s").line()
    assert [result["value"] for result in parse_lines([line, "", line])] == [2.0, 2.0]


@pytest.mark.parametrize("line", ["not json", "[]", '{"bench": "nonsense"}'])
def test_a_line_that_no_measurement_printed_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(ResultMalformedError, match="Line 2 "):
        parse_lines(["", line])
