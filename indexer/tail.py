"""Reading the dynamic part of a log's data: strings, bytes, arrays, structs, as deep as they go. Pure.

The parts of an encoding lie anywhere and are found by offsets that the log's author chose: they may
overlap, or be one part many times over. What one log costs is bounded all the same: reading a part is
paid for, before it is read, out of an allowance of a few times the data's length. Compilers never let
parts overlap, so their logs cost at most that length once.

Words are held to the canonical encoding. What stands behind the last byte of a string or bytes is not
looked at: older compilers left the padding out, so that the next part, or nothing, stands there.
"""

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from indexer import quoting
from indexer.solidity import (
    ADDRESS_BYTES,
    WORD_BYTES,
    Array,
    Elementary,
    Family,
    MisfitError,
    SolidityType,
    Tuple,
)

# Hand-written encoders share parts (a common empty string); more often than this they do not.
ALLOWANCE: Final = 4
UNUSED_OF_ADDRESS: Final = WORD_BYTES - ADDRESS_BYTES

Value = TypeVar("Value")


class Walk:
    """One log's data, and how many more bytes may be read of it."""

    __slots__ = ("_left_bytes", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left_bytes = ALLOWANCE * len(data)

    def take(self, at: int, size_bytes: int) -> None:
        """Pay for a part; raises :class:`MisfitError` if it is not inside the data."""
        if at + size_bytes > len(self.data):
            raise MisfitError("an offset or a length leads past the end of the data")
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise MisfitError("its parts overlap too much")

    def part(self, base: int, head: int, heads_bytes: int) -> int:
        """Where the part is whose offset, counted from ``base``, stands at ``head``. The heads that begin
        at ``base`` are paid for; no compiler lets an offset lead back into them."""
        offset = int.from_bytes(self.data[head : head + WORD_BYTES])
        if offset < heads_bytes:
            raise MisfitError("an offset leads back among the offsets")
        return base + offset

    def count(self, at: int) -> int:
        """The length that stands before a dynamic part."""
        self.take(at, WORD_BYTES)
        return int.from_bytes(self.data[at : at + WORD_BYTES])

    def run(self, at: int) -> bytes:
        """The bytes of a string or bytes."""
        size_bytes = self.count(at)
        self.take(at + WORD_BYTES, size_bytes)
        return self.data[at + WORD_BYTES : at + WORD_BYTES + size_bytes]


# Reads the value that stands at a place. A static one lies in a part that is paid for already.
Reader: TypeAlias = Callable[[Walk, int], Value]


class Form(NamedTuple, Generic[Value]):
    """How checked values are written: in a column, inside an array, or inside JSON. A number is written in
    its digits everywhere."""

    of_bool: Callable[[bool], Value]
    of_bytes: Callable[[bytes], Value]
    of_string: Callable[[str], Value]
    of_digits: Callable[[str], Value]


COLUMN: Final = Form[str](quoting.boolean, quoting.bytea, quoting.text, str)
IN_ARRAY: Final = Form[str](quoting.boolean, quoting.bytea_in_array, quoting.text_in_array, str)
IN_JSON: Final = Form[object](bool, lambda raw: f"0x{raw.hex()}", str, str)


def columns(kind: SolidityType) -> Reader[str]:
    """Reads a value into the COPY text of its columns, with tabs between those of a struct."""
    if isinstance(kind, Tuple):
        values = _row(kind, columns)
        return lambda walk, at: "\t".join(values(walk, at))
    if isinstance(kind, Elementary):
        return _leaf(kind, COLUMN)
    if isinstance(kind.element, Elementary):
        elements = _elements(kind, _leaf(kind.element, IN_ARRAY))
        return lambda walk, at: quoting.array(elements(walk, at))
    deep = _json(kind)
    return lambda walk, at: quoting.jsonb(deep(walk, at))


def _json(kind: SolidityType) -> Reader[object]:
    if isinstance(kind, Elementary):
        return _leaf(kind, IN_JSON)
    if isinstance(kind, Array):
        return _elements(kind, _json(kind.element))
    values = _row(kind, _json)
    names = [field.name for field in kind.fields]
    if not all(names) or len(set(names)) < len(names):
        return values
    return lambda walk, at: dict(zip(names, values(walk, at), strict=True))


def _row(kind: Tuple, reader: Callable[[SolidityType], Reader[Value]]) -> Reader[list[Value]]:
    """The fields of a tuple, whose heads stand side by side."""
    fields: list[tuple[int, bool, Reader[Value]]] = []
    row_bytes = 0
    for field in kind.fields:
        fields.append((row_bytes, field.type.is_dynamic, reader(field.type)))
        row_bytes += field.type.head_bytes
    unpaid_bytes = row_bytes if kind.is_dynamic else 0

    def read(walk: Walk, at: int) -> list[Value]:
        walk.take(at, unpaid_bytes)
        return [
            one(walk, walk.part(at, at + offset, row_bytes) if is_dynamic else at + offset)
            for offset, is_dynamic, one in fields
        ]

    return read


def _elements(kind: Array, one: Reader[Value]) -> Reader[list[Value]]:
    length, step_bytes, is_dynamic = kind.length, kind.element.head_bytes, kind.element.is_dynamic
    unpaid_bytes = step_bytes if kind.is_dynamic else 0

    def read(walk: Walk, at: int) -> list[Value]:
        count = length
        if count is None:
            count = walk.count(at)
            at += WORD_BYTES
        # A count that no data can hold is refused here, before anything is made of it.
        walk.take(at, count * unpaid_bytes)
        heads_bytes = count * step_bytes
        heads = range(at, at + heads_bytes, step_bytes)
        if is_dynamic:
            return [one(walk, walk.part(at, head, heads_bytes)) for head in heads]
        return [one(walk, head) for head in heads]

    return read


def _leaf(kind: Elementary, form: Form[Value]) -> Reader[Value]:
    show = _shown(kind, form)
    if kind.is_dynamic:
        return lambda walk, at: show(walk.run(at))
    return lambda walk, at: show(walk.data[at : at + WORD_BYTES])


def _shown(kind: Elementary, form: Form[Value]) -> Callable[[bytes], Value]:
    """Checks the bytes of a value, and writes it."""
    match kind.family:
        case Family.NUMBER:
            number = _number(kind)
            return lambda word: form.of_digits(number(word))
        case Family.BOOL:
            return lambda word: form.of_bool(_bool(word))
        case Family.ADDRESS:
            return lambda word: form.of_bytes(_address(word))
        case Family.FIXED_BYTES:
            return lambda word: form.of_bytes(_fixed_bytes(kind, word))
        case Family.BYTES:
            return form.of_bytes
        case Family.STRING:
            return lambda raw: form.of_string(_string(raw))


def _number(kind: Elementary) -> Callable[[bytes], str]:
    least, greatest = kind.bounds
    signed, decimals = kind.signed, kind.decimals

    def read(word: bytes) -> str:
        value = int.from_bytes(word, signed=signed)
        if not least <= value <= greatest:
            raise MisfitError(f"a number is outside its type {kind.name}")
        return quoting.number(value, decimals) if decimals else str(value)

    return read


def _bool(word: bytes) -> bool:
    value = int.from_bytes(word)
    if value > 1:
        raise MisfitError("a bool is neither 0 nor 1")
    return value == 1


def _address(word: bytes) -> bytes:
    if any(word[:UNUSED_OF_ADDRESS]):
        raise MisfitError("a word is longer than its type address")
    return word[UNUSED_OF_ADDRESS:]


def _fixed_bytes(kind: Elementary, word: bytes) -> bytes:
    if any(word[kind.length_bytes :]):
        raise MisfitError(f"a word is longer than its type {kind.name}")
    return word[: kind.length_bytes]


def _string(raw: bytes) -> str:
    try:
        value = raw.decode()
    except UnicodeDecodeError:
        raise MisfitError("a string is not UTF-8") from None
    if "\0" in value:
        raise MisfitError("a string has a NUL, which Postgres does not store in text")
    return value
