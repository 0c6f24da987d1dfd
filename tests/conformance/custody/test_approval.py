"""A custodian whose people decide: quorum, refusal, intents, and callbacks that come late, twice and in any order."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from coincurve import PrivateKey
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa
from pydantic import SecretStr

from bridge.calldata import Mint
from bridge.custody.approval import ApprovalCustody
from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.calls import read_call
from bridge.custody.errors import CallbackRefusedError, CustodyAccessError
from bridge.custody.intent import Intent
from bridge.custody.policy import Allowed, Evidence, Policy, judge
from bridge.custody.protocol import (
    Approved,
    Expired,
    IntentOutcome,
    Pending,
    Rejected,
    SignRequest,
)
from bridge.custody.signing import sign
from bridge.custody.simulator.custodian import Custodian
from bridge.custody.simulator.server import SimulatedCustodian, SimulatorSettings
from bridge.custody.transaction import noop
from bridge.custody.verification import SignedTransaction
from tests.conformance.custody.conftest import API_KEY, CALLBACK_KEY
from tests.conformance.custody.listening import listening
from tests.conformance.custody.subjects import LATER_S, Approval
from tests.conformance.custody.test_custody import CALL, PATIENCE_S, asked, signed, told

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = b"t" * 20
APPROVERS = ("first", "second", "third")


@asynccontextmanager
async def opened(approval: Approval) -> AsyncIterator[ApprovalCustody]:
    custody = await ApprovalCustody.open(approval.settings)
    try:
        yield custody
    finally:
        await custody.close()


async def decision(custody: ApprovalCustody, ticket: str) -> IntentOutcome:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (outcome,) = await custody.approvals([ticket])
            if not isinstance(outcome, Pending):
                return outcome
            await asyncio.sleep(0.02)


def intent_of(data: bytes, valid_for_s: int = 3600) -> Intent:
    return Intent.of(31337, TOKEN, read_call(data), int(time.time()) + valid_for_s)


def mint(op: bytes, amount: int) -> bytes:
    return Mint(op * 32, b"w" * 20, amount, b"r" * 32, 1_800_000_000).encode()


async def is_pending(custody: ApprovalCustody, request: SignRequest) -> bool:
    (outcome,) = await sign(custody, [request])
    return isinstance(outcome, Pending)


async def test_nothing_is_signed_before_a_quorum_and_then_it_is(approval: Approval) -> None:
    await approval.let_nobody_decide()
    custodian, request = approval.simulator.custodian, asked(approval)
    async with opened(approval) as custody:
        assert await is_pending(custody, request)
        custodian.approve(request.request_id, "first")
        custodian.approve(request.request_id, "first")
        await asyncio.sleep(0.03)
        assert await is_pending(custody, request), "one person twice is one person"
        custodian.approve(request.request_id, "third")
        await signed(custody, request)
    assert len(custodian.entries) == 1


async def test_what_one_approver_refuses_is_rejected_with_the_reason(approval: Approval) -> None:
    await approval.let_nobody_decide()
    request = asked(approval)
    async with opened(approval) as custody:
        await custody.submit([request])
        approval.simulator.custodian.reject(request.request_id, "who is this?")
        outcome = await told(custody, request.request_id)
    assert isinstance(outcome, Rejected)
    assert "who is this?" in outcome.reason


async def test_an_approved_intent_is_signed_at_once_whatever_its_fee(approval: Approval) -> None:
    intent = intent_of(CALL)
    async with opened(approval) as custody:
        (ticket,) = await custody.propose([intent])
        assert await custody.propose([intent]) == [ticket]
        outcome = await decision(custody, ticket)
        assert isinstance(outcome, Approved)
        await approval.let_nobody_decide()
        first = asked(approval, intent=intent.hash)
        bumped = asked(approval, intent=intent.hash, max_fee_wei=40 * 10**9)
        for one in await sign(custody, [first, bumped]):
            assert isinstance(one, SignedTransaction)


async def test_the_approvals_of_an_intent_satisfy_our_own_policy(approval: Approval) -> None:
    intent = intent_of(CALL)
    async with opened(approval) as custody:
        (ticket,) = await custody.propose([intent])
        outcome = await decision(custody, ticket)
    assert isinstance(outcome, Approved)
    policy = Policy(
        targets=frozenset({TOKEN}),
        selectors=frozenset({CALL[:4]}),
        approval=ApprovalRule(0, 2, approval.simulator.custodian.approvers),
    )
    request = asked(approval, intent=intent.hash)
    evidence = Evidence(intent, outcome.approvals)
    assert judge(policy, request, (), time.time(), evidence) == Allowed(100)


async def test_another_call_under_an_approved_intent_waits_for_people(approval: Approval) -> None:
    intent = intent_of(CALL)
    async with opened(approval) as custody:
        (ticket,) = await custody.propose([intent])
        assert isinstance(await decision(custody, ticket), Approved)
        await approval.let_nobody_decide()
        for data in (mint(b"o", 101), mint(b"p", 100), CALL + bytes(32)):
            request = asked(approval, intent=intent.hash, data=data)
            assert await is_pending(custody, request)
        elsewhere = asked(approval, intent=intent.hash, to_address=b"x" * 20)
        assert await is_pending(custody, elsewhere)


async def test_an_intent_that_is_no_longer_valid_waits_for_people(approval: Approval) -> None:
    intent = intent_of(CALL)
    async with opened(approval) as custody:
        (ticket,) = await custody.propose([intent])
        assert isinstance(await decision(custody, ticket), Approved)
        await approval.let_nobody_decide()
        approval.clock.ahead_s = LATER_S
        assert await is_pending(custody, asked(approval, intent=intent.hash))


async def test_intents_are_rejected_and_expire_without_a_nonce(approval: Approval) -> None:
    await approval.let_nobody_decide()
    refused, forgotten = intent_of(mint(b"q", 1)), intent_of(mint(b"s", 1))
    async with opened(approval) as custody:
        tickets = await custody.propose([refused, forgotten])
        approval.simulator.custodian.reject(tickets[0], "no")
        assert isinstance(await decision(custody, tickets[0]), Rejected)
        approval.clock.ahead_s = LATER_S
        assert isinstance(await decision(custody, tickets[1]), Expired)


async def test_a_noop_needs_nobody(approval: Approval) -> None:
    await approval.let_nobody_decide()
    filler = noop("filler", approval.address, 31337, 7, max_fee_wei=30, priority_fee_wei=2)
    async with opened(approval) as custody:
        (outcome,) = await sign(custody, [filler])
    assert isinstance(outcome, SignedTransaction)


async def test_the_custodian_has_each_request_once_however_often_it_was_asked(
    approval: Approval,
) -> None:
    requests = [asked(approval) for _ in range(8)]
    async with opened(approval) as first, opened(approval) as second:
        for custody in (first, second, first):
            await custody.submit(requests)
        for request in requests:
            await signed(second, request)
    assert len(approval.simulator.custodian.entries) == len(requests)


async def test_what_waits_is_not_asked_about_all_the_time(approval: Approval) -> None:
    await approval.let_nobody_decide()
    request = asked(approval)
    approval.settings = replace(approval.settings, poll_interval_s=60.0)
    async with opened(approval) as custody:
        assert await is_pending(custody, request)
        for name in APPROVERS:
            approval.simulator.custodian.approve(request.request_id, name)
        assert await is_pending(custody, request)
        headers, raw = callback(request.request_id)
        assert custody.parse_callback(headers, raw) == request.request_id
        await signed(custody, request)


async def test_a_key_that_the_custodian_does_not_know_is_told_and_not_shown(
    approval: Approval,
) -> None:
    settings = replace(approval.settings, api_key=SecretStr("hunter2"))
    with pytest.raises(CustodyAccessError, match=r"signers\.test\.api_key") as refused:
        await ApprovalCustody.open(settings)
    assert "hunter2" not in str(refused.value) + repr(settings)


@pytest.mark.parametrize(
    ("change", "setting"), [({"account": "vault-9"}, "account"), ({"address": TOKEN}, "address")]
)
async def test_another_account_or_address_is_refused(
    approval: Approval, change: dict[str, object], setting: str
) -> None:
    with pytest.raises(CustodyAccessError, match=rf"signers\.test\.{setting}"):
        await ApprovalCustody.open(replace(approval.settings, **change))  # type: ignore[arg-type]


def callback(
    ticket: str, key: bytes = CALLBACK_KEY, at_s: float | None = None
) -> tuple[dict[str, str], bytes]:
    """As Standard Webhooks has it."""
    raw = f'{{"id": "{ticket}", "status": "signed"}}'.encode()
    stamp = str(int(time.time() if at_s is None else at_s))
    mac = hmac.digest(key, b".".join((b"m1", stamp.encode(), raw)), hashlib.sha256)
    return {
        "Webhook-Id": "m1",
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": f"v1,{base64.b64encode(mac).decode()}",
    }, raw


async def test_a_callback_is_believed_by_its_signature_alone(approval: Approval) -> None:
    async with opened(approval) as custody:
        headers, raw = callback("request-1")
        for _ in range(2):
            assert custody.parse_callback(headers, raw) == "request-1"
        for wrong_headers, wrong in (
            (headers, raw.replace(b"request-1", b"request-2")),
            callback("request-1", key=b"x" * 32),
            callback("request-1", at_s=time.time() - 1000),
            ({}, raw),
            (headers, b"x" * 100_000),
        ):
            with pytest.raises(CallbackRefusedError):
                custody.parse_callback(wrong_headers, wrong)


async def test_a_callback_may_be_signed_by_a_public_key(approval: Approval) -> None:
    key = ECC.generate(curve="Ed25519")
    public = key.public_key().export_key(format="raw")
    other = ECC.generate(curve="Ed25519").public_key().export_key(format="raw")
    headers, raw = callback("request-1")
    text = b".".join((b"m1", headers["Webhook-Timestamp"].encode(), raw))
    signature = base64.b64encode(eddsa.new(key, "rfc8032").sign(text)).decode()
    approval.settings = replace(
        approval.settings, callback_keys=(), callback_public_keys=(other, public)
    )
    async with opened(approval) as custody:
        good = {**headers, "Webhook-Signature": f"v1,AAAA v1a,{signature}"}
        assert custody.parse_callback(good, raw) == "request-1"
        for text_ in (f"v1,{signature}", f"v1a,{signature[:-4]}AAA=", "v1a,x", "v1a,"):
            with pytest.raises(CallbackRefusedError):
                custody.parse_callback({**headers, "Webhook-Signature": text_}, raw)
        with pytest.raises(CallbackRefusedError):
            custody.parse_callback(good, raw + b" ")


async def test_callbacks_that_repeat_and_overtake_each_other_change_nothing(
    approval: Approval,
) -> None:
    """Each only says: look. What is seen then is the truth, so the last word is never an old one."""
    heard: list[tuple[dict[str, str], bytes]] = []

    async def hear(request: web.Request) -> web.StreamResponse:
        heard.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    approvers = {name: PrivateKey() for name in APPROVERS}
    custodian = Custodian("vault-1", PrivateKey(), approvers, quorum=2)
    async with listening(hear) as port:
        settings = SimulatorSettings(
            api_key=API_KEY,
            callback_url=f"http://127.0.0.1:{port}/callback",
            callback_key=CALLBACK_KEY,
            callback_spread_s=0.3,
            repeats=4,
            seed=7,
        )
        async with SimulatedCustodian(custodian, settings) as simulator:
            own = Approval.reached_at(simulator, simulator.url)
            custody = await ApprovalCustody.open(own)
            try:
                requests = [replace(asked(approval), signer=custodian.address) for _ in range(6)]
                await custody.submit(requests)
                for request in requests:
                    await signed(custody, request)
                await asyncio.sleep(0.4)
                known = {request.request_id for request in requests}
                for headers, raw in heard:
                    assert custody.parse_callback(headers, raw) in known
                for request in requests:
                    await signed(custody, request)
            finally:
                await custody.close()
    statuses = [raw for _, raw in heard if requests[0].request_id.encode() in raw]
    assert len(statuses) > len(set(statuses)), "some came twice"
    states = [b'"signed"' in raw for _, raw in heard]
    assert states != sorted(states), "some came late"
