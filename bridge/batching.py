"""How ready operations are put into transactions. Pure.

A batch is as long as its gas allows, and its gas is known once it has been simulated; what the last ones used says
how many operations to put into the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")

# A transaction may use 16,777,216 units of gas (EIP-7825); some are left for what the state does meanwhile.
MAX_BATCH_GAS: Final = 15_000_000
# What is offered beyond what the simulation used, in percent: the state may be another one when it is mined.
GAS_HEADROOM_PERCENT: Final = 25
FIRST_ITEMS: Final = 50


@dataclass(slots=True)
class BatchSize:
    """How many operations go into the next batch: at most ``most``, fewer where they use much gas."""

    most: int
    _gas_per_item: float | None = None

    @property
    def items(self) -> int:
        """At least one."""
        if self._gas_per_item is None:
            return min(self.most, FIRST_ITEMS)
        fitting = int(MAX_BATCH_GAS * 100 / (100 + GAS_HEADROOM_PERCENT) / self._gas_per_item)
        return max(1, min(self.most, fitting))

    def used(self, items: int, gas: int) -> None:
        """A batch of so many would have used so much."""
        self._gas_per_item = max(gas / items, 1.0)


def gas_limit(used: int) -> int:
    """For a transaction whose simulation used so much."""
    return used * (100 + GAS_HEADROOM_PERCENT) // 100


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """In their order, each of ``size`` but the last."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def within(amounts: Sequence[int], left: int) -> list[bool]:
    """Which of these amounts, taken in their order, fit together into what is left: one that does not is passed over,
    and the smaller ones behind it may still fit. Amounts and ``left`` in minor units."""
    fits = []
    for amount in amounts:
        fits.append(amount <= left)
        left -= amount if amount <= left else 0
    return fits
