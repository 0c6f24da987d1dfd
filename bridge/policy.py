"""Whether money may go where it is asked to go. Pure: facts in, a verdict out."""

from dataclasses import dataclass
from typing import Literal

BreakKind = Literal["unregistered_deposit", "unregistered_burn", "currency", "policy"]


@dataclass(frozen=True, slots=True)
class Approve:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait, and tell somebody why."""

    break_kind: BreakKind
    detail: str


Verdict = Approve | Hold


@dataclass(frozen=True, slots=True)
class WalletStanding:
    """What the newest ``Allowed`` and ``Frozen`` events say of a wallet, final or not."""

    allowed: bool
    frozen: bool


def judge_issuance(standing: WalletStanding) -> Verdict:
    """A mint goes only to a wallet that the token would let receive it."""
    return _judge_wallet(standing)


def judge_redemption(standing: WalletStanding, *, registered: bool, still_open: bool) -> Verdict:
    """A payout goes only to a registered beneficiary whose wallet is not frozen, for an open escrow.

    The allowlist is not asked: the tokens are in escrow already, and their holder is owed the money.
    """
    if not still_open:
        return Hold("policy", "the contract has ended this redemption already, by another hand")
    if not registered:
        return Hold("unregistered_burn", "the holder's wallet has no registered beneficiary")
    if standing.frozen:
        return Hold("policy", "the wallet is frozen")
    return Approve()


def _judge_wallet(standing: WalletStanding) -> Verdict:
    if standing.frozen:
        return Hold("policy", "the wallet is frozen")
    if not standing.allowed:
        return Hold("policy", "the wallet is not on the token's allowlist")
    return Approve()
