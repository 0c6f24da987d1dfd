"""The question for a row's events, of all tables at once, a page at a time. Pure.

A page goes on behind the event where the last one ended, by an index of each table; it holds no more events
than it was asked for, and stops once their arguments have reached a size. Postgres makes the JSON of the
arguments, straight from the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from indexer.abi import Event
from indexer.solidity import Array, Elementary, Family, SolidityType
from indexer.stream.cloud_event import EventKey

# Before the first event.
START: Final = EventKey(-1, -1, -1)

HEX: Final = "'0x' || encode({0}, 'hex')"

# Aliases have capitals, as no column has: a column of an alias's name would be taken for it. The arguments behind
# those of the condition are the key, and how many events and bytes are wanted.
TABLE = """
    (SELECT {place} AS place, block_number, log_index, block_hash, tx_hash, ordinal, address,
            row_to_json("Args")::text AS args
     FROM event."{table}" AS "Row" CROSS JOIN LATERAL (SELECT {columns}) AS "Args"
     WHERE {condition} AND (block_number, log_index) >= ($3, $4)
       AND ((block_number, log_index) > ($3, $4) OR {place} > $5)
     ORDER BY block_number, log_index LIMIT $6)"""
PAGE = """
    SELECT place, block_number, log_index, block_hash, tx_hash, ordinal, address, args
    FROM (SELECT *, sum(octet_length(args)) OVER (
              ORDER BY block_number, log_index, place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
          FROM (SELECT * FROM ({tables}) AS tables ORDER BY block_number, log_index, place LIMIT $6) AS page) AS sized
    WHERE coalesce(bytes_before, 0) < $7 ORDER BY block_number, log_index, place"""


@dataclass(frozen=True, slots=True)
class EventTable:
    """A table in the schema ``event``, and what it holds."""

    contract: str
    event: Event
    name: str


def pages(tables: Sequence[EventTable], condition: str) -> str:
    """The statement for the rows that meet ``condition``, whose arguments are $1 and $2; there is one table at
    least. A table's place is its index in ``tables``."""
    return PAGE.format(
        tables=" UNION ALL ".join(
            TABLE.format(
                place=place, table=table.name, columns=_columns(table.event), condition=condition
            )
            for place, table in enumerate(tables)
        )
    )


def _columns(event: Event) -> str:
    return ", ".join(
        f'{_json(column.type, _quoted(column.name))} AS "{column.name}"' for column in event.columns
    )


def _quoted(name: str) -> str:
    return f'"Row"."{name}"'


def _json(kind: SolidityType, value: str) -> str:
    """What ``row_to_json`` is to see: a text for whatever JSON's own numbers cannot hold."""
    if isinstance(kind, Elementary):
        return _leaf(kind, value)
    if not isinstance(kind, Array) or not isinstance(kind.element, Elementary):
        return value  # jsonb, which was written so
    if kind.element.family in (Family.BOOL, Family.STRING):
        return value
    # An array of no elements has no rows to aggregate.
    element = _leaf(kind.element, "one")
    return f"""(SELECT coalesce(json_agg({element} ORDER BY at), '[]')
                FROM unnest({value}) WITH ORDINALITY AS elements (one, at))"""


def _leaf(kind: Elementary, value: str) -> str:
    match kind.family:
        case Family.BOOL | Family.STRING:
            return value
        case Family.NUMBER:
            return f"{value}::text"
        case Family.ADDRESS | Family.FIXED_BYTES | Family.BYTES:
            return HEX.format(value)
