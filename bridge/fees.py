"""What a transaction offers to pay. Pure; all amounts in wei per unit of gas."""

from dataclasses import dataclass
from typing import Final

from bridge.errors import Retryable

BASE_FEE_HEADROOM: Final = 2
"""Twice the base fee outlasts six full blocks in a row, each of which may raise it by an eighth."""
BUMP_PERCENT: Final = 10
"""How much more a replacement has to offer, in both fields: geth's rule, and that of Erigon, reth and Nethermind.
Anvil takes any higher price, and is offered the same."""


@dataclass(frozen=True, slots=True)
class Market:
    """What a chain asks now: the next block's base fee, None where the chain has none, and what others pay on top.

    Without a base fee ``tip_wei`` is the whole price."""

    base_fee_wei: int | None
    tip_wei: int


@dataclass(frozen=True, slots=True)
class FeeOffer:
    """The fees of one attempt, by EIP-1559. Without ``priority_fee_wei`` it is a legacy transaction, whose gas price
    is ``max_fee_wei``."""

    max_fee_wei: int
    priority_fee_wei: int | None


@dataclass(frozen=True, slots=True)
class CeilingReached:
    """Nothing that the ceiling allows would help: wait until the base fee falls, or until somebody raises it."""

    needed_wei: int
    ceiling_wei: int

    def __str__(self) -> str:
        return (
            f"{self.needed_wei} wei per gas are needed, above the ceiling of {self.ceiling_wei} wei"
        )


class FeeCeilingError(Retryable):
    """The chain asks for more than `sender.max_fee_wei` allows: raise it, or wait for the base fee to fall."""


def offer(market: Market, *, ceiling_wei: int) -> FeeOffer:
    """The first offer of a transaction, at most ``ceiling_wei``.

    Raises :class:`FeeCeilingError` where even the next block's base fee would not fit below the ceiling.
    """
    base_fee_wei = market.base_fee_wei or 0
    if base_fee_wei + market.tip_wei > ceiling_wei:
        raise FeeCeilingError(
            f"base fee {base_fee_wei} wei + priority fee {market.tip_wei} wei exceed the ceiling of {ceiling_wei} wei"
        )
    if market.base_fee_wei is None:
        return FeeOffer(market.tip_wei, None)
    wanted_wei = BASE_FEE_HEADROOM * base_fee_wei + market.tip_wei
    return FeeOffer(min(wanted_wei, ceiling_wei), market.tip_wei)


def bump(last: FeeOffer, market: Market, *, ceiling_wei: int) -> FeeOffer | CeilingReached:
    """The next offer for a nonce whose last offer is not mined: enough for any node to replace the last one, and at
    least what the market asks now, as far as the ceiling allows.

    It stays of the kind that it was, legacy or not. Ask it of the attempt with the highest offer, which is the last.
    """
    base_fee_wei = market.base_fee_wei or 0
    lowest_wei = _raised(last.max_fee_wei)
    # Below the base fee no block takes it, whatever it replaced.
    needed_wei = max(lowest_wei, base_fee_wei)
    if needed_wei > ceiling_wei:
        return CeilingReached(needed_wei, ceiling_wei)
    if last.priority_fee_wei is None:
        wanted_wei = max(lowest_wei, base_fee_wei + market.tip_wei)
        return FeeOffer(min(wanted_wei, ceiling_wei), None)
    tip_wei = max(_replacing_tip_wei(last, base_fee_wei), market.tip_wei)
    wanted_wei = max(lowest_wei, BASE_FEE_HEADROOM * base_fee_wei + tip_wei)
    max_fee_wei = min(wanted_wei, ceiling_wei)
    return FeeOffer(max_fee_wei, min(tip_wei, max_fee_wei))


def _replacing_tip_wei(last: FeeOffer, base_fee_wei: int) -> int:
    """The lowest priority fee that may replace the last one. geth compares the fields. Besu and older Nethermind
    compare what would be paid at the present base fee, which a small priority fee that was raised hardly changes."""
    last_tip_wei = last.priority_fee_wei or 0
    paid_wei = min(last.max_fee_wei, base_fee_wei + last_tip_wei)
    return max(_raised(last_tip_wei), _raised(paid_wei) - base_fee_wei)


def _raised(wei: int) -> int:
    """The lowest value that replaces ``wei``. Rounded up; above 0 that is always more, and 0 is replaced by 1."""
    return max(1, -(-wei * (100 + BUMP_PERCENT) // 100))
