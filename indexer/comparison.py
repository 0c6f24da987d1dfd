"""What a table has otherwise than the chain, for a range of blocks. Pure.

Rows of both sides are lines of COPY's text format: what was made of the chain's logs to be copied in, and what
Postgres copies out. The two may spell one value in two ways (escapes, quotes in arrays, spaces in JSON, capital
digits), so each line is first brought to one spelling, its normal text: printable ASCII with the columns between
tabs. Rows are equal if their normal texts are.

A long range is compared by digests, one for each block, and only blocks whose digests differ are looked at row
by row. What is shown is bounded; what is counted is not.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from indexer.hexadecimal import shown
from indexer.table import TableColumn

MAX_SHOWN: Final = 100
MAX_VALUE_TEXT: Final = 200
NULL: Final = r"\N"
BYTES_PREFIX: Final = r"\\x"  # COPY doubles the backslash of a bytea

_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
# An element of an array's text: in quotes with backslash escapes, or as it stands.
_ELEMENT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^",{}\\\s]|\\.)+)', re.DOTALL)

Kind = Literal["missing", "extra", "different"]


class RowKey(NamedTuple):
    """Names a row, an orphaned one included. ``block_hash`` is 0x and 64 digits."""

    block_number: int
    log_index: int
    block_hash: str


Row = tuple[RowKey, str]
KEY: Final = ("block_number", "log_index", "block_hash")


@dataclass(frozen=True, slots=True)
class ColumnDifference:
    """The normal texts of one column, cut to a length that can be shown."""

    column: str
    chain: str
    table: str

    def values(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {"column": self.column, "chain": self.chain, "table": self.table}


@dataclass(frozen=True, slots=True)
class RowDifference:
    """``missing`` from the table, ``extra`` in it, or ``different`` in ``columns``."""

    kind: Kind
    key: RowKey
    columns: tuple[ColumnDifference, ...] = ()

    def __str__(self) -> str:
        columns = ", ".join(f"{one.column} {one.table} for {one.chain}" for one in self.columns)
        place = f"block {self.key.block_number} log {self.key.log_index} ({self.key.block_hash})"
        return f"{place}: {self.kind}{': ' if columns else ''}{columns}"

    def values(self) -> dict[str, object]:
        """Plain values for JSON."""
        columns = [one.values() for one in self.columns]
        return {"kind": self.kind, **self.key._asdict(), "columns": columns}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The counts are of all rows compared; ``shown`` has the first differences by key."""

    chain_rows: int
    table_rows: int
    missing: int
    extra: int
    different: int
    shown: tuple[RowDifference, ...]

    @property
    def is_equal(self) -> bool:
        return not (self.missing or self.extra or self.different)

    def values(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "chain_rows": self.chain_rows,
            "table_rows": self.table_rows,
            "missing": self.missing,
            "extra": self.extra,
            "different": self.different,
            "shown": [one.values() for one in self.shown],
        }


class Reader:
    """Reads the lines of one table, or of one view: ``columns`` are a line's, in their order, the key's among
    them."""

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        self._columns = tuple(columns)
        self._names = [column.name for column in columns]
        # Nearly all tables: numbers and bytes, which need nothing but small digits.
        self._is_plain = not any(map(_is_spelt, columns))
        self._number, self._index, self._hash = map(self._names.index, KEY)

    def rows(self, lines: Iterable[str]) -> Iterator[Row]:
        """Keys and normal texts, in the order of the lines, whose newlines may be there or not. COPY's text has
        to be split at newlines alone: ``str.splitlines`` splits inside of values too.

        Raises ``ValueError`` for a line that is no row of these columns.
        """
        for line in lines:
            yield self._row(line.removesuffix("\n"))

    def _row(self, line: str) -> Row:
        values = line.split("\t")
        if len(values) != len(self._columns):
            raise ValueError(f"{shown(line)} does not have {len(self._columns)} columns")
        block_hash = values[self._hash]
        if not block_hash.startswith(BYTES_PREFIX):
            raise ValueError(f"{shown(block_hash)} is no block's hash")
        key = RowKey(
            int(values[self._number]),
            int(values[self._index]),
            "0x" + block_hash[len(BYTES_PREFIX) :].lower(),
        )
        if self._is_plain and NULL not in line:
            return key, line.lower()
        return key, "\t".join(map(_normal, self._columns, values))

    def compare(
        self, chain: Iterable[Row], table: Iterable[Row], max_shown: int = MAX_SHOWN
    ) -> Comparison:
        """Row by row, in memory. Raises ``ValueError`` if a side has two rows of one key."""
        ours, theirs = _by_key(chain), _by_key(table)
        missing = ours.keys() - theirs.keys()
        extra = theirs.keys() - ours.keys()
        different = {key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]}
        first = sorted(missing | extra | different)[:max_shown]
        return Comparison(
            chain_rows=len(ours),
            table_rows=len(theirs),
            missing=len(missing),
            extra=len(extra),
            different=len(different),
            shown=tuple(self._difference(key, ours.get(key), theirs.get(key)) for key in first),
        )

    def _difference(self, key: RowKey, ours: str | None, theirs: str | None) -> RowDifference:
        if ours is None or theirs is None:
            return RowDifference("missing" if theirs is None else "extra", key)
        pairs = zip(self._names, ours.split("\t"), theirs.split("\t"), strict=True)
        columns = (
            ColumnDifference(name, _cut(one), _cut(other))
            for name, one, other in pairs
            if one != other
        )
        return RowDifference("different", key, tuple(columns))


def digests(rows: Iterable[Row]) -> dict[int, bytes]:
    """For each block that has rows, a hash over their normal texts: 32 bytes.

    The rows ascend by key, so that a range of any length passes by without being held in memory; raises
    ``ValueError`` if they do not.
    """
    found: dict[int, bytes] = {}
    last: RowKey | None = None
    hasher = sha256()
    for key, text in rows:
        if last is not None and key <= last:
            raise ValueError(f"row {key} comes after {last}")
        if last is not None and key.block_number != last.block_number:
            found[last.block_number] = hasher.digest()
            hasher = sha256()
        hasher.update(f"{text}\n".encode())
        last = key
    if last is not None:
        found[last.block_number] = hasher.digest()
    return found


def differing_blocks(chain: Mapping[int, bytes], table: Mapping[int, bytes]) -> list[int]:
    """The blocks, ascending, whose rows have to be compared one by one."""
    return sorted(
        number for number in chain.keys() | table.keys() if chain.get(number) != table.get(number)
    )


def _by_key(rows: Iterable[Row]) -> dict[RowKey, str]:
    found: dict[RowKey, str] = {}
    for key, text in rows:
        if key in found:
            raise ValueError(f"two rows of {key}")
        found[key] = text
    return found


def _is_spelt(column: TableColumn) -> bool:
    """Whether a value of the column can be written in more ways than in small and in capital digits."""
    return column.pg_type in ("text", "jsonb") or column.pg_type.endswith("[]")


def _normal(column: TableColumn, value: str) -> str:
    """One spelling for each value; values that Postgres holds apart keep apart."""
    if value == NULL:
        return NULL
    if not _is_spelt(column):
        return value.lower()
    if column.pg_type == "text":
        return json.dumps(_unescaped(value))
    if column.pg_type == "jsonb":
        # A key with a NUL, which no stored JSON has, keeps 1.50 apart from "1.50".
        parsed = json.loads(_unescaped(value), parse_float=lambda text: {"\0": text})
        return json.dumps(parsed, sort_keys=True, separators=(",", ":"))
    plain = _unescaped(value)
    return json.dumps(_elements(plain.lower() if column.pg_type == "bytea[]" else plain))


def _unescaped(value: str) -> str:
    """COPY's escapes stand for bytes of the database's encoding, UTF-8."""
    if "\\" not in value:
        return value
    return _ESCAPE.sub(_escaped_byte, value.encode()).decode(errors="backslashreplace")


def _escaped_byte(found: re.Match[bytes]) -> bytes:
    spelt = found[1]
    if spelt[:1] == b"x" and len(spelt) > 1:
        return bytes((int(spelt[1:], 16),))
    if spelt.isdigit():
        return bytes((int(spelt, 8) & 0xFF,))
    return _LETTERS.get(spelt, spelt)


def _elements(value: str) -> list[str | None]:
    """A one-dimensional array's elements; None for NULL, which is told from the text by its lacking quotes."""
    elements: list[str | None] = []
    for found in _ELEMENT.finditer(value):
        quoted, bare = found.groups()
        if bare is not None and bare.upper() == "NULL":
            elements.append(None)
        else:
            elements.append(re.sub(r"\\(.)", r"\1", bare or quoted or "", flags=re.DOTALL))
    return elements


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_TEXT else text[: MAX_VALUE_TEXT - 3] + "..."
