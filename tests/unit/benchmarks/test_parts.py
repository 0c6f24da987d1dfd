"""The other pure parts: comparing rows, reading /proc, results of peers and entries of streams."""

import json

import pytest

from benchmarks.__main__ import BENCHMARKS, arguments
from benchmarks.chain import Shape
from benchmarks.meter import TICKS_PER_S, cpu_s_of_stat
from benchmarks.peers import is_sound, results_of
from benchmarks.redis_latency import block_of
from benchmarks.result import NAMES
from benchmarks.rows import Difference, Row, difference, row_of_log
from benchmarks.stored import ROWS_PER_BLOCK, blocks_for

ROW: Row = (1, b"\x01" * 32, 0, b"\x02" * 20, b"\x03" * 20, 5)
OTHER: Row = (1, b"\x01" * 32, 1, b"\x02" * 20, b"\x03" * 20, 5)


def test_the_same_rows_in_any_order_are_exact() -> None:
    assert difference([OTHER, ROW], [ROW, OTHER]) == Difference(0, 0, 2)
    assert difference([ROW], [ROW]).exact


def test_a_row_stored_twice_is_one_too_many() -> None:
    found = difference([ROW, ROW], [ROW])
    assert found == Difference(1, 0, 1)
    assert not found.exact


def test_a_changed_row_is_too_many_and_missing() -> None:
    assert difference([OTHER], [ROW]) == Difference(1, 1, 1)


def test_differences_add_up() -> None:
    assert Difference(1, 2, 3) + Difference(10, 20, 30) == Difference(11, 22, 33)


def test_a_log_becomes_a_row() -> None:
    log = {
        "blockNumber": "0x1",
        "blockHash": "0x" + "01" * 32,
        "logIndex": "0x0",
        "topics": ["0x", "0x" + "0" * 24 + "02" * 20, "0x" + "0" * 24 + "03" * 20],
        "data": "0x5",
    }
    assert row_of_log(log) == ROW


def test_cpu_time_is_read_behind_a_name_with_spaces_and_parentheses() -> None:
    fields = ["S", *map(str, range(4, 14)), "250", "150", "0", "0"]
    assert cpu_s_of_stat(f"42 (a (b) c) {' '.join(fields)}\n") == 400 / TICKS_PER_S


def test_a_shape_counts_its_events() -> None:
    shape = Shape(blocks=2_000, calls=4, events_per_call=25)
    assert shape.events_per_block == 100
    assert shape.events == 200_000


def test_blocks_for_stored_rows_leave_the_deployment_out() -> None:
    assert blocks_for(10 * ROWS_PER_BLOCK) == 11
    assert blocks_for(10 * ROWS_PER_BLOCK + 1) == 12


class TestPeers:
    def test_results_are_found_among_what_the_harness_prints(self) -> None:
        lines = [
            "12:00:00 chain generated {not json}",
            '12:00:01 {"test": "w1", "peer": "sqd", "wall_s": 2}',
            '12:00:02 {"limit": "fetch"}',
            '12:00:03 {"test": "w1", "peer": "sqd", "wall_s": 3}',
            "",
        ]
        assert results_of(lines) == {"sqd": {"test": "w1", "peer": "sqd", "wall_s": 3}}

    @pytest.mark.parametrize(
        ("result", "sound"),
        [
            ({"test": "w1", "wall_s": 8.2, "exact": True}, True),
            ({"test": "w1", "wall_s": 8.2, "exact": False}, False),
            ({"test": "w1", "wall_s": None}, False),
            ({"test": "w2", "p50_ms": 14}, True),
            ({"test": "w2", "error": "did not catch up"}, False),
            (None, False),
        ],
    )
    def test_a_peer_that_did_not_get_there_is_no_comparison(
        self, result: dict[str, object] | None, sound: bool
    ) -> None:
        assert is_sound(result) is sound


class TestStreamEntries:
    def test_a_block_that_was_applied_tells_its_number(self) -> None:
        assert block_of({"event": json.dumps({"data": {"op": "apply", "from_block": 7}})}) == 7

    @pytest.mark.parametrize("op", ["finalize", "retract"])
    def test_what_comes_of_a_block_later_is_not_its_arrival(self, op: str) -> None:
        assert block_of({"event": json.dumps({"data": {"op": op, "from_block": 7}})}) is None


class TestArguments:
    def test_every_name_is_measured_by_something(self) -> None:
        assert tuple(BENCHMARKS) == NAMES

    def test_no_name_is_all_of_them(self) -> None:
        assert arguments([]).names == []

    def test_an_unknown_name_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            arguments(["head_latancy"])
        assert "unknown: head_latancy" in capsys.readouterr().err
