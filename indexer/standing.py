"""How a provider fares, from the outcomes of its requests. Pure: whoever calls says what time it is.

Latency and failures are averaged, newer outcomes weighing more; the score is made of both. Failures in a row open
a breaker: the provider is left alone for a while that doubles as long as it stays so. After that while one
request is let through as a probe, and its outcome decides. A refusal is an answer: it is no failure. One that
answers, but could not be gone by, is doubted: others are asked before it for a while.
"""

from typing import Final

from indexer.gate import Outcome

WEIGHT: Final = 0.1
# Failures in a row that open the breaker.
TOLERATED_FAILURES: Final = 3
FIRST_REST_S: Final = 1.0
MAX_REST_S: Final = 60.0
# A probe whose outcome was never heard does not keep the provider shut for ever.
PROBE_S: Final = 30.0
# How long others are asked before one that was found wanting.
DOUBT_S: Final = 30.0

# How long these take depends on what is asked more than on who is asked.
HEAVY: Final = frozenset({"eth_getLogs", "eth_getBlockReceipts"})
# No working node refuses these: whoever does has locked us out.
NEVER_REFUSED: Final = frozenset({"eth_blockNumber", "eth_chainId"})
FAILURES: Final = frozenset({"unavailable", "malformed"})
REFUSALS: Final = frozenset({"refused", "missing"})


class Standing:
    """Starts well: nothing is known against a provider that was never asked."""

    def __init__(self) -> None:
        self.latency_s: float | None = None
        self.failure = 0.0
        self.failures = 0
        self.requests_total = 0
        self.bytes_total = 0
        self.last_failure: str | None = None
        self.behind = False
        self._in_row = 0
        self._rest_s = FIRST_REST_S
        self._shut_until_s: float | None = None
        self._probe_until_s = 0.0
        self._doubted_until_s: float | None = None

    @property
    def score(self) -> float:
        """1 for one that answers at once and always, towards 0 for one that is slow or fails."""
        return (1.0 - self.failure) / (1.0 + (self.latency_s or 0.0))

    @property
    def is_shut(self) -> bool:
        """Whether the breaker is open; a probe may be due."""
        return self._shut_until_s is not None

    @property
    def is_healthy(self) -> bool:
        """Not shut, and not behind the others."""
        return not self.is_shut and not self.behind

    def probe_due(self, now_s: float) -> bool:
        """Whether it is shut, its rest is over, and no probe is under way."""
        return (
            self._shut_until_s is not None
            and now_s >= self._shut_until_s
            and now_s >= self._probe_until_s
        )

    def is_doubted(self, now_s: float) -> bool:
        """Whether others are to be asked before it."""
        return self._doubted_until_s is not None and now_s < self._doubted_until_s

    def doubt(self, reason: str, now_s: float) -> None:
        """What it answered, or did not, kept a step from being made; that it answers other questions is no excuse."""
        self.last_failure = reason
        self._doubted_until_s = now_s + DOUBT_S

    def probing(self, now_s: float) -> None:
        """A probe is being sent."""
        self._probe_until_s = now_s + PROBE_S

    def heard(self, outcome: Outcome, now_s: float) -> None:
        """Take note of a request's outcome."""
        self.requests_total += outcome.requests
        self.bytes_total += outcome.size_bytes
        if outcome.kind == "cancelled":
            return
        locked_out = outcome.kind in REFUSALS and outcome.method in NEVER_REFUSED
        if outcome.kind in FAILURES or locked_out:
            self.failed(outcome.reason, now_s, sent_s=outcome.started_s)
            return
        if outcome.kind == "rate_limited":
            # The budget paces it; it is neither slow nor broken.
            self.last_failure = outcome.reason
            return
        self._succeeded(None if outcome.method in HEAVY else outcome.latency_s)

    def failed(self, reason: str, now_s: float, *, sent_s: float | None = None) -> None:
        """Something sent at ``sent_s`` went wrong, or was found to be wrong."""
        self.failures += 1
        self.last_failure = reason
        self.failure += (1.0 - self.failure) * WEIGHT
        self._in_row += 1
        if self._shut_until_s is not None:
            # What was sent before it was shut is of the same crowd.
            if sent_s is None or sent_s >= self._shut_until_s:
                self._rest_s = min(self._rest_s * 2, MAX_REST_S)
                self._shut(now_s)
        elif self._in_row >= TOLERATED_FAILURES:
            self._shut(now_s)

    def _succeeded(self, latency_s: float | None) -> None:
        if latency_s is not None:
            known_s = latency_s if self.latency_s is None else self.latency_s
            self.latency_s = known_s + (latency_s - known_s) * WEIGHT
        self.failure -= self.failure * WEIGHT
        self._in_row = 0
        self._rest_s = FIRST_REST_S
        self._shut_until_s = None
        self._probe_until_s = 0.0

    def _shut(self, now_s: float) -> None:
        self._shut_until_s = now_s + self._rest_s
        self._probe_until_s = 0.0
