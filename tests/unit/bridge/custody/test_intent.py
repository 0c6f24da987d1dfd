"""An intent is hashed as wallets hash it, and approvals count for that very hash alone."""

from dataclasses import replace

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data

from bridge.custody.calls import Call, Movement, read_call
from bridge.custody.intent import Approval, Intent, approvers_of, describes, typed_data
from bridge.custody.signature import ORDER
from tests.unit.bridge.custody.requests_made import ACCOUNT, CALL, OTHER, OTHER_KEY, SIGNER, TOKEN

INTENT = Intent.of(31337, TOKEN, read_call(CALL), 1_800_000_000)
APPROVERS = {"first": SIGNER, "second": bytes.fromhex(OTHER.address[2:])}


def by_wallet(intent: Intent, key: bytes) -> bytes:
    """As a wallet signs typed data."""
    signable = encode_typed_data(full_message=typed_data(intent))
    return bytes(Account.sign_message(signable, key).signature)


def approval(intent: Intent, name: str, key: bytes) -> Approval:
    return Approval(name, by_wallet(intent, key))


def test_a_wallet_signs_the_hash_that_we_compute() -> None:
    for intent in (INTENT, replace(INTENT, amount=2**255, valid_until_s=2**63, chain_id=2**53)):
        approvals = [
            approval(intent, "first", ACCOUNT.key),
            approval(intent, "second", OTHER.key),
        ]
        assert approvers_of(intent, approvals, APPROVERS) == {"first", "second"}


@pytest.mark.parametrize(
    "other",
    [
        replace(INTENT, chain_id=1),
        replace(INTENT, token=b"u" * 20),
        replace(INTENT, function="mintBatch"),
        replace(INTENT, ids_digest=bytes(32)),
        replace(INTENT, count=2),
        replace(INTENT, amount=INTENT.amount + 1),
        replace(INTENT, valid_until_s=INTENT.valid_until_s + 1),
    ],
)
def test_an_approval_of_another_intent_counts_for_nothing(other: Intent) -> None:
    assert other.hash != INTENT.hash
    assert approvers_of(other, [approval(INTENT, "first", ACCOUNT.key)], APPROVERS) == frozenset()


def test_only_a_named_approver_counts_and_each_once() -> None:
    good = approval(INTENT, "first", ACCOUNT.key)
    assert approvers_of(INTENT, [good, good], APPROVERS) == {"first"}
    for wrong in (
        replace(good, approver="second"),
        replace(good, approver="nobody"),
        approval(INTENT, "first", OTHER.key),
        Approval("first", b""),
        Approval("first", bytes(65)),
        Approval("first", good.signature[:64] + b"\x1d"),
        Approval("first", good.signature + b"\0"),
    ):
        assert approvers_of(INTENT, [wrong], APPROVERS) == frozenset(), wrong


def test_a_signature_that_was_turned_over_is_not_another_one() -> None:
    signature = by_wallet(INTENT, ACCOUNT.key)
    s = ORDER - int.from_bytes(signature[32:64], "big")
    turned = signature[:32] + s.to_bytes(32, "big") + bytes((signature[64] ^ 7,))
    assert approvers_of(INTENT, [Approval("first", turned)], APPROVERS) == frozenset()


def test_parity_may_be_written_either_way() -> None:
    compact = PrivateKey(OTHER_KEY.secret).sign_recoverable(INTENT.hash, hasher=None)
    assert approvers_of(INTENT, [Approval("second", compact)], APPROVERS) == {"second"}


def test_an_intent_describes_one_call_no_more_and_no_less() -> None:
    call = read_call(CALL)
    assert describes(INTENT, 31337, TOKEN, call)
    assert not describes(INTENT, 1, TOKEN, call)
    assert not describes(INTENT, 31337, b"u" * 20, call)
    for other in (
        replace(call, ids=(*call.ids, b"2" * 32)),
        replace(call, movements=(*call.movements, Movement(b"a" * 20, 1))),
        replace(call, function="mintBatch"),
        Call("mint"),
    ):
        assert not describes(INTENT, 31337, TOKEN, other)
