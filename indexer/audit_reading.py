"""What an audited range was found to be, by one reading or two. Pure.

A node may answer wrongly once, so a difference counts only if a second reading has one as well. What is kept of
a reading is bounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from indexer.comparison import Comparison, RowDifference
from indexer.contract import Verify
from indexer.errors import Retryable
from indexer.spans import Span

Outcome = Literal["exact", "differs", "unconfirmed", "unanswerable"]

MAX_ROWS: Final = 10
MAX_TABLES: Final = 10
MAX_COLUMNS: Final = 8
MAX_TEXT: Final = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """Tables compared with what a provider said, by name. ``failure``: why it said nothing that can be
    compared; ``spoilt``: why a table cannot be, whatever the chain has."""

    provider: str
    verify: Verify
    tables: Mapping[str, Comparison] = field(default_factory=dict)
    failure: Retryable | None = None
    spoilt: str | None = None

    @property
    def rows(self) -> int:
        """Of the chain."""
        return sum(one.chain_rows for one in self.tables.values())

    @property
    def differences(self) -> int:
        """Rows that are missing, extra or different."""
        found = sum(one.missing + one.extra + one.different for one in self.tables.values())
        return found + (self.spoilt is not None)

    def suspect(self, span: Span, blocks: int) -> Span:
        """Where to read again: at most so many blocks, from the first that differs on."""
        shown = [row.key.block_number for one in self.tables.values() for row in one.shown]
        first = min(shown, default=span.first)
        return Span(first, min(span.last, first + blocks - 1))

    def values(self) -> dict[str, object]:
        """Plain values for JSON."""
        found: dict[str, object] = {"provider": self.provider, "verify": self.verify}
        if self.failure is not None:
            found["failure"] = _plain(str(self.failure))
        if self.spoilt is not None:
            found["spoilt"] = _plain(self.spoilt)
        if tables := _unequal(self.tables):
            found["tables"] = tables
        return found


def judge(first: Reading, second: Reading | None) -> Outcome:
    """``second`` is needed only if the first differs."""
    if first.failure is not None:
        return "unanswerable"
    if not first.differences:
        return "exact"
    if second is None or second.failure is not None:
        return "unanswerable"
    return "differs" if second.differences else "unconfirmed"


def _unequal(tables: Mapping[str, Comparison]) -> dict[str, object]:
    """The tables that differ, and some rows of them."""
    unequal = [(name, one) for name, one in tables.items() if not one.is_equal]
    found: dict[str, object] = {}
    rows = MAX_ROWS
    for name, one in unequal[:MAX_TABLES]:
        counts = {"missing": one.missing, "extra": one.extra, "different": one.different}
        found[name] = {**counts, "shown": [_row(row) for row in one.shown[:rows]]}
        rows = max(0, rows - len(one.shown))
    return found


def _row(row: RowDifference) -> dict[str, object]:
    return {**row.values(), "columns": [each.values() for each in row.columns[:MAX_COLUMNS]]}


def _plain(text: str) -> str:
    """As JSON may hold it in Postgres, which takes no NUL."""
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_TEXT])
