"""What a transaction offers to pay. Pure; all amounts in wei per unit of gas."""

from dataclasses import dataclass
from typing import Final

from bridge.errors import Retryable

BASE_FEE_HEADROOM: Final = 2
"""Twice the base fee outlasts six full blocks in a row, each of which may raise it by an eighth."""


@dataclass(frozen=True, slots=True)
class FeeOffer:
    """EIP-1559 fields of one attempt."""

    max_fee_wei: int
    priority_fee_wei: int


class FeeCeilingError(Retryable):
    """The chain asks for more than `sender.max_fee_wei` allows: raise it, or wait for the base fee to fall."""


def offer(*, base_fee_wei: int, priority_fee_wei: int, ceiling_wei: int) -> FeeOffer:
    """The first offer of a transaction, at most ``ceiling_wei``.

    Raises :class:`FeeCeilingError` where even the next block's base fee would not fit below the ceiling.
    """
    if base_fee_wei + priority_fee_wei > ceiling_wei:
        raise FeeCeilingError(
            f"base fee {base_fee_wei} wei + priority fee {priority_fee_wei} wei exceed the ceiling of {ceiling_wei} wei"
        )
    return FeeOffer(
        max_fee_wei=min(BASE_FEE_HEADROOM * base_fee_wei + priority_fee_wei, ceiling_wei),
        priority_fee_wei=priority_fee_wei,
    )
