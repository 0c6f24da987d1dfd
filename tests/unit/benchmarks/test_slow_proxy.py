import pytest

from benchmarks.slow_proxy import Limits, Window, is_too_wide


def test_a_window_admits_so_many_calls_in_any_second() -> None:
    window = Window(3)
    assert [window.admits(at, 1) for at in (0.0, 0.5, 0.75, 0.875)] == [True, True, True, False]
    assert window.admits(1.0, 1)
    assert not window.admits(1.25, 1)
    assert window.admits(1.5, 1)


def test_the_calls_of_a_batch_count_one_by_one() -> None:
    window = Window(3)
    assert not window.admits(0.0, 4)
    assert window.admits(0.0, 3)
    assert not window.admits(0.9, 1)
    assert window.admits(1.0, 3)


def test_calls_that_were_refused_do_not_count() -> None:
    window = Window(1)
    assert window.admits(0.0, 1)
    assert not any(window.admits(i / 8, 1) for i in range(1, 8))
    assert window.admits(1.0, 1)


def query(first: str, last: str) -> dict[str, object]:
    return {"method": "eth_getLogs", "params": [{"fromBlock": first, "toBlock": last}]}


@pytest.mark.parametrize(
    ("call", "too_wide"),
    [
        (query("0x0", "0x7cf"), False),
        (query("0x0", "0x7d0"), True),
        (query("0x1f40", "latest"), False),
        (query("0x1", "latest"), True),
        (query("earliest", "0x7cf"), False),
        (query("earliest", "finalized"), True),
        ({"method": "eth_getLogs", "params": [{"blockHash": "0x11"}]}, False),
        ({"method": "eth_getLogs", "params": []}, False),
        ({"method": "eth_getBlockByNumber", "params": ["0x0", False]}, False),
    ],
)
def test_logs_of_more_than_the_allowed_blocks_are_too_wide(
    call: dict[str, object], too_wide: bool
) -> None:
    assert is_too_wide(call, head=9_000, max_blocks=2_000) is too_wide


def test_the_least_time_lets_a_seconds_calls_through_at_once() -> None:
    limits = Limits(latency_s=0.1, calls_per_s=20, max_blocks=2_000)
    assert limits.least_s(20) == pytest.approx(0.1)
    assert limits.least_s(21) == pytest.approx(0.15)
    assert limits.least_s(400) == pytest.approx(19.1)


def test_a_last_range_that_is_not_full_takes_a_call_too() -> None:
    limits = Limits(max_blocks=2_000)
    assert limits.calls_for(400_000) == 200
    assert limits.calls_for(400_001) == 201
