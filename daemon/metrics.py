"""Prometheus metrics: gauges made from the status at each scrape, and this process's own counters.

Prometheus counts in floats. Supply and reserve are shown for graphs and alarms, exact up to 2^53 minor
units; whoever needs the amount itself asks ``/status``. Each metric is described in ``docs/metrics.md``.
"""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from daemon import index_metrics
from daemon.families import counter, gauge
from daemon.health import LoopFacts
from daemon.status import BridgeStatus, Status

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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
        self._callback_refusals = Counter(
            "landbridge_callback_refusals",
            "Callbacks of custodians that were not believed, by signer.",
            ["signer"],
            registry=self._registry,
        )

        self.cache_outcomes: Mapping[str, int] = {}
        """How asking the cache for the status went; of this process, since its start."""

    def count_refusal(self, reason: str) -> None:
        """Count a webhook that was refused; ``reason`` is one of a few fixed words."""
        self._refusals.labels(reason).inc()

    def count_callback_refusal(self, signer: str) -> None:
        """Count a callback that was refused; ``signer`` is a name of the settings."""
        self._callback_refusals.labels(signer).inc()

    def render(self, status: Status | None, loops: Sequence[LoopFacts]) -> bytes:
        """The text that Prometheus reads; without a status, what is known without the database."""
        scrape = CollectorRegistry(auto_describe=False)
        scrape.register(_Scrape(status, loops, self.cache_outcomes))
        return generate_latest(self._registry) + generate_latest(scrape)


class _Scrape(Collector):
    """The families of one scrape."""

    def __init__(
        self, status: Status | None, loops: Sequence[LoopFacts], cache_outcomes: Mapping[str, int]
    ) -> None:
        self._status = status
        self._loops = loops
        self._cache_outcomes = cache_outcomes

    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "landbridge_database_up",
            "1 if the status could be read from the database.",
            [([], float(self._status is not None))],
        )
        yield counter(
            "landbridge_status_cache",
            "How often the cache of the status was asked, and how that went.",
            [([outcome], number) for outcome, number in self._cache_outcomes.items()],
            ["outcome"],
        )
        yield from _loops(self._loops)
        if self._status is not None:
            yield from index_metrics.collect(self._status.chains)
            yield from _halts(self._status)
            if self._status.bridge is not None:
                yield from _work(self._status.bridge)
                yield from _signers(self._status.bridge)
                yield from _books(self._status.bridge)


def _loops(loops: Sequence[LoopFacts]) -> Iterator[Metric]:
    labels = ["loop", "role"]
    yield gauge(
        "landbridge_loop_running",
        "1 while this daemon runs the loop under its role's lease.",
        [([loop.name, loop.role], float(loop.running)) for loop in loops],
        labels,
    )
    yield gauge(
        "landbridge_loop_last_success_age_seconds",
        "Seconds since the loop's last full step.",
        [([loop.name, loop.role], loop.last_success_age_s) for loop in loops],
        labels,
    )
    yield gauge(
        "landbridge_loop_failing",
        "1 if the loop's last step failed.",
        [([loop.name, loop.role], float(loop.last_error is not None)) for loop in loops],
        labels,
    )
    yield counter(
        "landbridge_loop_restarts",
        "How often an error restarted the loop.",
        [([loop.name, loop.role], loop.restarts) for loop in loops],
        labels,
    )


def _halts(status: Status) -> Iterator[Metric]:
    halts = Tally(halt.scope for halt in status.halts)
    yield gauge(
        "landbridge_halts",
        "Halts in force, by what they stop.",
        [([scope], halts[scope]) for scope in ("money", "mint")],
        ["scope"],
    )


def _work(bridge: BridgeStatus) -> Iterator[Metric]:
    counted = (
        ("issuance", bridge.operations.issuance),
        ("redemption", bridge.operations.redemption),
    )
    yield gauge(
        "landbridge_operations",
        "Operations by kind and state.",
        [([kind, state], number) for kind, states in counted for state, number in states.items()],
        ["kind", "state"],
    )
    oldest = bridge.oldest_in_flight
    yield gauge(
        "landbridge_oldest_in_flight_age_seconds",
        "Age of the oldest operation that has not come to an end; 0 if there is none.",
        [([], 0.0 if oldest is None else oldest.age_s)],
    )
    yield gauge(
        "landbridge_transactions_in_flight",
        "Journalled transactions without a final outcome.",
        [([], bridge.in_flight_transactions)],
    )
    yield gauge(
        "landbridge_breaks_open",
        "Open breaks by kind.",
        [([kind], number) for kind, number in bridge.breaks.open.items()],
        ["kind"],
    )
    yield gauge(
        "landbridge_breaks_critical",
        "Critical breaks that are open.",
        [([], bridge.breaks.critical)],
    )


def _signers(bridge: BridgeStatus) -> Iterator[Metric]:
    yield gauge(
        "landbridge_signer_balance_wei",
        "What a signer has for gas, in wei.",
        [([one.name], one.balance_wei) for one in bridge.signers],
        ["signer"],
    )
    yield gauge(
        "landbridge_signer_transactions_left",
        "For how many transactions a signer's gas money is enough.",
        [([one.name], one.transactions_left) for one in bridge.signers],
        ["signer"],
    )
    yield gauge(
        "landbridge_signer_left_seconds",
        "How long a signer's gas money lasts at the pace of the last day.",
        [([one.name], one.left_s) for one in bridge.signers],
        ["signer"],
    )


def _books(bridge: BridgeStatus) -> Iterator[Metric]:
    currency = [bridge.currency]
    yield gauge(
        "landbridge_supply_minor",
        "Tokens in circulation and in escrow by the ledger, in minor units.",
        [(currency, bridge.supply)],
        ["currency"],
    )
    yield gauge(
        "landbridge_reserve_minor",
        "Money at the bank by the ledger, in minor units.",
        [(currency, bridge.reserve)],
        ["currency"],
    )
    yield gauge(
        "landbridge_bank_read_through",
        "The bank's sequence up to which every entry has been read.",
        [([], bridge.bank.read_through)],
    )
    proof = bridge.proof
    yield gauge(
        "landbridge_proof_verdict",
        "1 at the verdict of the newest proof.",
        [
            ([verdict], float(proof is not None and proof.verdict == verdict))
            for verdict in ("agree", "stale", "drift")
        ],
        ["verdict"],
    )
    yield gauge(
        "landbridge_proof_age_seconds",
        "Age of the newest proof.",
        [([], None if proof is None else proof.age_s)],
    )
    yield gauge(
        "landbridge_proof_block",
        "The finalized block of the newest proof.",
        [([], None if proof is None else proof.block)],
    )
