"""What a key may sign: judged by the bytes that it would sign, before it is asked. Pure.

How much was signed lately is told by the caller, who reads it where it is journalled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from bridge.custody.calls import Call, CallUnreadableError, read_call
from bridge.custody.intent import Approval, Intent, approvers_of, describes
from bridge.custody.protocol import SignRequest
from bridge.custody.transaction import NOOP_GAS, is_noop

HOUR_S: Final = 3600
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one key. Amounts are in the token's smallest units; a limit that is None is none.

    ``recipients`` None: anybody. ``approvers`` by name, of whom ``approvals_needed`` must approve whatever makes
    tokens; each has an address of their own, or one person could approve twice.
    """

    targets: frozenset[bytes]
    selectors: frozenset[bytes]
    recipients: frozenset[bytes] | None = None
    operation_limit: int | None = None
    hourly_limit: int | None = None
    daily_limit: int | None = None
    approvers: Mapping[str, bytes] = field(default_factory=dict)
    approvals_needed: int = 0

    def __post_init__(self) -> None:
        if len(set(self.approvers.values())) != len(self.approvers):
            raise ValueError("two approvers have the same address")
        if not 0 <= self.approvals_needed <= len(self.approvers):
            raise ValueError(
                f"{self.approvals_needed} approvals are needed, and there are {len(self.approvers)} approvers"
            )


@dataclass(frozen=True, slots=True)
class Spent:
    """What the key signed within the last hour and the last day, this request not counted."""

    hour: int
    day: int


class Counters(Protocol):
    """Where it is known what a key has signed. Whoever asks holds the signer's row, so nothing comes between."""

    async def spent(self, chain_id: int, signer: bytes) -> Spent:
        """The sums of what was journalled for the key in the last :data:`HOUR_S` and :data:`DAY_S` seconds, by the
        database's clock; a nonce counts once, however often its fee was raised."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be signed. ``amount`` is what it adds to what was spent."""

    amount: int


@dataclass(frozen=True, slots=True)
class Refused:
    """It may not be signed; the reason is for people."""

    reason: str


Verdict = Allowed | Refused


@dataclass(frozen=True, slots=True)
class Evidence:
    """Who approved what."""

    intent: Intent
    approvals: tuple[Approval, ...]


def judge(
    policy: Policy,
    request: SignRequest,
    spent: Spent,
    now_s: float,
    evidence: Evidence | None = None,
) -> Verdict:
    """Whether a request may be signed. A noop always may: it is what fills the nonce of one that may not."""
    if is_noop(request):
        return Allowed(0) if request.gas_limit == NOOP_GAS else Refused("a noop needs 21000 gas")
    if request.to_address not in policy.targets:
        return Refused(
            f"0x{request.to_address.hex()} is not among the contracts that may be called"
        )
    if request.data[:4] not in policy.selectors:
        return Refused(
            f"the function 0x{request.data[:4].hex()} is not among those that may be called"
        )
    try:
        call = read_call(request.data)
    except CallUnreadableError as error:
        return Refused(str(error))
    for reason in (
        _recipient_fault(policy, call),
        _limit_fault(policy, call, spent),
        _approval_fault(policy, request, call, now_s, evidence),
    ):
        if reason is not None:
            return Refused(reason)
    return Allowed(call.amount)


def _recipient_fault(policy: Policy, call: Call) -> str | None:
    if policy.recipients is None:
        return None
    strangers = [one.recipient for one in call.movements if one.recipient not in policy.recipients]
    return f"0x{strangers[0].hex()} is not among the recipients" if strangers else None


def _limit_fault(policy: Policy, call: Call, spent: Spent) -> str | None:
    largest = max((one.amount for one in call.movements), default=0)
    for what, amount, limit in (
        ("an operation", largest, policy.operation_limit),
        ("an hour", spent.hour + call.amount, policy.hourly_limit),
        ("a day", spent.day + call.amount, policy.daily_limit),
    ):
        if limit is not None and call.movements and amount > limit:
            return f"{amount} is over the limit of {limit} for {what}"
    return None


def _approval_fault(
    policy: Policy, request: SignRequest, call: Call, now_s: float, evidence: Evidence | None
) -> str | None:
    if policy.approvals_needed == 0 or not call.movements:
        return None
    if evidence is None or request.intent != evidence.intent.hash:
        return "it carries out no intent that was approved"
    if not describes(evidence.intent, request.chain_id, request.to_address, call):
        return "it does something else than the intent that was approved"
    if now_s > evidence.intent.valid_until_s:
        return "the intent is no longer valid"
    approved = approvers_of(evidence.intent, evidence.approvals, policy.approvers)
    if len(approved) < policy.approvals_needed:
        return f"{len(approved)} of {policy.approvals_needed} approvals are there"
    return None
