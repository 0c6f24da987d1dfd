"""One measurement's line of JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.errors import ResultMalformedError

NAMES = (
    "backfill",
    "backfill_10x",
    "backfill_verified",
    "backfill_limit",
    "head_latency",
    "head_latency_10m",
    "reorg_convergence",
    "slow_provider",
    "redis_latency",
    "mints_batched",
    "mints_single",
    "mints_naive",
    "broadcast_latency",
    "resume_in_flight",
    "submit_memory",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the ratio should be. A measurement that has nothing to compare with meets nothing."""

    relation: Literal["<=", ">="]
    ratio: float

    def met(self, ratio: float | None) -> bool | None:
        if ratio is None:
            return None
        return ratio <= self.ratio if self.relation == "<=" else ratio >= self.ratio

    def __str__(self) -> str:
        return f"{self.relation} {self.ratio:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """`value` and `against_value` are in `unit`; both may be missing, then there is no ratio."""

    bench: str
    value: float | None
    unit: str
    against: str | None = None
    against_value: float | None = None
    wanted: Wanted | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return ratio(self.value, self.against_value)

    def line(self) -> str:
        """One line of JSON, without its end."""
        head = {
            "bench": self.bench,
            "value": self.value,
            "unit": self.unit,
            "against": self.against,
            "against_value": self.against_value,
            "ratio": self.ratio,
            "versions": dict(self.versions),
        }
        if self.wanted is not None:
            head |= {"wanted": str(self.wanted), "met": self.wanted.met(self.ratio)}
        return json.dumps(head | dict(self.extra))


def ratio(value: float | None, against_value: float | None) -> float | None:
    """To three digits after the point; None where there is nothing to divide."""
    if value is None or not against_value:
        return None
    return round(value / against_value, 3)


def parse_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The measurements among the lines of a file; blank lines are passed over.

    Raises ResultMalformedError.
    """
    results = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
        except json.JSONDecodeError as error:
            raise ResultMalformedError(number=number, reason=str(error)) from error
        if not isinstance(result, dict) or result.get("bench") not in NAMES:
            raise ResultMalformedError(number=number, reason="it names no measurement")
        results.append(result)
    return results
