"""Prometheus metrics: gauges made from the status at each scrape, and this process's own counters.

Prometheus counts in floats. Supply and reserve are shown for graphs and alarms, exact up to 2^53 minor
units; whoever needs the amount itself asks ``/status``.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon.health import LoopFacts
from daemon.status import Status

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[Sequence[str], float | None]]


class Metrics:
    """The metrics of one application; its counters begin at zero with the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._refusals = Counter(
            "landbridge_webhook_refusals",
            "Webhooks that were not believed, by reason.",
            ["reason"],
            registry=self._registry,
        )

    def count_refusal(self, reason: str) -> None:
        """Count a webhook that was refused; ``reason`` is one of a few fixed words."""
        self._refusals.labels(reason).inc()

    def render(self, status: Status | None, loops: Sequence[LoopFacts]) -> bytes:
        """The text that Prometheus reads; without a status, what is known without the database."""
        scrape = CollectorRegistry(auto_describe=False)
        scrape.register(_Scrape(status, loops))
        return generate_latest(self._registry) + generate_latest(scrape)


class _Scrape(Collector):
    """The families of one scrape."""

    def __init__(self, status: Status | None, loops: Sequence[LoopFacts]) -> None:
        self._status = status
        self._loops = loops

    def collect(self) -> Iterator[Metric]:
        yield _gauge(
            "landbridge_database_up",
            "1 if the status could be read from the database.",
            [([], float(self._status is not None))],
        )
        yield from _loops(self._loops)
        if self._status is not None:
            yield from _chain(self._status)
            yield from _work(self._status)
            yield from _books(self._status)


def _loops(loops: Sequence[LoopFacts]) -> Iterator[Metric]:
    yield _gauge(
        "landbridge_loop_running",
        "1 while this daemon runs the loop under its role's lease.",
        [([loop.name, loop.role], float(loop.running)) for loop in loops],
        ["loop", "role"],
    )
    yield _gauge(
        "landbridge_loop_last_success_age_seconds",
        "Seconds since the loop's last full step.",
        [([loop.name, loop.role], loop.last_success_age_s) for loop in loops],
        ["loop", "role"],
    )
    yield _gauge(
        "landbridge_loop_failing",
        "1 if the loop's last step failed.",
        [([loop.name, loop.role], float(loop.last_error is not None)) for loop in loops],
        ["loop", "role"],
    )
    restarts = CounterMetricFamily(
        "landbridge_loop_restarts",
        "How often an error restarted the loop.",
        labels=["loop", "role"],
    )
    for loop in loops:
        restarts.add_metric([loop.name, loop.role], loop.restarts)
    yield restarts


def _chain(status: Status) -> Iterator[Metric]:
    chain = status.chain
    for name, text, value in (
        ("head_block", "The newest block stored.", chain.head),
        ("node_head_block", "The newest block that the node reported.", chain.node_head),
        ("finalized_block", "The newest block that can no longer go.", chain.finalized),
        ("lag_blocks", "Blocks between the node's head and the stored one.", chain.lag_blocks),
        ("lag_seconds", "Age of the newest block stored.", chain.lag_s),
        ("reorgs", "Reorgs seen since the first block.", chain.reorgs),
        ("feed_seq", "The last number of the feed.", status.feed.seq),
    ):
        yield _gauge(f"landbridge_chain_{name}", text, [([], value)])
    yield _gauge(
        "landbridge_feed_lag_rows",
        "Rows of the feed that a consumer has not acted on yet.",
        [([name], consumer.lag) for name, consumer in status.feed.consumers.items()],
        ["consumer"],
    )


def _work(status: Status) -> Iterator[Metric]:
    counted = (
        ("issuance", status.operations.issuance),
        ("redemption", status.operations.redemption),
    )
    yield _gauge(
        "landbridge_operations",
        "Operations by kind and state.",
        [([kind, state], number) for kind, states in counted for state, number in states.items()],
        ["kind", "state"],
    )
    oldest = status.oldest_in_flight
    yield _gauge(
        "landbridge_oldest_in_flight_age_seconds",
        "Age of the oldest operation that has not come to an end; 0 if there is none.",
        [([], 0.0 if oldest is None else oldest.age_s)],
    )
    yield _gauge(
        "landbridge_transactions_in_flight",
        "Journalled transactions without a final outcome.",
        [([], status.in_flight_transactions)],
    )
    yield _gauge(
        "landbridge_breaks_open",
        "Open breaks by kind.",
        [([kind], number) for kind, number in status.breaks.open.items()],
        ["kind"],
    )
    yield _gauge(
        "landbridge_breaks_critical",
        "Critical breaks that are open.",
        [([], status.breaks.critical)],
    )
    halts = Tally(halt.scope for halt in status.halts)
    yield _gauge(
        "landbridge_halts",
        "Halts in force, by what they stop.",
        [([scope], halts[scope]) for scope in ("money", "mint")],
        ["scope"],
    )


def _books(status: Status) -> Iterator[Metric]:
    currency = [status.currency]
    yield _gauge(
        "landbridge_supply_minor",
        "Tokens in circulation and in escrow by the ledger, in minor units.",
        [(currency, status.supply)],
        ["currency"],
    )
    yield _gauge(
        "landbridge_reserve_minor",
        "Money at the bank by the ledger, in minor units.",
        [(currency, status.reserve)],
        ["currency"],
    )
    yield _gauge(
        "landbridge_bank_read_through",
        "The bank's sequence up to which every entry has been read.",
        [([], status.bank.read_through)],
    )
    proof = status.proof
    yield _gauge(
        "landbridge_proof_verdict",
        "1 at the verdict of the newest proof.",
        [
            ([verdict], float(proof is not None and proof.verdict == verdict))
            for verdict in ("agree", "stale", "drift")
        ],
        ["verdict"],
    )
    yield _gauge(
        "landbridge_proof_age_seconds",
        "Age of the newest proof.",
        [([], None if proof is None else proof.age_s)],
    )
    yield _gauge(
        "landbridge_proof_block",
        "The finalized block of the newest proof.",
        [([], None if proof is None else proof.block)],
    )


def _gauge(name: str, text: str, samples: Samples, labels: Sequence[str] = ()) -> Metric:
    """A family of gauges; a value that is not known has no sample, rather than a false zero."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family
