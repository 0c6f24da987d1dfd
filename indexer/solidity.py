"""Solidity's types, as an ABI names them, and what of Postgres holds each. Pure, and plain data.

A number is a ``numeric``, exact in every width; what is bytes in Solidity is ``bytea``. A one-dimensional
array of elementary values is a native array; whatever is deeper is ``jsonb``. How values are read is said
in ``indexer/encoder.py`` and ``indexer/tail.py``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

WORD_BYTES: Final = 32
ADDRESS_BYTES: Final = 20
FUNCTION_BYTES: Final = 24
NUMERIC_DIGITS: Final = 78
MAX_DECIMALS: Final = 80
# Deeper than any compiler gets, and so shallow that no value of it can exhaust the stack.
MAX_NESTING: Final = 32
MAX_NAME_CHARACTERS: Final = 1_000
# A longer log than any chain has gas for.
MAX_ARRAY_BYTES: Final = 1 << 30

NUMBER: Final = re.compile(r"(u?int)([1-9][0-9]{0,2})\Z")
FIXED_POINT: Final = re.compile(r"(u?fixed)([1-9][0-9]{0,2})x(0|[1-9][0-9]?)\Z")
FIXED_BYTES: Final = re.compile(r"bytes([1-9][0-9]?)\Z")
ARRAY: Final = re.compile(r"(.+)\[([1-9][0-9]{0,77})?\]\Z", re.DOTALL)
ALIASES: Final = {
    "uint": "uint256",
    "int": "int256",
    "fixed": "fixed128x18",
    "ufixed": "ufixed128x18",
    "byte": "bytes1",
    "address payable": "address",
}


class MisfitError(ValueError):
    """A log that does not fit its event; the text says why, in printable ASCII of bounded length."""


class TypeUnknownError(ValueError):
    """What is no type of Solidity's; the text says why."""


class Family(Enum):
    """What the elementary types are made of."""

    NUMBER = auto()
    BOOL = auto()
    ADDRESS = auto()
    FIXED_BYTES = auto()
    BYTES = auto()
    STRING = auto()


@dataclass(frozen=True, slots=True)
class Elementary:
    """A value of one word or, if ``is_dynamic``, one run of bytes.

    ``name`` is canonical (``uint256``, never ``uint``). ``bits``, ``signed`` and ``decimals`` are a
    number's; ``length_bytes`` is set where the bytes have one length.
    """

    name: str
    family: Family
    bits: int = 0
    signed: bool = False
    decimals: int = 0
    length_bytes: int | None = None

    @property
    def is_dynamic(self) -> bool:
        return self.family in (Family.BYTES, Family.STRING)

    @property
    def head_bytes(self) -> int:
        return WORD_BYTES

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest number, before ``decimals`` are split off."""
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1

    @property
    def pg_type(self) -> str:
        if self.family is Family.NUMBER:
            return f"numeric({max(NUMERIC_DIGITS, self.decimals)},{self.decimals})"
        return PG_TYPES.get(self.family, "bytea")


@dataclass(frozen=True, slots=True)
class Array:
    """``length`` is None for an array that tells its own."""

    element: "SolidityType"
    length: int | None

    @property
    def name(self) -> str:
        return f"{self.element.name}[{'' if self.length is None else self.length}]"

    @property
    def is_dynamic(self) -> bool:
        return self.length is None or self.element.is_dynamic

    @property
    def head_bytes(self) -> int:
        if self.length is None or self.is_dynamic:
            return WORD_BYTES
        return self.length * self.element.head_bytes

    @property
    def pg_type(self) -> str:
        return f"{self.element.pg_type}[]" if isinstance(self.element, Elementary) else "jsonb"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a tuple; ``name`` may be empty."""

    name: str
    type: "SolidityType"


@dataclass(frozen=True, slots=True)
class Tuple:
    """A struct. As a parameter it becomes a column for each field; inside an array it is ``jsonb``."""

    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        return f"({','.join(field.type.name for field in self.fields)})"

    @property
    def is_dynamic(self) -> bool:
        return any(field.type.is_dynamic for field in self.fields)

    @property
    def head_bytes(self) -> int:
        return WORD_BYTES if self.is_dynamic else self.row_bytes

    @property
    def row_bytes(self) -> int:
        """The heads of its fields, which stand side by side wherever the tuple stands."""
        return sum(field.type.head_bytes for field in self.fields)

    @property
    def pg_type(self) -> str:
        return "jsonb"


SolidityType: TypeAlias = Elementary | Array | Tuple

PG_TYPES: Final = {Family.BOOL: "boolean", Family.STRING: "text"}
# What an indexed string, bytes, array or struct leaves in the topics.
HASHED: Final = Elementary("bytes32", Family.FIXED_BYTES, length_bytes=WORD_BYTES)
SIMPLE: Final = {
    "address": Elementary("address", Family.ADDRESS, length_bytes=ADDRESS_BYTES),
    "bool": Elementary("bool", Family.BOOL),
    "bytes": Elementary("bytes", Family.BYTES),
    "function": Elementary("function", Family.FIXED_BYTES, length_bytes=FUNCTION_BYTES),
    "string": Elementary("string", Family.STRING),
}


def elementary(name: str) -> Elementary | None:
    """The elementary type of that name or alias; None if there is none."""
    name = ALIASES.get(name, name)
    if name in SIMPLE:
        return SIMPLE[name]
    if match := FIXED_BYTES.match(name):
        size = int(match[1])
        if size <= WORD_BYTES:
            return Elementary(name, Family.FIXED_BYTES, length_bytes=size)
        return None
    match = NUMBER.match(name) or FIXED_POINT.match(name)
    if match is None:
        return None
    bits, decimals = int(match[2]), int(match[3]) if match.re is FIXED_POINT else 0
    if bits % 8 or bits > 256 or decimals > MAX_DECIMALS:
        return None
    return Elementary(name, Family.NUMBER, bits, not name.startswith("u"), decimals)


def solidity_type(item: Mapping[str, object], depth: int = 0) -> SolidityType:
    """The type of an ABI's input: its ``type`` and, of a tuple, its ``components``.

    Raises :class:`TypeUnknownError`.
    """
    name = item.get("type")
    if not isinstance(name, str):
        raise TypeUnknownError("it has no type")
    if depth > MAX_NESTING:
        raise TypeUnknownError(f"it is nested more than {MAX_NESTING} deep")
    if array := ARRAY.match(name):
        element = solidity_type({**item, "type": array[1]}, depth + 1)
        length = int(array[2]) if array[2] else None
        if (length or 0) * element.head_bytes > MAX_ARRAY_BYTES:
            raise TypeUnknownError(f"{shown(name)} is longer than any log")
        return Array(element, length)
    if name == "tuple":
        return Tuple(tuple(_fields(item.get("components"), depth + 1)))
    found = elementary(name)
    if found is None:
        raise TypeUnknownError(f"{shown(name)} is no type that an event can have")
    return found


def shown(name: str) -> str:
    """A text from outside, as an error can show it."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."


def _fields(components: object, depth: int) -> Iterator[Field]:
    if not isinstance(components, list) or not components:
        raise TypeUnknownError("it is a tuple without components")
    for component in components:
        if not isinstance(component, dict):
            raise TypeUnknownError("it is a tuple with a component that is no object")
        name = component.get("name") or ""
        if not is_identifier(name, may_be_empty=True):
            raise TypeUnknownError(f"its field {shown(str(name))} is no name")
        yield Field(name, solidity_type(component, depth))


def is_identifier(name: object, may_be_empty: bool = False) -> bool:
    """Whether a compiler can have written that name: so it has no quotes, spaces, parentheses."""
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARACTERS:
        return False
    return name.replace("$", "_").isidentifier() or (may_be_empty and not name)
