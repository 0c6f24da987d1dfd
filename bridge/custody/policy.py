"""What a key may sign: judged by the bytes that it would sign, before it is asked. Pure.

How much was minted lately is told by the caller, who reads it where it is journalled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.calls import Call, CallUnreadableError, read_call
from bridge.custody.intent import Approval, Intent, describes
from bridge.custody.protocol import SignRequest
from bridge.custody.transaction import NOOP_GAS, is_noop
from bridge.limits import Limits, Minted, limit_fault


@dataclass(frozen=True, slots=True)
class Policy:
    """Of one key. Amounts are in the token's smallest units; all of ``limits`` are kept to.

    ``recipients`` None: anybody. ``approval`` None: nobody has to approve.
    """

    targets: frozenset[bytes]
    selectors: frozenset[bytes]
    recipients: frozenset[bytes] | None = None
    limits: tuple[Limits, ...] = ()
    approval: ApprovalRule | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be signed. ``amount`` is what it adds to what was minted."""

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
    minted: Sequence[Minted],
    now_s: float,
    evidence: Evidence | None = None,
) -> Verdict:
    """Whether a request may be signed. A noop always may: it is what fills the nonce of one that may not.

    ``minted`` is what counts towards each of the policy's limits, in their order, this request left out.
    """
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
        _limit_fault(policy, call, minted),
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


def _limit_fault(policy: Policy, call: Call, minted: Sequence[Minted]) -> str | None:
    amounts = [one.amount for one in call.movements]
    found = [limit_fault(*one, amounts) for one in zip(policy.limits, minted, strict=True)]
    return next((one for one in found if one is not None), None)


def _approval_fault(
    policy: Policy, request: SignRequest, call: Call, now_s: float, evidence: Evidence | None
) -> str | None:
    rule = policy.approval
    if rule is None or call.amount <= rule.above:
        return None
    if evidence is None or request.intent != evidence.intent.hash:
        return "it carries out no intent that was approved"
    if not describes(evidence.intent, request.chain_id, request.to_address, call):
        return "it does something else than the intent that was approved"
    if now_s > evidence.intent.valid_until_s:
        return "the intent is no longer valid"
    if not rule.is_met(evidence.intent, evidence.approvals):
        approved = rule.approved_by(evidence.intent, evidence.approvals)
        return f"{len(approved)} of {rule.needed} approvals are there"
    return None
