"""What one reading or two say of a range, and how much of it is kept."""

import json

import pytest

from indexer.audit_reading import MAX_ROWS, MAX_TEXT, Outcome, Reading, judge
from indexer.comparison import ColumnDifference, Comparison, RowDifference, RowKey
from indexer.errors import LogsMalformed
from indexer.spans import Span

EQUAL = Comparison(3, 3, 0, 0, 0, ())


def row(number: int, columns: int = 0) -> RowDifference:
    differing = tuple(ColumnDifference(f"c{one}", "1" * 200, "2" * 200) for one in range(columns))
    return RowDifference("different" if columns else "missing", RowKey(number, 0, "0x"), differing)


def missing(*numbers: int) -> Comparison:
    return Comparison(3, 0, len(numbers), 0, 0, tuple(map(row, numbers)))


SAME = Reading("one", "none", {"event.a": EQUAL, "event.b": EQUAL})
OTHER = Reading("two", "full", {"event.a": EQUAL, "event.b": missing(7, 9)})
MUTE = Reading("two", "full", failure=LogsMalformed(reason="so"))
SPOILT = Reading("two", "full", spoilt="two rows of one key")


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (SAME, None, "exact"),
        (OTHER, OTHER, "differs"),
        (OTHER, SAME, "unconfirmed"),
        (OTHER, MUTE, "unanswerable"),
        (OTHER, None, "unanswerable"),
        (MUTE, None, "unanswerable"),
        (SPOILT, SPOILT, "differs"),
        (SPOILT, SAME, "unconfirmed"),
    ],
)
def test_a_difference_counts_only_if_a_second_reading_has_one(
    first: Reading, second: Reading | None, outcome: Outcome
) -> None:
    assert judge(first, second) == outcome


def test_rows_and_differences_are_counted_over_all_tables() -> None:
    assert (OTHER.rows, OTHER.differences) == (6, 2)
    assert (SAME.rows, SAME.differences) == (6, 0)
    assert SPOILT.differences == 1


def test_what_is_read_again_begins_at_the_first_difference() -> None:
    assert OTHER.suspect(Span(0, 100), 10) == Span(7, 16)
    assert OTHER.suspect(Span(0, 9), 10) == Span(7, 9)
    assert SPOILT.suspect(Span(20, 90), 10) == Span(20, 29)


def test_what_is_kept_names_the_tables_that_differ_alone() -> None:
    kept = OTHER.values()
    assert (kept["provider"], kept["verify"]) == ("two", "full")
    assert isinstance(kept["tables"], dict)
    assert list(kept["tables"]) == ["event.b"]
    assert kept["tables"]["event.b"]["shown"][0]["block_number"] == 7


def test_what_is_kept_is_bounded_and_can_be_stored() -> None:
    wide = Comparison(0, 0, 0, 0, 500, tuple(row(number, 60) for number in range(100)))
    reading = Reading("one", "none", {f"event.t{one}": wide for one in range(300)})
    text = json.dumps({"first": reading.values(), "second": reading.values()})
    assert len(text) <= 262_144
    assert text.count('"block_number"') <= 2 * MAX_ROWS
    hostile = Reading("one", "none", failure=LogsMalformed(reason="\x00\ud800" + "x" * 9000))
    said = str(hostile.values()["failure"])
    assert len(said) <= MAX_TEXT
    assert said.isprintable()
