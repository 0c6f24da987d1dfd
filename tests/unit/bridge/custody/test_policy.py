"""What a key may sign is judged by the bytes that it would sign."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bridge.calldata import Settle
from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.calls import read_call, selector
from bridge.custody.intent import Approval, Intent
from bridge.custody.policy import Allowed, Evidence, Policy, Refused, judge
from bridge.custody.protocol import SignRequest
from bridge.custody.transaction import noop
from bridge.limits import Limits, Minted
from tests.unit.bridge.custody.requests_made import (
    CALL,
    KEY,
    OTHER,
    OTHER_KEY,
    REQUEST,
    SIGNER,
    TOKEN,
)

NOW_S = 1_700_000_000.0
MINT = selector("mint((bytes32,address,uint256,bytes32,uint64))")
SETTLE = selector("settleRedeem(bytes32,bytes32)")
POLICY = Policy(targets=frozenset({TOKEN}), selectors=frozenset({MINT, SETTLE}))
NOTHING: tuple[Minted, ...] = ()
INTENT = Intent.of(31337, TOKEN, read_call(CALL), int(NOW_S) + 60)
APPROVERS = {"first": SIGNER, "second": bytes.fromhex(OTHER.address[2:])}
FOUR_EYES = replace(POLICY, approval=ApprovalRule(above=0, needed=2, approvers=APPROVERS))
BOTH = (
    Approval("first", KEY.sign_recoverable(INTENT.hash, hasher=None)),
    Approval("second", OTHER_KEY.sign_recoverable(INTENT.hash, hasher=None)),
)
APPROVED = replace(REQUEST, intent=INTENT.hash)


def refusal(
    policy: Policy,
    request: SignRequest = REQUEST,
    minted: Sequence[Minted] = NOTHING,
    evidence: Evidence | None = None,
    now_s: float = NOW_S,
) -> str:
    verdict = judge(policy, request, minted, now_s, evidence)
    assert isinstance(verdict, Refused), verdict
    return verdict.reason


def test_what_is_listed_and_within_limits_is_allowed_with_its_amount() -> None:
    limits = replace(POLICY, limits=(Limits("the signer", operation=100, hour=150, day=1000),))
    assert judge(limits, REQUEST, [Minted(50, 900)], NOW_S) == Allowed(100)
    assert judge(POLICY, REQUEST, NOTHING, NOW_S) == Allowed(100)
    recipients = replace(POLICY, recipients=frozenset({b"w" * 20}))
    assert judge(recipients, REQUEST, NOTHING, NOW_S) == Allowed(100)


def test_another_contract_or_function_is_refused() -> None:
    assert "contracts" in refusal(POLICY, replace(REQUEST, to_address=b"x" * 20))
    grant = selector("grantRole(bytes32,address)") + bytes(64)
    assert "among those that may be called" in refusal(POLICY, replace(REQUEST, data=grant))
    assert "among those" in refusal(replace(POLICY, selectors=frozenset({SETTLE})))


def test_a_call_that_cannot_be_read_is_refused_though_its_function_is_listed() -> None:
    assert "words" in refusal(POLICY, replace(REQUEST, data=CALL + bytes(32)))


def test_another_recipient_is_refused() -> None:
    assert "recipients" in refusal(replace(POLICY, recipients=frozenset({b"v" * 20})))
    assert "recipients" in refusal(replace(POLICY, recipients=frozenset()))


@pytest.mark.parametrize(
    ("limits", "minted", "what"),
    [
        (Limits("it", operation=99), Minted(), "99 minor units in an operation for it"),
        (Limits("it", hour=149), Minted(50, 50), "149 minor units in an hour"),
        (Limits("it", day=999), Minted(0, 900), "999 minor units in a day"),
    ],
)
def test_every_limit_is_kept_to(limits: Limits, minted: Minted, what: str) -> None:
    unlimited = Limits("another")
    for bounds in ((limits, unlimited), (unlimited, limits)):
        assert what in refusal(replace(POLICY, limits=bounds), minted=(minted, minted))


def test_what_makes_no_tokens_knows_no_limits() -> None:
    settle = replace(REQUEST, data=Settle(b"1" * 32, b"f" * 32).encode())
    none = Limits("the signer", operation=0, hour=0)
    strict = replace(FOUR_EYES, limits=(none,), recipients=frozenset())
    assert judge(strict, settle, [Minted(5, 5)], NOW_S) == Allowed(0)


def test_a_noop_is_always_allowed_since_it_frees_the_lane() -> None:
    filler = noop("id", SIGNER, 31337, 3, max_fee_wei=9, priority_fee_wei=None)
    nothing = Policy(targets=frozenset(), selectors=frozenset())
    assert judge(nothing, filler, NOTHING, NOW_S) == Allowed(0)
    assert "21000" in refusal(POLICY, replace(filler, gas_limit=21_001))
    assert "contracts" in refusal(POLICY, replace(filler, to_address=b"x" * 20))


def test_enough_approvals_of_this_very_intent_allow_it() -> None:
    assert judge(FOUR_EYES, APPROVED, NOTHING, NOW_S, Evidence(INTENT, BOTH)) == Allowed(100)


def test_nobody_has_to_approve_what_is_not_above_the_amount() -> None:
    rule = ApprovalRule(above=100, needed=2, approvers=APPROVERS)
    assert judge(replace(POLICY, approval=rule), REQUEST, NOTHING, NOW_S) == Allowed(100)
    assert "no intent" in refusal(replace(POLICY, approval=replace(rule, above=99)))


def test_too_few_approvals_or_none_refuse_it() -> None:
    assert "no intent" in refusal(FOUR_EYES)
    assert "no intent" in refusal(FOUR_EYES, REQUEST, evidence=Evidence(INTENT, BOTH))
    assert "1 of 2" in refusal(FOUR_EYES, APPROVED, evidence=Evidence(INTENT, BOTH[:1]))
    twice = (BOTH[0], BOTH[0])
    assert "1 of 2" in refusal(FOUR_EYES, APPROVED, evidence=Evidence(INTENT, twice))


def test_an_intent_of_something_else_or_one_that_is_too_old_refuses_it() -> None:
    other = replace(INTENT, amount=101)
    asked = replace(REQUEST, intent=other.hash)
    assert "something else" in refusal(FOUR_EYES, asked, evidence=Evidence(other, BOTH))
    late_s = INTENT.valid_until_s + 1
    assert "valid" in refusal(FOUR_EYES, APPROVED, evidence=Evidence(INTENT, BOTH), now_s=late_s)


def test_a_policy_that_one_person_could_satisfy_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="same address"):
        ApprovalRule(0, 2, {"first": SIGNER, "second": SIGNER})
    with pytest.raises(ValueError, match="3 approvals"):
        ApprovalRule(0, 3, APPROVERS)
