"""The tables that a contract is stored in: which columns, which key. Pure.

Every table has ``block_number``, ``block_hash`` and ``canonical``, so that a reorg can flag its rows. Its
key names a row among the canonical ones; together with the block's hash it names it among all.
"""

from dataclasses import dataclass
from typing import Final

from indexer.abi import Event

HASH_LENGTH: Final = "octet_length({0}) = 32"
ADDRESS_LENGTH: Final = "octet_length({0}) = 20"
NOT_NEGATIVE: Final = "{0} >= 0"
MAX_VERSIONS: Final = 99


@dataclass(frozen=True, slots=True)
class TableColumn:
    """``check`` is a condition on the column, which stands in it as ``{0}``; empty for none."""

    name: str
    pg_type: str
    check: str = ""
    comment: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``name`` is the table's in the schema ``event`` and its view's in ``v1`` for the first version."""

    name: str
    columns: tuple[TableColumn, ...]
    key: tuple[str, ...]
    comment: str
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


CANONICAL: Final = TableColumn(
    "canonical", "boolean", comment="false once a reorg has taken its block"
)
BLOCK: Final = (
    TableColumn(
        "block_number", "bigint", NOT_NEGATIVE, "blocks since the chain's first, which is 0"
    ),
    TableColumn("block_hash", "bytea", HASH_LENGTH, "32 bytes"),
    TableColumn("block_timestamp_s", "bigint", NOT_NEGATIVE, "seconds since 1970"),
)
# In this order they stand before an event's own columns; `indexer.recorder` writes them so.
EVENT_FRAME: Final = (
    *BLOCK,
    TableColumn("log_index", "integer", NOT_NEGATIVE, "position in the block, from 0"),
    TableColumn("tx_hash", "bytea", HASH_LENGTH, "32 bytes, of the transaction that emitted it"),
    TableColumn("tx_index", "integer", NOT_NEGATIVE, "position in the block, from 0"),
    TableColumn("address", "bytea", ADDRESS_LENGTH, "the contract that emitted it"),
    TableColumn(
        "ordinal",
        "integer",
        NOT_NEGATIVE,
        "position among the source's logs of this address in its transaction, from 0: with tx_hash and address it "
        "names the event wherever its transaction is mined again",
    ),
    CANONICAL,
)


def event_table(event: Event, indexed: frozenset[str] | None = frozenset()) -> Table:
    """``indexed`` names columns that get an index; None means every one that the contract indexes."""
    own = tuple(
        TableColumn(column.name, column.pg_type, column.check, column.comment)
        for column in event.columns
    )
    wanted = tuple(
        (column.name,)
        for column in event.columns
        if column.is_indexable and (column.indexed if indexed is None else column.name in indexed)
    )
    return Table(
        event.table, (*EVENT_FRAME, *own), ("block_number", "log_index"), event.signature, wanted
    )


def versioned(name: str, version: int) -> str:
    """The physical table of a version: ``token_transfer``, ``token_transfer__2``."""
    return name if version == 1 else f"{name}__{version}"
