"""What a signer's lane may do, as the settings say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.calls import selector
from bridge.custody.policy import Policy
from bridge.journal import Purpose
from bridge.limits import Limits
from bridge.token import Token

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
_MINT_OP: Final = "(bytes32,address,uint256,bytes32,uint64)"
_FUNCTIONS: Final[Mapping[Purpose, Sequence[str]]] = {
    "mint": (f"mint({_MINT_OP})", f"mintBatch({_MINT_OP}[])"),
    "settle": ("settleRedeem(bytes32,bytes32)", "settleBatch((bytes32,bytes32)[])"),
    "reject": ("rejectRedeem(bytes32,bytes32)",),
    "void": ("voidOperation(bytes32)",),
}
_PLAIN_FUNCTIONS: Final[Mapping[Purpose, Sequence[str]]] = {"mint": ("mint(address,uint256)",)}

_SIGNER: Final = Limits("the signer")
_ACCOUNT: Final = Limits("the bank account")


@dataclass(frozen=True, slots=True)
class Rules:
    """``recipients`` None: anybody. ``of_signer`` bounds what this signer mints, ``of_account`` what all signers mint
    for the bank account. ``approval`` None: nobody of ours has to approve anything."""

    purposes: tuple[Purpose, ...] = PURPOSES
    recipients: frozenset[bytes] | None = None
    of_signer: Limits = _SIGNER
    of_account: Limits = _ACCOUNT
    approval: ApprovalRule | None = None

    @property
    def limits(self) -> tuple[Limits, Limits]:
        return (self.of_signer, self.of_account)

    def policy(self, token: Token) -> Policy:
        """By which each request to sign is judged: it calls the token, and nothing else."""
        known = _FUNCTIONS if token.kind == "deposit" else _PLAIN_FUNCTIONS
        functions = [one for purpose in self.purposes for one in known.get(purpose, ())]
        return Policy(
            targets=frozenset({token.address}),
            selectors=frozenset(map(selector, functions)),
            recipients=self.recipients,
            limits=self.limits,
            approval=self.approval,
        )


ANYTHING: Final = Rules()
"""Whatever the token can do, for anybody, without limits."""
