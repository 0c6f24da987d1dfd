"""Solidity's value types: how a 32-byte word or a tail becomes a value, and in which column. Pure.

Only the canonical encoding is read: unused bytes of a word and the padding of a tail must be zero
(for negative numbers, the sign), as every compiler writes them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

Value: TypeAlias = bytes | bool | int | str
Reader: TypeAlias = Callable[[bytes], Value]

WORD_BYTES: Final = 32
ADDRESS_BYTES: Final = 20
NUMBERED: Final = re.compile(r"(uint|int|bytes)([1-9][0-9]{0,2})\Z")


class MisfitError(ValueError):
    """Bytes that are no value of the type; the text says why."""


@dataclass(frozen=True, slots=True)
class SolidityType:
    """``length_bytes`` is set where the column's bytea has one length. The word of an ``in_tail`` type
    holds the offset of its value, and ``read`` takes the value's bytes without length and padding."""

    name: str
    pg_type: str
    read: Reader
    in_tail: bool = False
    length_bytes: int | None = None


def solidity_type(name: str) -> SolidityType | None:
    """The type of that ABI name; None if it is not supported."""
    if name in SIMPLE:
        return SIMPLE[name]
    match = NUMBERED.match(name)
    if match is None:
        return None
    family, size = match[1], int(match[2])
    if family == "bytes":
        if size > WORD_BYTES:
            return None
        return SolidityType(name, "bytea", _fixed_bytes(size), length_bytes=size)
    if size % 8 or size > 256:
        return None
    return SolidityType(name, "numeric(78,0)", _uint(size) if family == "uint" else _int(size))


def tail(data: bytes, word: bytes) -> bytes:
    """The bytes of a dynamic value whose head word is ``word``; raises :class:`MisfitError`."""
    offset = int.from_bytes(word, "big")
    if offset + WORD_BYTES > len(data):
        raise MisfitError(f"its offset {offset} is past the end of {len(data)} bytes")
    start = offset + WORD_BYTES
    length = int.from_bytes(data[offset:start], "big")
    padded = -(-length // WORD_BYTES) * WORD_BYTES
    if start + padded > len(data):
        raise MisfitError(f"its length {length} is past the end of {len(data)} bytes")
    if any(data[start + length : start + padded]):
        raise MisfitError("its padding is not zero")
    return data[start : start + length]


def _address(word: bytes) -> bytes:
    return _clean(word, WORD_BYTES - ADDRESS_BYTES, "address")


def _hash(word: bytes) -> bytes:
    return word


def _bool(word: bytes) -> bool:
    number = int.from_bytes(word, "big")
    if number > 1:
        raise MisfitError("it is neither 0 nor 1, as a bool is")
    return number == 1


def _bytes(value: bytes) -> bytes:
    return value


def _string(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise MisfitError("it is not UTF-8") from error
    if "\0" in text:
        raise MisfitError("it has a NUL, which Postgres does not store in text")
    return text


def _clean(word: bytes, unused: int, name: str) -> bytes:
    if any(word[:unused]):
        raise MisfitError(f"it is longer than its type {name}")
    return word[unused:]


def _fixed_bytes(size: int) -> Reader:
    def read(word: bytes) -> bytes:
        if any(word[size:]):
            raise MisfitError(f"it is longer than its type bytes{size}")
        return word[:size]

    return read


def _uint(bits: int) -> Reader:
    def read(word: bytes) -> int:
        number = int.from_bytes(word, "big")
        if number >> bits:
            raise MisfitError(f"it is larger than its type uint{bits}")
        return number

    return read


def _int(bits: int) -> Reader:
    bound = 1 << (bits - 1)

    def read(word: bytes) -> int:
        number = int.from_bytes(word, "big", signed=True)
        if not -bound <= number < bound:
            raise MisfitError(f"it is outside its type int{bits}")
        return number

    return read


# What an indexed string or bytes leaves in the topics: its hash.
HASHED: Final = SolidityType("hash", "bytea", _hash, length_bytes=WORD_BYTES)
SIMPLE: Final = {
    "address": SolidityType("address", "bytea", _address, length_bytes=ADDRESS_BYTES),
    "bool": SolidityType("bool", "boolean", _bool),
    "bytes": SolidityType("bytes", "bytea", _bytes, in_tail=True),
    "string": SolidityType("string", "text", _string, in_tail=True),
}
