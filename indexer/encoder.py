"""Logs as rows: from the hex text of topics and data to the COPY text of an event's own columns. Pure.

This is the hottest function of the product, so one is made to measure for each event: Python source that
slices the hex text where the values stand, without a call for each column. Only numbers and names made
here go into that source, never a text of an ABI or a node. Arrays, strings and structs that vary in length
are read by ``indexer/tail.py``.

A log whose values all stand in fixed places must have data of exactly their length: a log of an event that
was declared otherwise (with other inputs indexed) is refused rather than misread.

Data is read by ``a2b_hex``, which takes hexadecimal digits only, where ``int`` would take signs, spaces and
underscores. Bytes in topics are copied as they stand, without a look at their digits: whoever puts rows
together must refuse tabs and newlines in them, and Postgres refuses the rest.
"""

from binascii import a2b_hex
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple, TypeAlias, cast

from indexer import quoting, tail
from indexer.abi import Event
from indexer.solidity import (
    ADDRESS_BYTES,
    HASHED,
    WORD_BYTES,
    Elementary,
    Family,
    MisfitError,
    SolidityType,
    Tuple,
)

# Takes a log's topics, each of 66 characters and the event's own among them, and its data, 0x and hex.
# Gives the columns in their order with tabs between them: nothing for an event without columns, and as
# little for one that has a single column with an empty string. Raises MisfitError.
Encoder: TypeAlias = Callable[[tuple[str, ...], str], str]

PREFIX: Final = len("0x")
WORD_DIGITS: Final = 2 * WORD_BYTES
# Families whose values are computed from a word's bytes; the others are cut out of its digits.
COUNTED: Final = (Family.NUMBER, Family.BOOL)
PADDING: Final = "0" * (WORD_DIGITS - 2 * ADDRESS_BYTES)


def compile_encoder(event: Event) -> Encoder:
    """Made once for an event, and called for each of its logs, found by :attr:`Event.kind`."""
    program = _Program(event)
    scope = program.scope
    exec(program.text(), scope)  # noqa: S102 - of our own making, as said above
    return cast(Encoder, scope["encode"])


class _Program:
    """The source of one event's ``encode``, and the values that it uses by name.

    It unpacks the topics, checks the data's length, makes bytes of what has to be, takes the ``steps`` of
    each column, and returns their ``parts``.
    """

    def __init__(self, event: Event) -> None:
        data = [one.type for one in event.inputs if not one.indexed]
        self._data_bytes = sum(kind.head_bytes for kind in data)
        self._is_static = not any(kind.is_dynamic for kind in data)
        self._walks = False
        self._columns = iter(event.columns)
        self._topics = [] if event.anonymous else ["_"]
        self._read_topics: list[str] = []
        self._read_words: list[int] = []
        self._steps: list[str] = []
        self._parts: list[str] = []
        self.scope: dict[str, object] = {
            "MisfitError": MisfitError,
            "Walk": tail.Walk,
            "a2b_hex": a2b_hex,
            "from_bytes": int.from_bytes,
            "number": quoting.number,
            "PADDING": PADDING,
            "TOPIC_PADDING": f"0x{PADDING}",
        }
        at = 0
        for one in event.inputs:
            if one.indexed:
                self._topic(one.type)
            else:
                self._data(one.type, at)
                at += one.type.head_bytes

    def text(self) -> str:
        lines = [*self._unpacking(), *self._measuring(), *self._reading(), *self._steps]
        body = "\n    ".join([*lines, 'return f"' + r"\t".join(self._parts) + '"'])
        return f"def encode(topics, data):\n    {body}\n"

    def _unpacking(self) -> list[str]:
        wanted = f"it has {{len(topics)}} topics, its event {len(self._topics)}"
        return [
            "try:",
            f"    [{', '.join(self._topics)}] = topics",
            "except ValueError:",
            f"    raise MisfitError(f'{wanted}') from None",
        ]

    def _measuring(self) -> list[str]:
        differs, least = ("!=", "") if self._is_static else ("<", "at least ")
        wanted = f"it has {{len(data) // 2 - 1}} bytes of data, its event {least}{self._data_bytes}"
        return [
            f"if len(data) {differs} {PREFIX + 2 * self._data_bytes}:",
            f"    raise MisfitError(f'{wanted}')",
        ]

    def _reading(self) -> list[str]:
        texts = {f"{topic}_bytes": topic for topic in self._read_topics}
        if self._data_bytes:
            texts["data_bytes"] = "data"
        if not texts:
            return []
        lines = [f"    {name} = a2b_hex({text}[{PREFIX}:])" for name, text in texts.items()]
        refusal = "    raise MisfitError('it is not hexadecimal') from None"
        lines = ["try:", *lines, "except ValueError:", refusal]
        if self._read_words:
            names = ", ".join(f"word{at}" for at in self._read_words)
            lines.append(f"[{names}] = {self._keep(_unpacker(self._read_words))}(data_bytes)")
        return [*lines, "walk = Walk(data_bytes)"] if self._walks else lines

    def _topic(self, kind: SolidityType) -> None:
        """The value of an indexed input, or its hash."""
        topic = f"topic{len(self._topics)}"
        self._topics.append(topic)
        if not isinstance(kind, Elementary) or kind.is_dynamic:
            kind = HASHED
        if kind.family in COUNTED:
            self._read_topics.append(topic)
        digits = f"{topic}[{PREFIX}:]"
        self._word(kind, _Word(f"{topic}_bytes", digits, f"{topic}.removeprefix(TOPIC_PADDING)"))

    def _data(self, kind: SolidityType, at: int) -> None:
        """The value of an input that is not indexed; its head is that many bytes into the data."""
        if isinstance(kind, Elementary) and not kind.is_dynamic:
            read = self._data_word(at) if kind.family in COUNTED else ""
            digits = f"data[{PREFIX + 2 * at}:{PREFIX + 2 * at + WORD_DIGITS}]"
            self._word(kind, _Word(read, digits, f"{digits}.removeprefix(PADDING)"))
        elif isinstance(kind, Tuple) and not kind.is_dynamic:
            for field in kind.fields:
                self._data(field.type, at)
                at += field.type.head_bytes
        else:
            self._composite(kind, at)

    def _data_word(self, at: int) -> str:
        """The bytes of a word, cut out together with the others: one call costs less than slices."""
        if self._is_static and self._data_bytes == WORD_BYTES:
            return "data_bytes"
        self._read_words.append(at)
        return f"word{at}"

    def _word(self, kind: Elementary, word: "_Word") -> None:
        name = next(self._columns).name
        value = f"value{len(self._parts)}"
        made, fits, part = _recipe(kind, value, word)
        self._steps.append(f"{value} = {made}")
        if fits:
            reason = self._keep(f"{name}: it does not fit its type {kind.name}")
            self._steps += [f"if not {fits}:", f"    raise MisfitError({reason})"]
        self._parts.append(part)

    def _composite(self, kind: SolidityType, at: int) -> None:
        names = [next(self._columns).name for _ in range(_width(kind))]
        name = " to ".join(dict.fromkeys((names[0], names[-1])))
        self._walks = True
        self._parts.append(f"{{{self._keep(_reader(name, kind, at, self._data_bytes))}(walk)}}")

    def _keep(self, value: object) -> str:
        """The name that the source has for a value."""
        name = f"kept{len(self.scope)}"
        self.scope[name] = value
        return name


class _Word(NamedTuple):
    """Where a word stands, as expressions: its bytes, their digits, and those without the zeros that an
    address has before it (all of them if there are others)."""

    read: str
    digits: str
    address: str


def _recipe(kind: Elementary, value: str, word: _Word) -> tuple[str, str, str]:
    """How a word becomes ``value``, what holds if it fits its type (empty: it always does), its text."""
    match kind.family:
        case Family.NUMBER:
            least, greatest = kind.bounds
            made = f"from_bytes({word.read}{', signed=True' * kind.signed})"
            fits = f"{least} <= {value} <= {greatest}" if kind.signed else f"{value} <= {greatest}"
            is_whole = kind.bits == 8 * WORD_BYTES
            part = f"number({value}, {kind.decimals})" if kind.decimals else value
            return made, "" if is_whole else fits, f"{{{part}}}"
        case Family.BOOL:
            return f"from_bytes({word.read})", f"{value} <= 1", f"{{'ft'[{value}]}}"
        case Family.ADDRESS:
            return word.address, f"len({value}) == {2 * ADDRESS_BYTES}", rf"\\\\x{{{value}}}"
        case _:
            used = 2 * (kind.length_bytes or 0)
            unused = "0" * (WORD_DIGITS - used)
            made = f"{word.digits}.removesuffix('{unused}')" if unused else word.digits
            return made, f"len({value}) == {used}" if unused else "", rf"\\\\x{{{value}}}"


def _unpacker(places: Sequence[int]) -> Callable[[bytes], tuple[bytes, ...]]:
    """Cuts the words at these places out of data that is long enough."""
    ends = [0, *(at + WORD_BYTES for at in places)]
    gaps = [at - end for at, end in zip(places, ends, strict=False)]
    return Struct("".join(f"{gap}x{WORD_BYTES}s" for gap in gaps)).unpack_from


def _width(kind: SolidityType) -> int:
    """How many columns a value fills."""
    return sum(_width(field.type) for field in kind.fields) if isinstance(kind, Tuple) else 1


def _reader(name: str, kind: SolidityType, at: int, heads_bytes: int) -> Callable[[tail.Walk], str]:
    """Reads the value whose head is that many bytes into the data. ``name`` stands before the reason why
    it does not fit."""
    columns, is_dynamic = tail.columns(kind), kind.is_dynamic

    def read(walk: tail.Walk) -> str:
        try:
            return columns(walk, walk.part(0, at, heads_bytes) if is_dynamic else at)
        except MisfitError as error:
            raise MisfitError(f"{name}: {error}") from None

    return read
