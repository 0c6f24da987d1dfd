from daemon.backfill_meter import WINDOW_S, Meter, duration
from tests.unit.daemon.statuses import chain

SOURCE = {
    "name": "coin",
    "version": 1,
    "state": "backfilling",
    "start_block": 100,
    "covered_to": None,
    "percent": 0.0,
    "rows_estimate": 0,
    "published": True,
}


def look(meter: Meter, now_s: float, **changed: object) -> tuple[int, int | None, object, object]:
    source = {**SOURCE, **changed}
    (one,) = meter.look([chain(finalized=1099, sources=[source])], now_s)
    return one.done_blocks, one.total_blocks, one.rows_per_s, one.eta_s


def test_rates_and_the_time_left_are_of_what_was_seen() -> None:
    meter = Meter()
    assert look(meter, 0.0) == (0, 1000, None, None)
    assert look(meter, 10.0, covered_to=299, rows_estimate=5000) == (200, 1000, 500.0, 40.0)


def test_rates_are_of_the_last_seconds_only() -> None:
    meter = Meter()
    look(meter, 0.0)
    look(meter, 100.0, covered_to=199)
    done, _, _, eta_s = look(meter, 100.0 + WINDOW_S, covered_to=399)
    assert (done, eta_s) == (300, 700 / (200 / WINDOW_S))


def test_what_stands_still_or_has_no_start_has_no_end_in_sight() -> None:
    meter = Meter()
    look(meter, 0.0, covered_to=199)
    assert look(meter, 1.0, covered_to=199) == (100, 1000, 0.0, None)
    assert look(Meter(), 0.0, start_block=None) == (0, None, None, None)


def test_what_has_joined_is_done_whatever_its_backfill_covered() -> None:
    assert look(Meter(), 0.0, covered_to=500, state="joined")[:2] == (1000, 1000)


def test_a_contract_that_begins_above_the_final_block_lacks_nothing() -> None:
    assert look(Meter(), 0.0, start_block=2000)[:2] == (0, 0)


def test_only_the_version_that_is_on_its_way_is_waited_for() -> None:
    joined = {**SOURCE, "state": "joined"}
    newer = {**SOURCE, "version": 2, "published": False}
    gone = {**SOURCE, "name": "old", "state": "retired"}
    progress = Meter().look([chain(sources=[joined, newer, gone])], 0.0)
    assert [(one.contract, one.version, one.is_done) for one in progress] == [("coin", 2, False)]


def test_a_version_is_done_once_it_has_joined_and_its_views_are_there() -> None:
    def is_done(**changed: object) -> bool:
        (one,) = Meter().look([chain(sources=[{**SOURCE, **changed}])], 0.0)
        return one.is_done

    assert not is_done()
    assert not is_done(state="joined", published=False)
    assert is_done(state="joined", published=True)


def test_durations_are_read_at_a_glance() -> None:
    assert [duration(one) for one in (None, 0.0, 59.9, 61.0, 3661.0, 90_000.0, 1e12)] == [
        *("?", "0:00:00", "0:00:59", "0:01:01", "1:01:01", "25:00:00", "?")
    ]
