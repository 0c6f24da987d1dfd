from benchmarks.report import report, shown, table

BACKFILL = {
    "bench": "backfill",
    "value": 2.0,
    "unit": "s",
    "against": "sqd",
    "against_value": 8.25,
    "ratio": 0.242,
    "wanted": "<= 0.4",
    "met": True,
    "versions": {"landbridge": "0.1.0", "sqd": "1.27"},
    "events": 200_000,
    "runs_s": [2.0, 2.1],
    "against_runs_s": [],
    "against_cpu_s": None,
}


def test_a_measurement_is_a_line_of_the_table() -> None:
    text = report([BACKFILL])
    assert "| `backfill` | 2.0 s | sqd | 8.25 | 0.242 | <= 0.4 | yes |" in text
    assert "- `backfill`: events 200,000; runs_s 2.0, 2.1\n" in text
    assert "Versions: landbridge 0.1.0, sqd 1.27." in text


def test_the_last_of_a_repeated_measurement_counts() -> None:
    text = report([BACKFILL, {**BACKFILL, "value": 3.0}])
    assert "3.0 s" in text
    assert "2.0 s" not in text
    assert text.count("| `backfill` |") == 1


def test_one_that_could_not_be_made_stays_in_the_table() -> None:
    failed = {"bench": "slow_provider", "value": None, "unit": "", "error": "it did not start"}
    text = report([failed])
    assert "| `slow_provider` | not made |" in text
    assert "error it did not start" in text


def test_measurements_come_in_their_own_order() -> None:
    head = {**BACKFILL, "bench": "head_latency"}
    text = report([head, BACKFILL])
    assert text.index("`backfill`") < text.index("`head_latency`")


def test_every_line_of_a_table_has_as_many_cells() -> None:
    lines = table(["a", "b"], [["1|2", "3"]]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", "| 1\\|2 | 3 |"]


def test_values_are_shown_as_a_reader_wants_them() -> None:
    assert shown(None) == "–"
    assert shown(False) == "no"
    assert shown(1_234_567) == "1,234,567"
    assert shown({"5 blocks": [0.1, 0.2]}) == "5 blocks 0.1, 0.2"
