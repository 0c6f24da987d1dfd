"""Replays the feed from its first row or from a snapshot, as a consumer would, and holds every committed prefix
against the truth."""

from __future__ import annotations

from typing import Any, TypeAlias

from indexer.feed import FeedRow, Snapshot
from tests.simulation.checks import Finding, Reader
from tests.simulation.content import CHAIN_ID, VIEWS, shown
from tests.simulation.stage import fetch
from tests.simulation.truth import Row

FEED = "SELECT seq, op, from_block, to_block, block_hash, source_id FROM chain.feed ORDER BY seq"
BEGINNING = "SELECT feed_from FROM chain.pruned"
SNAPSHOTS = """
    SELECT n.seq, s.source_id, n.finalized_number, n.hashes, s.start_block FROM chain.snapshot n
    LEFT JOIN chain.source s ON s.joined_seq <= n.seq AND (s.retired_seq IS NULL OR s.retired_seq > n.seq)
    WHERE n.seq >= $1 ORDER BY n.seq"""
SOURCES = "SELECT source_id, name, version, joined_seq, retired_seq FROM chain.source"

# A row that is stored: its block's number and hash, whether it is canonical, and itself.
Stored: TypeAlias = tuple[int, bytes, bool, Row]


class Consumer:
    """Believes what the feed tells of one source: rows by the view's name and block."""

    def __init__(self, source: Any, tables: dict[str, list[Stored]]) -> None:
        self.name = f"{source['name']} version {source['version']}"
        self.source = source
        self._tables = tables
        self.rows: dict[str, dict[Row, bytes]] = {view: {} for view in tables}

    def read(self, row: FeedRow) -> None:
        if not row.speaks_for(self.source["source_id"], self.source["joined_seq"]):
            return
        retired = self.source["retired_seq"]
        if retired is not None and row.seq > retired:
            return
        for view, stored in self._tables.items():
            for number, block_hash, canonical, values in stored:
                if not _concerns(row, number, block_hash, canonical=canonical):
                    continue
                self._change(row, view, values, block_hash)

    def _change(self, row: FeedRow, view: str, values: Row, block_hash: bytes) -> None:
        believed = self.rows[view]
        if row.op == "apply":
            if values in believed:
                raise Finding(f"feed row {row.seq} tells {self.name} again of {values}")
            believed[values] = block_hash
        elif row.op == "retract" and believed.pop(values, None) is None:
            raise Finding(
                f"feed row {row.seq} takes back of {self.name} what was never told: {values}"
            )


def _concerns(row: FeedRow, number: int, block_hash: bytes, *, canonical: bool) -> bool:
    """As :attr:`indexer.feed.FeedRow.rows` says it in SQL."""
    if row.from_block == row.to_block and row.block_hash is not None:
        return number == row.from_block and block_hash == row.block_hash
    return canonical and row.from_block <= number <= row.to_block


def check_feed(reader: Reader) -> None:
    """Raises :class:`Finding` at the first prefix that differs."""
    found = fetch(reader.stage, BEGINNING)
    first = found[0][0] if found else 1
    feed = [FeedRow(*row) for row in fetch(reader.stage, FEED)]
    if [row.seq for row in feed] != list(range(first, first + len(feed))):
        raise Finding(f"the feed has gaps, or does not begin at {first}")
    _check_finalizations(feed)
    snapshots: dict[int, dict[int, list[FeedRow]]] = {0: {}} if first == 1 else {}
    for seq, source_id, final, hashes, start in fetch(reader.stage, SNAPSHOTS, first):
        rows = Snapshot(seq, final, tuple(hashes), start).rows(source_id)
        snapshots.setdefault(seq, {})[source_id] = rows
    if not snapshots:
        raise Finding(f"the feed begins at {first}, and there is no snapshot to begin with")
    for seq in {min(snapshots), max(snapshots)}:
        _replay(reader, [row for row in feed if row.seq > seq], seq, snapshots[seq])


def _replay(
    reader: Reader, feed: list[FeedRow], from_seq: int, snapshot: dict[int, list[FeedRow]]
) -> None:
    consumers = [_consumer(reader, row) for row in fetch(reader.stage, SOURCES)]
    commits: dict[int, Any] = {commit.seq: commit for commit in reader.commits}
    for consumer in consumers:
        for row in snapshot.get(consumer.source["source_id"], ()):
            consumer.read(row)
    if from_seq in commits:
        _check_prefix(reader, consumers, commits[from_seq])
    for row in feed:
        for consumer in consumers:
            consumer.read(row)
        if row.seq in commits:
            _check_prefix(reader, consumers, commits[row.seq])


def _consumer(reader: Reader, source: Any) -> Consumer:
    suffix = "" if source["version"] == 1 else f"__{source['version']}"
    tables = {}
    for view, name in VIEWS.items():
        if name == source["name"]:
            rows = fetch(reader.stage, f'SELECT * FROM event."{view}{suffix}"')
            tables[view] = [_stored(row) for row in rows]
    return Consumer(source, tables)


def _stored(row: Any) -> Stored:
    values = tuple(
        shown(value)
        if isinstance(value, bytes)
        else value
        if isinstance(value, str | None)
        else int(value)
        for name, value in row.items()
        if name != "canonical"
    )
    return row["block_number"], row["block_hash"], row["canonical"], (CHAIN_ID, *values)


def _check_finalizations(feed: list[FeedRow]) -> None:
    following: int | None = None
    for row in feed:
        if row.op == "finalize":
            if following is not None and row.from_block != following:
                raise Finding(
                    f"feed row {row.seq} makes {row.from_block} final, next was {following}"
                )
            following = row.to_block + 1


def _check_prefix(reader: Reader, consumers: list[Consumer], commit: Any) -> None:
    for consumer in consumers:
        if consumer.source["source_id"] not in commit.joined:
            continue
        for view, believed in consumer.rows.items():
            expected = set(reader.truth.rows(commit.head, view))
            if expected != set(believed):
                lacking, extra = expected - set(believed), set(believed) - expected
                raise Finding(
                    f"the feed up to {commit.seq}, replayed for {consumer.name}, is not {view} at {commit.head}:"
                    f"\n      lacking {sorted(lacking, key=repr)[:3]}\n      extra   {sorted(extra, key=repr)[:3]}"
                )
