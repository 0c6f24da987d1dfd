"""Nothing that custody returns is believed: each field, its encoding, the sender, and the s are checked."""

from typing import Any

import pytest
import rlp
from eth_account.signers.local import LocalAccount

from bridge.custody.errors import SignatureRefusedError
from bridge.custody.protocol import SignRequest
from bridge.custody.signature import ORDER
from bridge.custody.verification import MAX_RAW_BYTES, verify
from indexer.keccak import keccak
from tests.unit.bridge.custody.requests_made import (
    ACCOUNT,
    CALL,
    LEGACY,
    OTHER,
    REQUEST,
    fields_of,
    signed_by,
)

BOTH = pytest.mark.parametrize("request_", [REQUEST, LEGACY], ids=["1559", "legacy"])


@BOTH
def test_what_was_asked_for_is_taken_with_its_hash(request_: SignRequest) -> None:
    raw = signed_by(ACCOUNT, request_)
    signed = verify(request_, raw)
    assert signed.raw == raw
    assert signed.hash == bytes(ACCOUNT.sign_transaction(fields_of(request_)).hash) == keccak(raw)


TAMPERED = [
    ("chainId", 1),
    ("nonce", 4),
    ("to", b"u" * 20),
    ("value", 1),
    ("data", CALL + b"\0"),
    ("data", b""),
    ("gas", 100_001),
]
FEES = [
    (REQUEST, "maxFeePerGas", 21),
    (REQUEST, "maxPriorityFeePerGas", 1),
    (LEGACY, "gasPrice", 21),
]
ACCESS: list[dict[str, Any]] = [{"address": "0x" + "11" * 20, "storageKeys": []}]


@pytest.mark.parametrize(
    ("request_", "field", "value"),
    [
        *((request, *change) for request in (REQUEST, LEGACY) for change in TAMPERED),
        *FEES,
        (REQUEST, "accessList", ACCESS),
    ],
)
def test_a_tampered_field_is_refused_by_its_name(
    request_: SignRequest, field: str, value: Any
) -> None:
    with pytest.raises(SignatureRefusedError, match=f"another {field} than was asked for"):
        verify(request_, signed_by(ACCOUNT, request_, **{field: value}))


@BOTH
@pytest.mark.parametrize("account", [OTHER], ids=["other"])
def test_another_key_is_refused(request_: SignRequest, account: LocalAccount) -> None:
    with pytest.raises(SignatureRefusedError, match="another key"):
        verify(request_, signed_by(account, request_))


def test_another_type_is_refused() -> None:
    for request, other in ((REQUEST, LEGACY), (LEGACY, REQUEST)):
        with pytest.raises(SignatureRefusedError, match="what custody returned"):
            verify(request, signed_by(ACCOUNT, other))


def test_a_signature_without_a_chain_id_is_refused() -> None:
    """Before EIP-155 a transaction was valid on every chain."""
    items = rlp.decode(signed_by(ACCOUNT, LEGACY))
    for v in (b"\x1b", b"\x1c"):
        with pytest.raises(SignatureRefusedError, match="another chainId"):
            verify(LEGACY, rlp.encode([*items[:-3], v, *items[-2:]]))


@BOTH
@pytest.mark.parametrize(
    "rubbish",
    [
        *(b"", b"\x02", b"\x02\xc0", b"\xc0", b"\x7f" * 100, b"\x02" + b"\xff" * 50, b"\xff" * 50),
        *(
            b"\x02\xf8",
            b"\xf8",
            b"\x02\xf8\x01",
            b"\x02\x80",
            b"\x80",
            b"\x02" + rlp.encode([[]] * 12),
        ),
        *(rlp.encode([b"\x01"] * 9), b"\x02" + rlp.encode([b"\x01"] * 12)),
    ],
)
def test_rubbish_is_refused(request_: SignRequest, rubbish: bytes) -> None:
    with pytest.raises(SignatureRefusedError):
        verify(request_, rubbish)


@BOTH
def test_every_prefix_and_every_longer_answer_is_refused(request_: SignRequest) -> None:
    raw = signed_by(ACCOUNT, request_)
    for length in range(len(raw)):
        with pytest.raises(SignatureRefusedError):
            verify(request_, raw[:length])
    with pytest.raises(SignatureRefusedError):
        verify(request_, raw + b"\0")
    with pytest.raises(SignatureRefusedError, match="at most"):
        verify(request_, raw + bytes(MAX_RAW_BYTES))


@BOTH
def test_every_changed_byte_is_refused(request_: SignRequest) -> None:
    raw = signed_by(ACCOUNT, request_)
    for place in range(len(raw)):
        for flip in (0x01, 0x80):
            changed = bytearray(raw)
            changed[place] ^= flip
            with pytest.raises(SignatureRefusedError):
                verify(request_, bytes(changed))


@BOTH
def test_a_high_s_is_refused(request_: SignRequest) -> None:
    raw = signed_by(ACCOUNT, request_)
    is_typed = raw[0] == 2
    items = rlp.decode(raw[1:] if is_typed else raw)
    high = ORDER - int.from_bytes(items[-1], "big")
    v = int.from_bytes(items[-3], "big")
    other = v ^ 1 if is_typed else v + (1 if v % 2 else -1)
    flipped = [
        *items[:-3],
        other.to_bytes((other.bit_length() + 7) // 8, "big"),
        items[-2],
        high.to_bytes(32, "big"),
    ]
    with pytest.raises(SignatureRefusedError, match="high s"):
        verify(request_, (b"\x02" if is_typed else b"") + rlp.encode(flipped))


@pytest.mark.parametrize("place", [-1, -2, -3, 1, 4])
def test_a_number_with_a_needless_zero_is_refused(place: int) -> None:
    items = rlp.decode(signed_by(ACCOUNT, REQUEST)[1:])
    items[place] = b"\0" + items[place]
    with pytest.raises(SignatureRefusedError):
        verify(REQUEST, b"\x02" + rlp.encode(items))


@pytest.mark.parametrize("r", [0, ORDER, ORDER + 1, 2**256 - 1, 5])
def test_numbers_that_are_no_signature_are_refused(r: int) -> None:
    items = rlp.decode(signed_by(ACCOUNT, REQUEST)[1:])
    items[-2] = r.to_bytes((r.bit_length() + 7) // 8, "big")
    with pytest.raises(SignatureRefusedError):
        verify(REQUEST, b"\x02" + rlp.encode(items))


def test_a_length_that_is_written_too_long_is_refused() -> None:
    raw = signed_by(ACCOUNT, REQUEST)
    body = raw[3 + raw[1] - 0xF8 :]
    longer = b"\x02\xfa\x00" + len(body).to_bytes(2, "big") + body
    with pytest.raises(SignatureRefusedError):
        verify(REQUEST, longer)
