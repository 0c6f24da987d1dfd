"""How much gas money may be spent, and how long what is there lasts. Pure; all amounts in wei."""

from dataclasses import dataclass
from typing import Final, Literal

from bridge.fees import FeeOffer

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class SpendingCeilings:
    """The most that one transaction, and all of a day, may cost; None is no ceiling."""

    per_transaction_wei: int | None = None
    per_day_wei: int | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Exceeded:
    """Do not sign it: wait until it costs less, or until the day is over, and tell somebody."""

    ceiling: Literal["transaction", "day"]
    needed_wei: int
    ceiling_wei: int

    def __str__(self) -> str:
        return (
            f"{self.needed_wei} wei exceed the {self.ceiling}'s ceiling of {self.ceiling_wei} wei"
        )


@dataclass(frozen=True, slots=True)
class Runway:
    """How far a balance reaches: so many transactions, and so long at the expected rate. None is without end."""

    transactions: int | None
    left_s: int | None


def cost_wei(gas_limit: int, offer: FeeOffer) -> int:
    """The most that an attempt can cost. Attempts of one nonce cost what the dearest of them costs, once."""
    return gas_limit * offer.max_fee_wei


def judge_spending(
    ceilings: SpendingCeilings, *, cost_wei: int, spent_wei: int, at_stake_wei: int
) -> Allowed | Exceeded:
    """Whether an attempt that may cost ``cost_wei`` may be signed.

    ``spent_wei`` is what the day's mined transactions have cost. ``at_stake_wei`` is the most that all others may still
    cost that are not mined: not the earlier attempts of this one's nonce, of which only one is ever mined.
    """
    if ceilings.per_transaction_wei is not None and cost_wei > ceilings.per_transaction_wei:
        return Exceeded("transaction", cost_wei, ceilings.per_transaction_wei)
    needed_wei = spent_wei + at_stake_wei + cost_wei
    if ceilings.per_day_wei is not None and needed_wei > ceilings.per_day_wei:
        return Exceeded("day", needed_wei, ceilings.per_day_wei)
    return Allowed()


def runway(
    *,
    balance_wei: int,
    gas_price_wei: int,
    gas_per_transaction: int,
    transactions_per_day: int,
) -> Runway:
    """``balance_wei`` is what is not at stake already, and below 0 if more is at stake than there is."""
    each_wei = gas_price_wei * gas_per_transaction
    if each_wei == 0:
        return Runway(None, None)
    transactions = max(balance_wei, 0) // each_wei
    if transactions_per_day == 0:
        return Runway(transactions, None)
    return Runway(transactions, transactions * DAY_S // transactions_per_day)


def is_low(left: Runway, *, alarm_below_transactions: int, alarm_below_s: int) -> bool:
    """Whether somebody has to fund the signer."""
    few = left.transactions is not None and left.transactions < alarm_below_transactions
    soon = left.left_s is not None and left.left_s < alarm_below_s
    return few or soon
