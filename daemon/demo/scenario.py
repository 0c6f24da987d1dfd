"""What is going to happen in the demo: who pays in how much, who asks for how much back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from daemon.demo.wallet import Wallet

SMALLEST_MINOR = 1_00
LARGEST_MINOR = 25_000_00
# Shares of the deposits whose webhook is not simply sent once, after a moment.
TWICE_SHARE = 0.12
NEVER_SHARE = 0.04
LATE_SHARE = 0.04
BANK_CODE = 37_040_044
LETTERS_OF_DE = "131400"


@dataclass(frozen=True, slots=True)
class Holder:
    """A customer: a wallet on the chain and an account at some bank."""

    number: int
    wallet: Wallet
    iban: str
    name: str


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money that a holder pays in. `webhook` is how the bank tells of it."""

    number: int
    holder: Holder
    amount_minor: int
    webhook: str


@dataclass(frozen=True, slots=True)
class Redemption:
    """Tokens that a holder wants to have paid out."""

    holder: Holder
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that people do. Each holder redeems at most once, never more than was paid in."""

    holders: tuple[Holder, ...]
    deposits: tuple[Deposit, ...]
    redemptions: tuple[Redemption, ...]


def draw(chance: Random, *, deposits: int, holders: int) -> Scenario:
    """A scenario in which every holder pays in at least once and redeems a part or all of it."""
    people = tuple(_holder(number) for number in range(1, holders + 1))
    payers = [people[number % holders] for number in range(deposits)]
    chance.shuffle(payers)
    webhooks = _webhooks(chance, deposits)
    paid_in = tuple(
        Deposit(number, payer, chance.randint(SMALLEST_MINOR, LARGEST_MINOR), webhook)
        for number, (payer, webhook) in enumerate(zip(payers, webhooks, strict=True), 1)
    )
    return Scenario(people, paid_in, tuple(_redemption(chance, who, paid_in) for who in people))


def _webhooks(chance: Random, count: int) -> list[str]:
    """One mode for each deposit; of every kind at least one."""
    modes = [
        *["twice"] * max(1, round(count * TWICE_SHARE)),
        *["never"] * max(1, round(count * NEVER_SHARE)),
        *["late"] * max(1, round(count * LATE_SHARE)),
    ]
    modes += ["normal"] * (count - len(modes))
    chance.shuffle(modes)
    return modes[:count]


def _redemption(chance: Random, holder: Holder, deposits: tuple[Deposit, ...]) -> Redemption:
    amounts = [each.amount_minor for each in deposits if each.holder is holder]
    # Every seventh takes all of it; the others can ask as soon as their first mint has arrived.
    amount = sum(amounts) if holder.number % 7 == 0 else chance.randint(1, min(amounts))
    return Redemption(holder, amount)


def _holder(number: int) -> Holder:
    return Holder(number, Wallet.new(), _iban(number), f"Holder {number}")


def _iban(number: int) -> str:
    """A German account number with correct check digits that belongs to nobody."""
    account = f"{BANK_CODE:08d}{number:010d}"
    check = 98 - int(account + LETTERS_OF_DE) % 97
    return f"DE{check:02d}{account}"
