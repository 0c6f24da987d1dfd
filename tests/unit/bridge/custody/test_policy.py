"""What a key may sign is judged by the bytes that it would sign."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.calldata import Settle
from bridge.custody.calls import read_call, selector
from bridge.custody.intent import Approval, Intent
from bridge.custody.policy import Allowed, Evidence, Policy, Refused, Spent, judge
from bridge.custody.protocol import SignRequest
from bridge.custody.transaction import noop
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
NOTHING = Spent(0, 0)
INTENT = Intent.of(31337, TOKEN, read_call(CALL), int(NOW_S) + 60)
APPROVERS = {"first": SIGNER, "second": bytes.fromhex(OTHER.address[2:])}
FOUR_EYES = replace(POLICY, approvers=APPROVERS, approvals_needed=2)
BOTH = (
    Approval("first", KEY.sign_recoverable(INTENT.hash, hasher=None)),
    Approval("second", OTHER_KEY.sign_recoverable(INTENT.hash, hasher=None)),
)
APPROVED = replace(REQUEST, intent=INTENT.hash)


def refusal(
    policy: Policy,
    request: SignRequest = REQUEST,
    spent: Spent = NOTHING,
    evidence: Evidence | None = None,
    now_s: float = NOW_S,
) -> str:
    verdict = judge(policy, request, spent, now_s, evidence)
    assert isinstance(verdict, Refused), verdict
    return verdict.reason


def test_what_is_listed_and_within_limits_is_allowed_with_its_amount() -> None:
    limits = replace(POLICY, operation_limit=100, hourly_limit=150, daily_limit=1000)
    assert judge(limits, REQUEST, Spent(50, 900), NOW_S) == Allowed(100)
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
    ("limit", "spent", "what"),
    [
        ({"operation_limit": 99}, NOTHING, "an operation"),
        ({"hourly_limit": 149}, Spent(50, 50), "an hour"),
        ({"daily_limit": 999}, Spent(0, 900), "a day"),
    ],
)
def test_a_limit_is_a_limit(limit: dict[str, Any], spent: Spent, what: str) -> None:
    assert what in refusal(replace(POLICY, **limit), spent=spent)


def test_what_makes_no_tokens_knows_no_limits() -> None:
    settle = replace(REQUEST, data=Settle(b"1" * 32, b"f" * 32).encode())
    strict = replace(FOUR_EYES, operation_limit=0, hourly_limit=0, recipients=frozenset())
    assert judge(strict, settle, Spent(5, 5), NOW_S) == Allowed(0)


def test_a_noop_is_always_allowed_since_it_frees_the_lane() -> None:
    filler = noop("id", SIGNER, 31337, 3, max_fee_wei=9, priority_fee_wei=None)
    nothing = Policy(targets=frozenset(), selectors=frozenset())
    assert judge(nothing, filler, NOTHING, NOW_S) == Allowed(0)
    assert "21000" in refusal(POLICY, replace(filler, gas_limit=21_001))
    assert "contracts" in refusal(POLICY, replace(filler, to_address=b"x" * 20))


def test_enough_approvals_of_this_very_intent_allow_it() -> None:
    assert judge(FOUR_EYES, APPROVED, NOTHING, NOW_S, Evidence(INTENT, BOTH)) == Allowed(100)


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
        replace(POLICY, approvers={"first": SIGNER, "second": SIGNER}, approvals_needed=2)
    with pytest.raises(ValueError, match="3 approvals"):
        replace(POLICY, approvers=APPROVERS, approvals_needed=3)
