"""Rows for COPY in text format, gathered table by table. Pure.

Their text is made of what a node wrote, whose hexadecimal digits nobody has looked at one by one. A tab or a
newline among them would make other columns and rows of it, so :meth:`Rows.texts` counts them: there
must be as many as the rows need. Whatever else is no digit, Postgres refuses.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

NULL: Final = r"\N"
LOG_TABLE: Final = "log"
LOG_COLUMNS: Final = (
    *("chain_id", "source_id", "block_number", "block_hash", "log_index", "tx_hash", "tx_index"),
    *("ordinal", "address", "topics", "data", "decode_error", "canonical"),
)


@dataclass(frozen=True, slots=True)
class TableName:
    """A table to be copied into. ``columns`` are in the order of a row's texts. ``source_id`` is set where
    several sources share the table."""

    schema: str
    name: str
    columns: tuple[str, ...]
    source_id: int | None = None


def logs_of(source_id: int) -> TableName:
    """The part of the raw logs that is a source's."""
    return TableName("chain", LOG_TABLE, LOG_COLUMNS, source_id)


@dataclass(slots=True)
class Rows:
    """``lines`` are whole rows with their newline, in the order of the chain. ``touched`` has, by source and
    block, the transactions of logs whose source keeps those too, by the texts of hashes. ``undecoded`` counts logs that
    fit no event and are kept raw only; ``events`` those that do."""

    lines: dict[TableName, list[str]] = field(default_factory=dict)
    touched: dict[tuple[int, str], dict[str, None]] = field(default_factory=dict)
    events: int = 0
    undecoded: int = 0

    def of(self, table: TableName) -> list[str]:
        """The rows of one table, to append to."""
        found = self.lines.get(table)
        if found is None:
            found = self.lines[table] = []
        return found

    def extend(self, other: "Rows") -> None:
        """Take on the rows of later blocks."""
        for table, lines in other.lines.items():
            self.of(table).extend(lines)
        self.events += other.events
        self.undecoded += other.undecoded

    @property
    def count(self) -> int:
        """Rows of all tables."""
        return sum(map(len, self.lines.values()))

    def texts(self) -> Iterator[tuple[TableName, bytes]]:
        """What is to be copied into each table. Raises ``ValueError`` if a text holds what no row may."""
        for table, lines in self.lines.items():
            if lines:
                yield table, _clean(table, lines)


def _clean(table: TableName, lines: list[str]) -> bytes:
    text = "".join(lines)
    if (
        not text.isascii()
        or text.count("\n") != len(lines)
        or text.count("\t") != len(lines) * (len(table.columns) - 1)
    ):
        raise ValueError(
            f"a log for {table.schema}.{table.name} holds other than hexadecimal digits"
        )
    return text.encode()
