"""Reads the feed as entries of a stream: rows, whose sources each speaks for, and their events in parts."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import msgspec

from indexer.contract import Contract
from indexer.database import Connection
from indexer.feed import FeedRow, require_next
from indexer.hexadecimal import to_data
from indexer.stream import cloud_event, event_query
from indexer.stream.cloud_event import Change, Entry, Event, EventKey
from indexer.stream.event_query import START, EventTable
from indexer.table import versioned

# One statement, so that the sources are those of the rows' own time, or of a later one.
READ = """
    SELECT f.seq, f.op, f.from_block, f.to_block, f.block_hash, f.source_id, f.at,
           (SELECT s.name FROM chain.source s WHERE s.source_id = f.source_id) AS source,
           CASE WHEN f.source_id IS NOT NULL THEN ARRAY[f.source_id]
                ELSE ARRAY(SELECT s.source_id FROM chain.source s
                           WHERE s.chain_id = f.chain_id AND s.joined_seq < f.seq
                             AND (s.retired_seq IS NULL OR f.seq <= s.retired_seq)
                           ORDER BY s.source_id) END AS source_ids
    FROM chain.feed f WHERE f.chain_id = $1 AND f.seq > $2 ORDER BY f.seq LIMIT $3"""
DEFINITIONS = (
    "SELECT source_id, version, definition FROM chain.source WHERE source_id = ANY ($1::bigint[])"
)

MAX_ROWS: Final = 100
MAX_BATCH_BYTES: Final = 1024 * 1024
# One more than a part takes, so that a part is known to be the last one or not.
PAGE_EVENTS: Final = cloud_event.MAX_EVENTS + 1
# A combination of sources is used until one joins or retires.
MAX_QUERIES: Final = 32


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two entries: all rows up to ``seq`` lie before it, and ``part`` parts of the next, the
    last of which ends with the event ``end``."""

    seq: int
    part: int = 0
    end: EventKey = START

    def after(self, entry: Entry) -> "Place":
        """The place behind the entry that follows this one."""
        if entry.is_last:
            return Place(entry.id.seq)
        return Place(entry.id.seq - 1, entry.id.part + 1, entry.end or START)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with the tables of the sources that it speaks for, and the statement that reads its events."""

    change: Change
    condition: FeedRow
    tables: tuple[EventTable, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class _Page:
    """Events and what they look like. ``is_whole``: no event follows the last one for certain."""

    events: Sequence[tuple[EventKey, bytes]]
    is_whole: bool


class FeedReader:
    """Of one chain. Knows the tables of each source, which never change."""

    def __init__(self, chain_id: int) -> None:
        self._chain_id = chain_id
        self._tables: dict[int, tuple[EventTable, ...]] = {}
        self._queries: dict[tuple[tuple[int, ...], str], str] = {}

    async def read(
        self, connection: Connection, place: Place, up_to_seq: int | None = None
    ) -> list[Entry]:
        """The entries behind ``place``, in order: some, if there are any, and about a megabyte at most.

        Raises :class:`FeedPruned` if rows behind ``place`` were removed.
        """
        entries: list[Entry] = []
        size_bytes = 0
        for row in await self._rows(connection, place.seq, MAX_ROWS):
            if up_to_seq is not None and row.change.seq > up_to_seq:
                break
            async for entry in self._entries(connection, row, place):
                entries.append(entry)
                size_bytes += len(entry.text)
                if size_bytes >= MAX_BATCH_BYTES:
                    return entries
            place = Place(row.change.seq)
        return entries

    async def change(self, connection: Connection, seq: int) -> Change | None:
        """One row; None if the feed does not have it."""
        rows = await self._rows(connection, seq - 1, 1)
        return rows[0].change if rows and rows[0].change.seq == seq else None

    async def place_of(
        self, connection: Connection, seq: int, key: cloud_event.StoredKey
    ) -> EventKey | None:
        """Where an event of a row stands; None if the row speaks for no such table."""
        rows = await self._rows(connection, seq - 1, 1)
        names = [table.name for row in rows for table in row.tables]
        if key.table not in names:
            return None
        return EventKey(key.block_number, key.log_index, names.index(key.table))

    async def _entries(
        self, connection: Connection, row: _Row, place: Place
    ) -> AsyncIterator[Entry]:
        """The parts of a row from ``place`` on."""
        part, key, is_last = place.part, place.end, False
        while not is_last:
            page = await self._page(connection, row, key, PAGE_EVENTS)
            count = cloud_event.fitting([item for _, item in page.events])
            taken = page.events[:count]
            if taken:
                key = taken[-1][0]
            is_last = count == len(page.events) and (
                page.is_whole or not (await self._page(connection, row, key, 1)).events
            )
            yield cloud_event.entry(
                row.change,
                part,
                [item for _, item in taken],
                is_last=is_last,
                end=key if taken else None,
            )
            part += 1

    async def _page(self, connection: Connection, row: _Row, after: EventKey, limit: int) -> _Page:
        if not row.tables or row.change.op == "finalize":
            return _Page((), is_whole=True)
        found = await connection.fetch(
            row.sql, *row.condition.arguments, *after, limit, cloud_event.EVENTS_BYTES
        )
        args_bytes = sum(len(each["args"].encode()) for each in found)
        is_whole = len(found) < limit and args_bytes < cloud_event.EVENTS_BYTES
        return _Page([_event(each, row.tables[each["place"]]) for each in found], is_whole)

    async def _rows(self, connection: Connection, after_seq: int, limit: int) -> list[_Row]:
        found = await connection.fetch(READ, self._chain_id, after_seq, limit)
        require_next(self._chain_id, after_seq, found)
        await self._learn(connection, {one for row in found for one in row["source_ids"]})
        return [self._row(row) for row in found]

    def _row(self, row: asyncpg.Record) -> _Row:
        condition = FeedRow(
            row["seq"],
            row["op"],
            row["from_block"],
            row["to_block"],
            row["block_hash"],
            row["source_id"],
        )
        source_ids = tuple(row["source_ids"])
        tables = tuple(table for one in source_ids for table in self._tables[one])
        return _Row(
            change=Change(
                chain_id=self._chain_id,
                seq=row["seq"],
                op=row["op"],
                source=row["source"],
                from_block=row["from_block"],
                to_block=row["to_block"],
                block_hash=row["block_hash"],
                at=row["at"],
            ),
            condition=condition,
            tables=tables,
            sql=self._query(source_ids, tables, condition.rows),
        )

    def _query(
        self, source_ids: tuple[int, ...], tables: Sequence[EventTable], condition: str
    ) -> str:
        key = (source_ids, condition)
        if key not in self._queries and tables:
            if len(self._queries) >= MAX_QUERIES:
                self._queries.clear()
            self._queries[key] = event_query.pages(tables, condition)
        return self._queries.get(key, "")

    async def _learn(self, connection: Connection, source_ids: set[int]) -> None:
        unknown = source_ids - self._tables.keys()
        if not unknown:
            return
        for row in await connection.fetch(DEFINITIONS, sorted(unknown)):
            contract = Contract.from_definition(json.loads(row["definition"]))
            self._tables[row["source_id"]] = tuple(
                EventTable(contract.name, event, versioned(event.table, row["version"]))
                for event in contract.events
            )


def _event(row: asyncpg.Record, table: EventTable) -> tuple[EventKey, bytes]:
    event = Event(
        contract=table.contract,
        event=table.event.name,
        table=table.name,
        block_number=row["block_number"],
        block_hash=to_data(row["block_hash"]),
        log_index=row["log_index"],
        tx_hash=to_data(row["tx_hash"]),
        ordinal=row["ordinal"],
        address=to_data(row["address"]),
        args=msgspec.Raw(row["args"].encode()),
    )
    key = EventKey(row["block_number"], row["log_index"], row["place"])
    return key, cloud_event.encode_event(event)
