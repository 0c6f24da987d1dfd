"""Checks what custody gave back, field by field, before it may be journalled. Pure.

Every field is compared as it is encoded, so a number with a needless zero, or a length that is written longer than
it must be, is another field than the one that was asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from bridge.custody.errors import SignatureRefusedError
from bridge.custody.protocol import SignRequest
from bridge.custody.signature import HALF_ORDER, Signature, recover
from bridge.custody.transaction import (
    NAMES_LEGACY,
    NAMES_TYPE_2,
    TYPE_2,
    V_OFFSET,
    digest,
    items,
    number,
)
from indexer import rlp
from indexer.keccak import keccak

MAX_RAW_BYTES: Final = 128 * 1024
_SIGNATURE_ITEMS: Final = 3


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes that are safe to journal, and their transaction hash."""

    raw: bytes
    hash: bytes


def verify(request: SignRequest, raw: bytes) -> SignedTransaction:
    """The signed transaction, if it is exactly the request, by its signer, with a low s.

    Raises :class:`SignatureRefusedError` naming the first difference.
    """
    if len(raw) > MAX_RAW_BYTES:
        raise SignatureRefusedError(
            f"custody returned {len(raw)} bytes, at most {MAX_RAW_BYTES} are taken"
        )
    is_legacy = request.priority_fee_wei is None
    given = _read(raw, is_legacy=is_legacy)
    names = NAMES_LEGACY if is_legacy else NAMES_TYPE_2
    if len(given) != len(names) + _SIGNATURE_ITEMS:
        _refuse("has another number of fields than such a transaction")
    wanted = items(request)
    for name, one, other in zip(names, wanted, given, strict=False):
        if one != other:
            raise SignatureRefusedError(f"custody returned another {name} than was asked for")
    signature = _signature(request, *given[-_SIGNATURE_ITEMS:])
    if signature.s > HALF_ORDER:
        raise SignatureRefusedError("custody returned a signature with a high s")
    if recover(digest(request, wanted), signature) != request.signer:
        raise SignatureRefusedError("custody signed with another key")
    return SignedTransaction(raw, keccak(raw))


def _read(raw: bytes, *, is_legacy: bool) -> list[bytes]:
    """The fields of a transaction, each as it is encoded."""
    if not is_legacy:
        if not raw.startswith(TYPE_2):
            _refuse("is of another type than was asked for")
        raw = raw[1:]
    kind, start, end = _extent(raw, 0)
    if kind != rlp.LIST or end != len(raw) or raw[:start] != rlp.head(rlp.LIST, end - start):
        _refuse("is no list of fields, written as lists are")
    return list(_split(raw[start:]))


def _split(payload: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(payload):
        _, _, end = _extent(payload, place)
        yield payload[place:end]
        place = end


def _extent(data: bytes, place: int) -> tuple[int, int, int]:
    """What stands at a place: string or list, where its content begins, where it ends."""
    if place >= len(data):
        _refuse("ends too early")
    first = data[place]
    if first < rlp.STRING:
        return rlp.STRING, place, place + 1
    kind = rlp.LIST if first >= rlp.LIST else rlp.STRING
    length, start = first - kind, place + 1
    if length >= rlp.LONG_BYTES:
        start += length - rlp.LONG_BYTES + 1
        length = int.from_bytes(data[place + 1 : start], "big")
    if start + length > len(data):
        _refuse("ends too early")
    return kind, start, start + length


def _signature(request: SignRequest, v: bytes, r: bytes, s: bytes) -> Signature:
    parity = _number(v)
    if request.priority_fee_wei is None:
        parity -= 2 * request.chain_id + V_OFFSET
        if parity not in (0, 1):
            raise SignatureRefusedError("custody returned another chainId than was asked for")
    elif parity not in (0, 1):
        _refuse("has a parity that is neither 0 nor 1")
    return Signature(_number(r), _number(s), parity)


def _number(item: bytes) -> int:
    """A number of at most 32 bytes, encoded without needless zeros."""
    kind, start, end = _extent(item, 0)
    value = int.from_bytes(item[start:end], "big")
    if kind != rlp.STRING or end - start > 32 or number(value) != item:
        _refuse("has a signature that is not written as numbers are")
    return value


def _refuse(why: str) -> NoReturn:
    raise SignatureRefusedError(f"what custody returned {why}")
