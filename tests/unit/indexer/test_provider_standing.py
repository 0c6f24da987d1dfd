"""A provider's standing: what its outcomes make of its score, and when it is left alone."""

from __future__ import annotations

import pytest

from indexer.gate import Outcome, OutcomeKind
from indexer.provider import ProviderSettings
from indexer.standing import DOUBT_S, MAX_REST_S, PROBE_S, Standing


def outcome(
    kind: OutcomeKind,
    started_s: float = 0.0,
    latency_s: float = 0.1,
    method: str = "eth_getBlockByNumber",
) -> Outcome:
    return Outcome(kind, method, 2, started_s, latency_s, 100, reason=f"it was {kind}")


def shut_at(now_s: float) -> Standing:
    standing = Standing()
    for _ in range(3):
        standing.heard(outcome("unavailable", now_s - 1), now_s)
    return standing


def test_nothing_is_known_against_one_that_was_never_asked() -> None:
    standing = Standing()
    assert standing.is_healthy
    assert standing.score == 1.0
    assert standing.latency_s is None


def test_answers_are_counted_and_their_latency_averaged() -> None:
    standing = Standing()
    standing.heard(outcome("ok", latency_s=1.0), 1.0)
    assert standing.latency_s == 1.0
    standing.heard(outcome("ok", latency_s=2.0), 2.0)
    assert standing.latency_s == pytest.approx(1.1)
    assert standing.score == pytest.approx(1 / 2.1)
    assert (standing.requests_total, standing.bytes_total) == (4, 200)


def test_how_long_a_search_for_logs_takes_says_nothing_of_the_provider() -> None:
    standing = Standing()
    standing.heard(outcome("ok", latency_s=9.0, method="eth_getLogs"), 1.0)
    assert standing.latency_s is None


def test_failures_lower_the_score_and_answers_raise_it_again() -> None:
    standing = Standing()
    standing.heard(outcome("unavailable"), 1.0)
    standing.heard(outcome("malformed"), 2.0)
    worse = standing.score
    assert worse < 0.85
    assert standing.failures == 2
    assert standing.last_failure == "it was malformed"
    for _ in range(50):
        standing.heard(outcome("ok", latency_s=0.0), 3.0)
    assert standing.score > 0.99


@pytest.mark.parametrize("kind", ["refused", "missing", "rate_limited", "cancelled", "ok"])
def test_what_is_no_failure_never_shuts_it(kind: OutcomeKind) -> None:
    standing = Standing()
    for _ in range(20):
        standing.heard(outcome(kind), 1.0)
    assert standing.is_healthy
    assert standing.failures == 0


@pytest.mark.parametrize("kind", ["refused", "missing"])
def test_one_that_refuses_what_no_node_refuses_has_locked_us_out(kind: OutcomeKind) -> None:
    standing = Standing()
    for _ in range(3):
        standing.heard(outcome(kind, method="eth_blockNumber"), 1.0)
    assert standing.is_shut


def test_three_failures_in_a_row_shut_it_and_an_answer_between_them_does_not() -> None:
    standing = Standing()
    for kind in ("unavailable", "unavailable", "ok", "unavailable", "malformed"):
        standing.heard(outcome(kind), 10.0)
    assert not standing.is_shut
    standing.heard(outcome("unavailable"), 10.0)
    assert standing.is_shut
    assert not standing.is_healthy


def test_after_its_rest_one_probe_is_due_and_no_second_one() -> None:
    standing = shut_at(10.0)
    assert not standing.probe_due(10.9)
    assert standing.probe_due(11.0)
    standing.probing(11.0)
    assert not standing.probe_due(11.5)
    assert standing.probe_due(11.0 + PROBE_S), "a probe that was lost"


def test_a_probe_that_fails_doubles_the_rest_and_one_that_succeeds_ends_it() -> None:
    standing, now_s, rests = shut_at(10.0), 10.0, []
    for _ in range(9):
        rest_s = next(s for s in range(1, 100) if standing.probe_due(now_s + s))
        rests.append(rest_s)
        now_s += rest_s
        standing.probing(now_s)
        standing.heard(outcome("unavailable", started_s=now_s), now_s)
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert max(rests) == MAX_REST_S
    standing.heard(outcome("ok", started_s=now_s + 60), now_s + 60)
    assert standing.is_healthy
    again = standing
    for _ in range(3):
        again.heard(outcome("unavailable", started_s=now_s + 70), now_s + 70)
    assert again.probe_due(now_s + 71)


def test_what_was_sent_before_it_was_shut_does_not_lengthen_its_rest() -> None:
    standing = shut_at(10.0)
    for late in range(20):
        standing.heard(outcome("unavailable", started_s=9.9), 10.0 + late / 100)
    assert standing.probe_due(11.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("concurrency", 0), ("requests_per_s", 0.0), ("max_blocks", 0), ("timeout_s", 0.0)],
)
def test_settings_that_allow_nothing_are_refused(field: str, value: float) -> None:
    values: dict[str, object] = {"name": "a", "operator": "a", "http_url": "http://a", field: value}
    with pytest.raises(ValueError, match=field):
        ProviderSettings(**values)  # type: ignore[arg-type]


def test_settings_do_not_show_their_urls() -> None:
    settings = ProviderSettings("a", "b", "http://host/secret", "ws://host/secret")
    assert "secret" not in repr(settings)


def test_one_that_was_found_wanting_is_doubted_for_a_while_though_it_answers() -> None:
    standing = Standing()
    assert not standing.is_doubted(0.0)
    standing.doubt("its logs are lost", 10.0)
    standing.heard(outcome("ok"), 11.0)
    assert standing.is_doubted(10.0 + DOUBT_S - 1)
    assert standing.is_healthy, "it is neither shut nor behind"
    assert standing.last_failure == "its logs are lost"
    assert not standing.is_doubted(10.0 + DOUBT_S)
