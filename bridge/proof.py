"""The proof that books and chain agree: ``B = S − PNB + BNP + FNM + SUS + FEE − DEF``. Pure.

All amounts are integers in minor units of one currency; nothing is ever summed across currencies.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What one proof says."""

    AGREE = "agree"
    STALE = "stale"
    """Chain and ledger agree; the bank's balance and the entries we hold do not share a cut yet."""
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger's terms at finalized block N."""

    reserve: int
    supply: int
    paid_not_burned: int
    burned_not_paid: int
    funded_not_minted: int
    suspense: int
    fees: int
    deficit: int


@dataclass(frozen=True, slots=True)
class ChainView:
    """What the chain says at N: ``totalSupply()`` and the sum of mint and burn events."""

    total_supply: int
    event_supply: int


@dataclass(frozen=True, slots=True)
class BankView:
    """The bank's balance, the entry it was cut at, and our entries up to that cut.

    ``read_through`` is the sequence up to which our poll has no gap; ``entries_to_cut`` sums our booked
    entries with a sequence of at most ``cut``.
    """

    balance: int
    cut: int
    read_through: int
    entries_to_cut: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what an operator should read."""

    verdict: Verdict
    explanation: str


def judge(books: Books, chain: ChainView, bank: BankView | None, entries_total: int) -> Judgement:
    """Check three ways: the ledger against itself, against the chain, against the bank.

    ``entries_total`` is the signed sum of every booked entry, which the reserve must equal.
    """
    faults = [*_self_faults(books, entries_total), *_chain_faults(books, chain)]
    if bank is not None and bank.read_through >= bank.cut and bank.entries_to_cut != bank.balance:
        faults.append(
            f"the bank's balance is {bank.balance} at its entry {bank.cut}, our entries sum to {bank.entries_to_cut}"
        )
    if faults:
        return Judgement(Verdict.DRIFT, "; ".join(faults))
    if bank is None:
        return Judgement(Verdict.STALE, "the bank gave no balance")
    if bank.read_through < bank.cut:
        return Judgement(
            Verdict.STALE,
            f"the bank is at entry {bank.cut}, we have read up to {bank.read_through}",
        )
    return Judgement(Verdict.AGREE, "ledger, chain and bank agree")


def _self_faults(books: Books, entries_total: int) -> list[str]:
    faults = []
    explained = (
        books.supply
        - books.paid_not_burned
        + books.burned_not_paid
        + books.funded_not_minted
        + books.suspense
        + books.fees
        - books.deficit
    )
    if books.reserve != explained:
        faults.append(f"the reserve is {books.reserve}, its explanation sums to {explained}")
    if books.reserve != entries_total:
        faults.append(f"the reserve is {books.reserve}, the bank's entries sum to {entries_total}")
    return faults


def _chain_faults(books: Books, chain: ChainView) -> list[str]:
    faults = []
    if books.supply != chain.total_supply:
        faults.append(
            f"the ledger's supply is {books.supply}, totalSupply() is {chain.total_supply}"
        )
    if books.supply != chain.event_supply:
        faults.append(
            f"the ledger's supply is {books.supply}, the events sum to {chain.event_supply}"
        )
    return faults
