"""Approvals of our own: from an amount on, m of n named people sign an intent before it gets a nonce. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.custody.intent import Approval, Intent, approvers_of


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """What mints more than ``above``, in the token's smallest units, needs ``needed`` of the ``approvers``. Each of
    them has an address of their own, or one person could approve twice."""

    above: int
    needed: int
    approvers: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if len(set(self.approvers.values())) != len(self.approvers):
            raise ValueError("two approvers have the same address")
        if not 1 <= self.needed <= len(self.approvers):
            raise ValueError(
                f"{self.needed} approvals are needed, and there are {len(self.approvers)} approvers"
            )

    def approved_by(self, intent: Intent, approvals: Iterable[Approval]) -> frozenset[str]:
        """Who of them has signed this very intent."""
        return approvers_of(intent, approvals, self.approvers)

    def is_met(self, intent: Intent, approvals: Iterable[Approval]) -> bool:
        """Whether it may be carried out."""
        if intent.amount <= self.above:
            return True
        return len(self.approved_by(intent, approvals)) >= self.needed
