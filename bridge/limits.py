"""How much may be minted at once, in an hour and in a day. Pure; all amounts in minor units.

What was minted lately is told by the caller, who reads it where it is journalled. Postgres judges the same once more
when a nonce is given out (``bridge.guard_limits``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """Of whoever is called ``whose``, for people; None is no limit."""

    whose: str
    operation: int | None = None
    hour: int | None = None
    day: int | None = None

    @property
    def look_back(self) -> bool:
        """Whether it matters what was minted before."""
        return self.hour is not None or self.day is not None


@dataclass(frozen=True, slots=True)
class Minted:
    """What is in flight, with what became final in the last hour or in the last day."""

    hour: int = 0
    day: int = 0


def limit_fault(limits: Limits, minted: Minted, amounts: Sequence[int]) -> str | None:
    """Why these operations may not be minted together, or None."""
    total = sum(amounts)
    for what, amount, limit in (
        ("an operation", max(amounts, default=0), limits.operation),
        ("an hour", minted.hour + total, limits.hour),
        ("a day", minted.day + total, limits.day),
    ):
        if limit is not None and amounts and amount > limit:
            return f"over the limit of {limit} minor units in {what} for {limits.whose}"
    return None


def limit_faults(
    bounds: Sequence[tuple[Limits, Minted]], amounts: Sequence[int]
) -> list[str | None]:
    """Of each amount, taken in their order: why it does not fit, or None. One that does not is passed over, and the
    smaller ones behind it may still fit."""
    bounds = list(bounds)
    faults: list[str | None] = []
    for amount in amounts:
        found = [limit_fault(limits, minted, [amount]) for limits, minted in bounds]
        faults.append(next((one for one in found if one is not None), None))
        if faults[-1] is None:
            bounds = [
                (limits, replace(minted, hour=minted.hour + amount, day=minted.day + amount))
                for limits, minted in bounds
            ]
    return faults
