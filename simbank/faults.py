"""Faults that a test asks for: each is taken by the next `count` uses of its operation, in order.

Kinds of `payments`: `error_500` and `hang` take nothing in; `accept_then_timeout` and
`accept_then_500` take the order in but do not say so; `not_found_then_book` takes it in, breaks
the connection, and denies knowing it for `delay_s` before it is booked; `reject` refuses with
`reason`; `accept_then_reject` accepts, and refuses where it would have been booked.
Kinds of `webhook`: `drop`, `twice`, `shuffle` (a seeded extra delay of up to `delay_s` each).
"""

from collections import deque
from dataclasses import dataclass

MAX_PLANNED = 1000
MAX_COUNT = 100_000
MAX_DELAY_S = 600.0

_TROUBLE = frozenset({"error_500", "hang"})
KINDS: dict[str, frozenset[str]] = {
    "payments": _TROUBLE
    | {
        "accept_then_timeout",
        "accept_then_500",
        "not_found_then_book",
        "reject",
        "accept_then_reject",
    },
    "payment_status": _TROUBLE,
    "entries": _TROUBLE,
    "balance": _TROUBLE,
    "webhook": frozenset({"drop", "twice", "shuffle"}),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong once. `delay_s` is how long it hangs, hides or shuffles."""

    operation: str
    kind: str
    delay_s: float
    reason: str


class FaultRefused(Exception):
    """A fault that the simulator cannot play; the text says which ones it can."""


class FaultPlan:
    """The faults still to come."""

    def __init__(self) -> None:
        self._planned: dict[str, deque[tuple[Fault, int]]] = {name: deque() for name in KINDS}

    def add(self, fault: Fault, count: int) -> None:
        """Plan `fault` for `count` uses of its operation; raises FaultRefused."""
        kinds = KINDS.get(fault.operation)
        if kinds is None:
            raise FaultRefused(f"operation is one of {', '.join(sorted(KINDS))}")
        if fault.kind not in kinds:
            raise FaultRefused(f"kind of {fault.operation} is one of {', '.join(sorted(kinds))}")
        if len(self._planned[fault.operation]) >= MAX_PLANNED:
            raise FaultRefused(f"{MAX_PLANNED} faults are planned already; clear them first")
        self._planned[fault.operation].append((fault, count))

    def take(self, operation: str) -> Fault | None:
        """The fault of this use of `operation`, if one is planned."""
        planned = self._planned[operation]
        if not planned:
            return None
        fault, count = planned.popleft()
        if count > 1:
            planned.appendleft((fault, count - 1))
        return fault

    def clear(self) -> None:
        """Nothing goes wrong from here on."""
        for planned in self._planned.values():
            planned.clear()

    def remaining(self) -> dict[str, int]:
        """Faults still to come, by operation."""
        return {name: sum(count for _, count in planned) for name, planned in self._planned.items()}
