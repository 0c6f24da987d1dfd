"""What every request to a node passes: before it is sent, and once its outcome is known."""

from dataclasses import dataclass
from typing import Literal, Protocol

MAX_BATCH = 100

OutcomeKind = Literal[
    "ok", "refused", "missing", "rate_limited", "unavailable", "malformed", "cancelled"
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one HTTP request went. ``refused`` is a definite answer too: the node works, it said no;
    ``missing``: since it does not offer the method.

    ``requests``: how many calls it held. ``started_s`` is of the clock that the client was given.
    """

    kind: OutcomeKind
    method: str
    requests: int
    started_s: float
    latency_s: float
    size_bytes: int
    reason: str = ""
    retry_after_s: float | None = None


class Gate(Protocol):
    """Every :meth:`enter` that returned is followed by one :meth:`leave`, whatever happens between."""

    @property
    def largest_batch(self) -> int:
        """Most calls that one request may hold now: 1 to ``MAX_BATCH``."""

    async def enter(self, requests: int) -> None:
        """Wait until a request of that many calls may be sent."""

    def leave(self, outcome: Outcome) -> None:
        """Take note of how it went."""


class OpenGate:
    """Lets everything pass."""

    largest_batch = MAX_BATCH

    async def enter(self, requests: int) -> None:
        pass

    def leave(self, outcome: Outcome) -> None:
        pass
