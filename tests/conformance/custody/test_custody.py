"""What every signer must do, whatever holds its key."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import rlp
from coincurve import PrivateKey

from bridge.calldata import Mint
from bridge.custody.errors import (
    CallbackRefusedError,
    CustodyUnavailableError,
    RequestConflictError,
    SignatureRefusedError,
)
from bridge.custody.keystore import KeystoreCustody
from bridge.custody.protocol import (
    Custody,
    Expired,
    Outcome,
    Pending,
    Rejected,
    Signed,
    SignRequest,
    Unknown,
)
from bridge.custody.signature import HALF_ORDER, ORDER
from bridge.custody.signing import Verified, sign
from bridge.custody.transaction import noop
from bridge.custody.verification import SignedTransaction
from bridge.errors import Fatal, Retryable
from daemon.embedded.anvil import DEFAULT_CHAIN_ID, Anvil
from tests.conformance.custody.subjects import TIMEOUT_S, Meddler, Subject

pytestmark = pytest.mark.asyncio(loop_scope="session")

GWEI = 10**9
CALL = Mint(b"o" * 32, b"w" * 20, 100, b"r" * 32, 1_800_000_000).encode()
PATIENCE_S = 60.0
ids = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def custody(subject: Subject) -> AsyncIterator[Custody]:
    opened = await subject.open()
    yield opened
    await subject.heal()
    await opened.close()


def asked(subject: Subject, **changes: Any) -> SignRequest:
    """A request under an id that was not used before."""
    request = SignRequest(
        request_id=f"request-{next(ids)}",
        signer=subject.address,
        chain_id=DEFAULT_CHAIN_ID,
        nonce=0,
        to_address=b"t" * 20,
        data=CALL,
        gas_limit=100_000,
        max_fee_wei=20 * GWEI,
        priority_fee_wei=GWEI,
    )
    return replace(request, **changes)


async def decided(custody: Custody, requests: Sequence[SignRequest]) -> list[Verified]:
    """What became of each, once it is known: what is not is asked for again."""
    found: dict[str, Verified] = {}
    async with asyncio.timeout(PATIENCE_S):
        while left := [one for one in requests if one.request_id not in found]:
            outcomes = await sign(custody, left)
            found |= {
                request.request_id: outcome
                for request, outcome in zip(left, outcomes, strict=True)
                if not isinstance(outcome, Pending | Unknown)
            }
            await asyncio.sleep(0.02 if len(found) < len(requests) else 0)
    return [found[request.request_id] for request in requests]


async def told(custody: Custody, ticket: str) -> Outcome:
    """The same of one ticket, unverified."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (outcome,) = await custody.poll([ticket])
            if not isinstance(outcome, Pending):
                return outcome
            await asyncio.sleep(0.02)


async def signed(custody: Custody, request: SignRequest) -> SignedTransaction:
    (outcome,) = await decided(custody, [request])
    assert isinstance(outcome, SignedTransaction), outcome
    return outcome


async def test_it_is_the_key_that_it_says_it_is(subject: Subject, custody: Custody) -> None:
    assert await custody.identity() == subject.address
    health = await custody.health()
    assert health.ok, health.detail
    assert not custody.capabilities.broadcasts
    assert custody.capabilities.max_signatures_per_s > 0
    assert (custody.approving is not None) == custody.capabilities.approval


async def test_what_it_signs_the_chain_takes(
    subject: Subject, custody: Custody, signing_chain: Anvil
) -> None:
    """Both kinds of transaction, and noops of both."""
    await signing_chain.rpc("anvil_setBalance", f"0x{subject.address.hex()}", hex(10**20))
    address = f"0x{subject.address.hex()}"
    first = int(await signing_chain.rpc("eth_getTransactionCount", address, "latest"), 16)
    requests = [
        asked(subject, nonce=first),
        asked(subject, nonce=first + 1, priority_fee_wei=None),
        *(
            noop(
                f"noop-{next(ids)}",
                subject.address,
                DEFAULT_CHAIN_ID,
                first + 2 + place,
                max_fee_wei=20 * GWEI,
                priority_fee_wei=priority_fee_wei,
            )
            for place, priority_fee_wei in enumerate((GWEI, None))
        ),
    ]
    for outcome in await decided(custody, requests):
        assert isinstance(outcome, SignedTransaction), outcome
        tx_hash = await signing_chain.rpc("eth_sendRawTransaction", f"0x{outcome.raw.hex()}")
        assert tx_hash == f"0x{outcome.hash.hex()}"
    await signing_chain.mine()
    for outcome in await decided(custody, requests):
        if isinstance(outcome, SignedTransaction):
            sender = await signing_chain.rpc("eth_getTransactionByHash", f"0x{outcome.hash.hex()}")
            assert sender is None or sender["from"].lower() == address
    after = int(await signing_chain.rpc("eth_getTransactionCount", address, "latest"), 16)
    assert after == first + len(requests)


async def test_many_are_signed_in_one_await_each_in_its_place(
    subject: Subject, custody: Custody
) -> None:
    requests = [asked(subject, nonce=nonce) for nonce in range(60)]
    outcomes = await decided(custody, requests)
    assert all(isinstance(one, SignedTransaction) for one in outcomes)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 1},
        {"nonce": 4},
        {"to_address": b"u" * 20},
        {"data": CALL[:-1] + b"\1"},
        {"data": b""},
        {"gas_limit": 100_001},
        {"max_fee_wei": 21 * GWEI},
        {"priority_fee_wei": GWEI - 1},
        {"priority_fee_wei": None},
    ],
    ids=str,
)
async def test_something_else_that_it_signed_is_refused(
    subject: Subject, custody: Custody, change: dict[str, Any]
) -> None:
    if change.get("chain_id") == 1 and type(subject).__name__ == "Remote":
        change = {"nonce": 5}  # Anvil signs for its own chain only
    meddler = Meddler(custody, request=change)
    with pytest.raises(SignatureRefusedError) as refused:
        await decided(meddler, [asked(subject)])
    assert isinstance(refused.value, Fatal)


async def test_what_another_key_signed_is_refused(subject: Subject, custody: Custody) -> None:
    other = KeystoreCustody(PrivateKey())
    request = asked(subject)
    (foreign,) = await other.poll(
        await other.submit([replace(request, signer=await other.identity())])
    )
    meddler = Meddler(custody, outcome=lambda _: foreign)
    with pytest.raises(SignatureRefusedError, match="another key"):
        await decided(meddler, [request])


def turned_over(outcome: Outcome) -> Outcome:
    """The same signature with the other s, which is as valid."""
    if not isinstance(outcome, Signed):
        return outcome
    items = rlp.decode(outcome.raw[1:])
    s = int.from_bytes(items[-1], "big")
    assert s <= HALF_ORDER, "what comes from a backend has a low s already"
    parity = b"" if items[-3] == b"\x01" else b"\x01"
    high = (ORDER - s).to_bytes(32, "big")
    return Signed(b"\x02" + rlp.encode([*items[:-3], parity, items[-2], high]))


async def test_a_high_s_is_refused(subject: Subject, custody: Custody) -> None:
    meddler = Meddler(custody, outcome=turned_over)
    with pytest.raises(SignatureRefusedError, match="high s"):
        await decided(meddler, [asked(subject)])


@pytest.mark.parametrize("rubbish", [b"", b"\x02", b"\x30\x06\x02\x01\x05\x02\x01\x06", bytes(70)])
async def test_what_is_no_transaction_is_refused(
    subject: Subject, custody: Custody, rubbish: bytes
) -> None:
    meddler = Meddler(
        custody, outcome=lambda one: Signed(rubbish) if isinstance(one, Signed) else one
    )
    with pytest.raises(SignatureRefusedError):
        await decided(meddler, [asked(subject)])


async def test_numbers_with_leading_zeros_are_written_as_numbers_are(
    subject: Subject, custody: Custody
) -> None:
    """One of 128 signatures has an r or an s that is shorter than 32 bytes."""
    for start in range(0, 6000, 60):
        requests = [asked(subject, nonce=start + place) for place in range(60)]
        for outcome in await decided(custody, requests):
            assert isinstance(outcome, SignedTransaction), outcome
            if min(map(len, rlp.decode(outcome.raw[1:])[-2:])) < 32:
                return
    pytest.fail("none of 6000 signatures was short")


async def test_the_same_request_again_is_the_same_ticket(
    subject: Subject, custody: Custody
) -> None:
    request = asked(subject)
    tickets = await custody.submit([request])
    assert await custody.submit([request, request]) == tickets * 2
    first = await signed(custody, request)
    again = await signed(custody, request)
    assert rlp.decode(first.raw[1:])[:9] == rlp.decode(again.raw[1:])[:9]


async def test_another_payload_under_a_known_id_is_refused_before_and_after_it_was_signed(
    subject: Subject, custody: Custody
) -> None:
    request = asked(subject)
    other = replace(request, nonce=request.nonce + 1)
    await custody.submit([request])
    for _ in range(2):
        with pytest.raises(RequestConflictError) as refused:
            await custody.submit([other])
        assert isinstance(refused.value, Fatal)
        await signed(custody, request)


async def test_a_ticket_that_was_never_given_is_unknown(custody: Custody) -> None:
    assert isinstance(await told(custody, "never-heard-of"), Unknown)


async def test_what_shall_be_signed_by_another_key_is_rejected(
    subject: Subject, custody: Custody
) -> None:
    wanted, foreign = asked(subject), asked(subject, signer=b"x" * 20)
    outcomes = await decided(custody, [foreign, wanted])
    assert isinstance(outcomes[0], Rejected)
    assert isinstance(outcomes[1], SignedTransaction), "one says nothing about the others"


async def test_a_slow_one_is_waited_for(subject: Subject, custody: Custody) -> None:
    await subject.slow(0.2)
    await signed(custody, asked(subject))


async def test_one_that_hangs_is_given_up_in_time_and_signs_later(
    subject: Subject, custody: Custody
) -> None:
    request = asked(subject)
    await subject.hang()
    began_s = time.monotonic()
    assert await is_unknown(custody, request)
    assert time.monotonic() - began_s < 10 * TIMEOUT_S
    await subject.heal()
    await until_it_answers(custody)
    await signed(custody, request)


async def test_whatever_hangs_is_given_up(subject: Subject, custody: Custody) -> None:
    """Even if a backend forgot to bound itself."""

    class Forgetful(Meddler):
        async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
            await asyncio.Event().wait()
            return []

    with pytest.raises(CustodyUnavailableError, match=r"0\.1 s"):
        await sign(Forgetful(custody), [asked(subject)], timeout_s=0.1)


async def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_id(
    subject: Subject, custody: Custody
) -> None:
    request = asked(subject)
    await subject.lose_answers()
    assert await is_unknown(custody, request)
    await subject.heal()
    await until_it_answers(custody)
    with pytest.raises(RequestConflictError):
        await decided(custody, [replace(request, nonce=9)])
    await signed(custody, request)


async def is_unknown(custody: Custody, request: SignRequest) -> bool:
    """Whether it cannot be said what became of it, which is something to try again."""
    try:
        (outcome,) = await sign(custody, [request])
    except CustodyUnavailableError as error:
        return isinstance(error, Retryable)
    return isinstance(outcome, Unknown)


async def until_it_answers(custody: Custody) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (await custody.health()).ok:
                return
            await asyncio.sleep(0.05)


async def test_a_restart_between_asking_and_looking_loses_nothing(subject: Subject) -> None:
    request = asked(subject)
    before = await subject.open()
    (ticket,) = await before.submit([request])
    await before.close()
    after = await subject.open()
    try:
        outcome = await told(after, ticket)
        assert isinstance(outcome, Signed | Unknown)
        await signed(after, request)
    finally:
        await after.close()


async def test_what_nobody_decides_or_comes_back_for_expires(
    subject: Subject, custody: Custody
) -> None:
    request = asked(subject)
    await subject.let_nobody_decide()
    (ticket,) = await custody.submit([request])
    await subject.let_expire(custody)
    assert isinstance(await told(custody, ticket), Expired)


async def test_what_is_cancelled_in_time_is_never_signed(
    subject: Subject, custody: Custody
) -> None:
    request = asked(subject)
    await subject.let_nobody_decide()
    (ticket,) = await custody.submit([request])
    assert await custody.cancel(ticket)
    for _ in range(2):
        (outcome,) = await decided(custody, [request])
        assert isinstance(outcome, Rejected)
    assert not await custody.cancel("never-heard-of")


async def test_a_callback_that_nobody_signed_is_refused(custody: Custody) -> None:
    with pytest.raises(CallbackRefusedError):
        custody.parse_callback({}, b'{"id": "request-1"}')


async def test_one_that_is_away_is_told_by_its_health(subject: Subject, custody: Custody) -> None:
    await subject.hang()
    if (await custody.health()).ok:
        assert type(subject).__name__ in ("Keystore", "Pkcs11"), "there is nobody who could be away"


async def test_it_may_be_closed_twice(subject: Subject) -> None:
    custody = await subject.open()
    await custody.close()
    await custody.close()
