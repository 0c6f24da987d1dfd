"""Signatures and keys as hardware and clouds write them, and everything else that looks a little like them."""

import hashlib

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bridge.custody.errors import SignatureUnreadableError
from bridge.custody.signature import (
    HALF_ORDER,
    ORDER,
    Signature,
    address_of,
    finish,
    read_compact,
    read_der,
    read_public_key,
    recover,
)
from tests.unit.bridge.custody.requests_made import KEY, OTHER, SIGNER

DIGEST = hashlib.sha256(b"anything").digest()
POINT = KEY.public_key.format(compressed=False)[1:]
SPKI = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a03420004") + POINT
NUMBERS = st.integers(1, ORDER - 1)


def der(r: int, s: int) -> bytes:
    """As X.690 has it."""
    integers = b""
    for number in (r, s):
        content = number.to_bytes(number.bit_length() // 8 + 1, "big")
        integers += bytes((2, len(content))) + content
    return bytes((0x30, len(integers))) + integers


def numbers(key: PrivateKey = KEY) -> tuple[int, int]:
    compact = key.sign_recoverable(DIGEST, hasher=None)
    return int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:64], "big")


@given(NUMBERS, NUMBERS)
def test_der_and_compact_give_both_numbers_back(r: int, s: int) -> None:
    assert read_der(der(r, s)) == (r, s)
    assert read_compact(r.to_bytes(32, "big") + s.to_bytes(32, "big")) == (r, s)


def test_der_with_leading_zeros_taken_off_is_read() -> None:
    assert read_der(der(1, 2**240)) == (1, 2**240)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        der(5, 6) + b"\0",
        der(5, 6)[:-1],
        b"\x31" + der(5, 6)[1:],
        b"\x30\x81\x06\x02\x01\x05\x02\x01\x06",
        b"\x30\x03\x02\x01\x05",
        b"\x30\x06\x02\x01\x05\x03\x01\x06",
        b"\x30\x06\x02\x01\x85\x02\x01\x06",
        b"\x30\x07\x02\x02\x00\x05\x02\x01\x06",
        b"\x30\x09\x02\x01\x05\x02\x01\x06\x02\x01\x07",
        b"\x30\x06\x02\x00\x02\x02\x01\x06",
        b"\x30\x48" + b"\x02\x22" + b"\x01" * 34 + b"\x02\x22" + b"\x01" * 34,
        b"\x30\x7f" + b"\x02" * 127,
    ],
)
def test_what_is_not_der_is_refused(broken: bytes) -> None:
    with pytest.raises(SignatureUnreadableError):
        read_der(broken)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_der, read_compact, read_public_key):
        try:
            read(data)
        except SignatureUnreadableError:
            continue


def test_a_public_key_is_of_this_curve_or_refused() -> None:
    assert address_of(read_public_key(SPKI)) == SIGNER
    other_curve = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + POINT
    for broken in (other_curve, SPKI[:-1], SPKI + b"\0", POINT):
        with pytest.raises(SignatureUnreadableError):
            read_public_key(broken)


def test_a_high_s_is_turned_over_and_the_parity_with_it() -> None:
    r, s = numbers()
    for given_s in (s, ORDER - s):
        signature = finish(DIGEST, r, given_s, SIGNER)
        assert signature.s == s <= HALF_ORDER
        assert recover(DIGEST, signature) == SIGNER


def test_a_signature_of_somebody_else_or_of_something_else_is_refused() -> None:
    r, s = numbers()
    for digest, signer in ((DIGEST, bytes.fromhex(OTHER.address[2:])), (bytes(32), SIGNER)):
        with pytest.raises(SignatureUnreadableError):
            finish(digest, r, s, signer)


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (2**256, 1)])
def test_numbers_outside_of_the_curve_recover_nobody(r: int, s: int) -> None:
    assert recover(DIGEST, Signature(r, s, 0)) is None
