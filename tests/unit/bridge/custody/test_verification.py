"""Nothing that custody returns is believed: each field, the sender, and the s are checked."""

from dataclasses import replace
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount

from bridge.calldata import Mint
from bridge.custody.keystore import KeystoreCustody
from bridge.custody.protocol import Rejected, Signed, SignRequest, Unknown
from bridge.custody.verification import SignatureRefusedError, verify
from bridge.errors import Fatal

KEY: LocalAccount = Account.from_key("0x" + "4c" * 32)
OTHER: LocalAccount = Account.from_key("0x" + "5d" * 32)
CALL = Mint(b"o" * 32, b"w" * 20, 100, b"r" * 32, 1_800_000_000).encode()
REQUEST = SignRequest(
    request_id="1:aa:0:1",
    signer=bytes.fromhex(KEY.address[2:]),
    chain_id=31337,
    nonce=3,
    to_address=b"t" * 20,
    data=CALL,
    gas_limit=100_000,
    max_fee_wei=20,
    priority_fee_wei=2,
)


def _raw(account: LocalAccount = KEY, **changes: Any) -> bytes:
    return bytes(account.sign_transaction({**_fields(), **changes}).raw_transaction)


async def test_a_keystore_signs_exactly_what_it_was_asked() -> None:
    custody = KeystoreCustody(KEY)
    outcome = await custody.poll(await custody.submit(REQUEST))
    assert isinstance(outcome, Signed)
    signed = verify(REQUEST, outcome.raw)
    assert signed.raw == outcome.raw
    assert signed.hash == bytes(KEY.sign_transaction(_fields()).hash)


def _fields() -> dict[str, Any]:
    return {
        "type": 2,
        "chainId": 31337,
        "nonce": 3,
        "to": b"t" * 20,
        "value": 0,
        "data": CALL,
        "gas": 100_000,
        "maxFeePerGas": 20,
        "maxPriorityFeePerGas": 2,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"chainId": 1},
        {"nonce": 4},
        {"to": b"u" * 20},
        {"value": 1},
        {"data": CALL + b"\0"},
        {"gas": 100_001},
        {"maxFeePerGas": 21},
        {"maxPriorityFeePerGas": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_tampered_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureRefusedError):
        verify(REQUEST, _raw(**change))


def test_another_key_is_refused() -> None:
    with pytest.raises(SignatureRefusedError, match="another key"):
        verify(REQUEST, _raw(OTHER))


@pytest.mark.parametrize(
    "rubbish", [b"", b"\x02", b"\x02\xc0", b"\x7f" * 100, b"\x02" + b"\xff" * 50]
)
def test_rubbish_is_refused(rubbish: bytes) -> None:
    with pytest.raises(SignatureRefusedError):
        verify(REQUEST, rubbish)


def test_a_high_s_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    items = rlp.decode(_raw()[1:])
    high = order - int.from_bytes(items[-1], "big")
    parity = b"" if items[-3] == b"\x01" else b"\x01"
    flipped = [*items[:-3], parity, items[-2], high.to_bytes(32, "big")]
    with pytest.raises(SignatureRefusedError, match=r"high s|no readable"):
        verify(REQUEST, b"\x02" + rlp.encode(flipped))


async def test_a_request_id_names_one_payload_for_ever() -> None:
    custody = KeystoreCustody(KEY)
    await custody.submit(REQUEST)
    with pytest.raises(Fatal, match="another payload"):
        await custody.submit(replace(REQUEST, nonce=4))


async def test_a_keystore_refuses_to_sign_for_another_key() -> None:
    custody = KeystoreCustody(OTHER)
    assert isinstance(await custody.poll(await custody.submit(REQUEST)), Rejected)
    assert isinstance(await custody.poll("never heard of"), Unknown)


def test_the_key_is_in_no_repr() -> None:
    assert KEY.key.hex() not in repr(KeystoreCustody(KEY))
