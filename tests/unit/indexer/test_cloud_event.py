"""A row of the feed always makes the same entries, and they are what docs/asyncapi.yaml says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

from indexer.stream import cloud_event
from indexer.stream.cloud_event import (
    EVENTS_BYTES,
    MAX_BYTES,
    MAX_EVENTS,
    Change,
    Entry,
    EntryId,
    Event,
    EventKey,
    Op,
)

DOCUMENT: Final = yaml.safe_load(
    (Path(__file__).resolve().parents[3] / "docs" / "asyncapi.yaml").read_text()
)
HASH: Final = bytes([0xAB]) * 32
AT: Final = datetime(2026, 11, 21, 10, 30, 0, 1500, tzinfo=UTC)
MESSAGES: Final = {
    "landbridge.block.applied.v1": "BlockApplied",
    "landbridge.block.retracted.v1": "BlockRetracted",
    "landbridge.blocks.finalized.v1": "BlocksFinalized",
    "landbridge.range.applied.v1": "RangeApplied",
}


def change(
    op: Op = "apply",
    blocks: tuple[int, int] = (7, 7),
    block_hash: bytes | None = HASH,
    source: str | None = None,
    *,
    seq: int = 42,
    at: datetime = AT,
) -> Change:
    return Change(1, seq, op, source, *blocks, block_hash, at)


def event(args: str = '{"value":"1"}', log_index: int = 0) -> bytes:
    return cloud_event.encode_event(
        Event(
            contract="token",
            event="Transfer",
            table="token_transfer__2",
            block_number=7,
            block_hash="0x" + HASH.hex(),
            log_index=log_index,
            tx_hash="0x" + HASH.hex(),
            ordinal=0,
            address="0x" + "70" * 20,
            args=msgspec.Raw(args.encode()),
        )
    )


def entry(of: Change, *items: bytes, part: int = 0, is_last: bool = True) -> Entry:
    return cloud_event.entry(of, part, items, is_last=is_last, end=EventKey(7, 0, 0))


def faults(schema: str, value: object) -> list[str]:
    """What a consumer's validator says, made of the document alone."""
    validator = Draft7Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": DOCUMENT["components"]},
        format_checker=FormatChecker(),
    )
    return [fault.message for fault in validator.iter_errors(value)]


def read(one: Entry) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(one.text)
    return value


ROWS: Final = {
    "block": change(),
    "block of one contract": change(source="token"),
    "retracted block": change("retract"),
    "finalized blocks": change("finalize", (3, 7)),
    "finalized block": change("finalize"),
    "leap": change(blocks=(3, 7)),
    "range of one contract": change(blocks=(3, 7), block_hash=None, source="token"),
    "range of one block": change(block_hash=None, source="token"),
}


class TestAnEntry:
    @pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
    def test_is_as_documented(self, row: Change) -> None:
        values = (
            '{"to":"0x00","ok":true,"list":["1"],"deep":[{"a":"1","b":["0x"]}],"text":"\\u0000ü"}'
        )
        items = [] if row.op == "finalize" else [event(), event(values, log_index=1)]
        shown = read(entry(row, *items))
        assert faults(MESSAGES[shown["type"]], shown) == []
        others = [name for kind, name in MESSAGES.items() if kind != shown["type"]]
        assert all(faults(name, shown) for name in others)

    @pytest.mark.parametrize(
        ("row", "kind", "subject"),
        [
            ("block", "block.applied", "0x" + HASH.hex()),
            ("block of one contract", "block.applied", "0x" + HASH.hex()),
            ("retracted block", "block.retracted", "0x" + HASH.hex()),
            ("finalized blocks", "blocks.finalized", "3-7"),
            ("finalized block", "blocks.finalized", "7-7"),
            ("leap", "range.applied", "3-7"),
            ("range of one contract", "range.applied", "3-7"),
            ("range of one block", "range.applied", "7-7"),
        ],
    )
    def test_has_the_type_and_the_subject_of_its_row(
        self, row: str, kind: str, subject: str
    ) -> None:
        shown = read(entry(ROWS[row]))
        assert shown["type"] == f"landbridge.{kind}.v1"
        assert shown["subject"] == subject

    def test_is_identified_by_chain_row_and_part(self) -> None:
        one = entry(change(seq=1234), part=5)
        shown = read(one)
        assert str(one.id) == "1234-5"
        assert shown["id"] == "1:1234:5"
        assert shown["source"] == "/chains/1"
        assert shown["sequence"] == "0000000000000001234"
        assert (shown["data"]["seq"], shown["data"]["part"]) == (1234, 5)

    def test_is_the_same_whoever_makes_it(self) -> None:
        elsewhere = AT.astimezone(timezone(timedelta(hours=-7)))
        assert entry(change(), event()).text == entry(change(at=elsewhere), event()).text
        assert read(entry(change()))["time"] == "2026-11-21T10:30:00.001500Z"

    def test_keeps_the_arguments_as_postgres_wrote_them(self) -> None:
        values = '{"value":"115792089237316195423570985008687907853269984665640564039457584007913129639935"}'
        assert values.encode() in entry(change(), event(values)).text

    def test_is_read_back_as_what_it_was_made_of(self) -> None:
        stored = cloud_event.parse(entry(change(), event(), part=3, is_last=False).text)
        assert stored.is_of(change())
        assert (stored.data.part, stored.data.last) == (3, False)
        key = stored.data.events[-1]
        assert (key.block_number, key.log_index, key.table) == (7, 0, "token_transfer__2")

    @pytest.mark.parametrize(
        "other",
        [
            change("retract"),
            change(block_hash=bytes(32)),
            change(seq=43),
            change(at=AT + timedelta(microseconds=1)),
            change(blocks=(6, 7)),
        ],
        ids=["another kind", "another block", "another row", "another time", "a range"],
    )
    def test_is_not_taken_for_one_of_another_row(self, other: Change) -> None:
        assert not cloud_event.parse(entry(change(), event()).text).is_of(other)

    @pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"type":1}', b"x" * 100])
    def test_that_is_none_of_ours_is_refused(self, text: bytes) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            cloud_event.parse(text)


class TestTheDocument:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("data", "seq"), "42"),
            (("data", "seq"), 0),
            (("data", "events", 0, "args"), {"value": 1}),
            (("data", "events", 0, "args"), {"value": None}),
            (("data", "events", 0, "address"), "0x70"),
            (("data", "events", 0, "block_hash"), "0x" + "AB" * 32),
            (("data", "block_hash"), None),
            (("time",), "2026-11-21T10:30:00.001500+00:00"),
            (("sequence",), "42"),
            (("specversion",), "0.3"),
        ],
    )
    def test_refuses_what_no_entry_says(self, path: tuple[str | int, ...], value: object) -> None:
        shown: Any = read(entry(change(), event()))
        inner = shown
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        assert faults("BlockApplied", shown)

    def test_names_every_type_as_a_message_of_the_channel(self) -> None:
        listed = DOCUMENT["components"]["schemas"]["Type"]["enum"]
        assert listed == list(MESSAGES)
        messages = DOCUMENT["channels"]["feed"]["messages"].values()
        assert [one["$ref"].rpartition("/")[2] for one in messages] == list(MESSAGES.values())
        for kind, name in MESSAGES.items():
            assert DOCUMENT["components"]["messages"][name]["name"] == kind

    def test_refers_to_nothing_that_is_not_there(self) -> None:
        def references(value: object) -> list[str]:
            if isinstance(value, dict):
                own = [value["$ref"]] if "$ref" in value else []
                return own + [one for inner in value.values() for one in references(inner)]
            return (
                [one for inner in value for one in references(inner)]
                if isinstance(value, list)
                else []
            )

        found = references(DOCUMENT)
        assert found
        for reference in found:
            inner: Any = DOCUMENT
            for step in reference.removeprefix("#/").split("/"):
                inner = inner[step]

    def test_says_how_long_a_part_is(self) -> None:
        assert (
            DOCUMENT["components"]["schemas"]["Data"]["properties"]["events"]["maxItems"]
            == MAX_EVENTS
        )
        assert f"{MAX_EVENTS} events or {MAX_BYTES // 1024} KB" in DOCUMENT["info"]["description"]


class TestAPart:
    def test_has_no_more_events_than_it_may(self) -> None:
        assert cloud_event.fitting([b"{}"] * (MAX_EVENTS + 1)) == MAX_EVENTS
        assert cloud_event.fitting([b"{}"] * 3) == 3
        assert cloud_event.fitting([]) == 0

    def test_holds_one_event_however_long_it_is(self) -> None:
        assert cloud_event.fitting([b"x" * (MAX_BYTES + 1), b"{}"]) == 1

    def test_is_no_longer_than_it_may_be(self) -> None:
        longest = "x" * (EVENTS_BYTES // 3 - 400)
        items = [event(f'{{"text":"{longest}"}}', log_index=index) for index in range(4)]
        count = cloud_event.fitting(items)
        assert 0 < count < len(items)
        name = "c" * 32
        row = change(blocks=(10**15, 10**15 + 1), block_hash=HASH, source=name, seq=2**63 - 1)
        assert len(entry(row, *items[:count]).text) <= MAX_BYTES

    @given(st.lists(st.integers(min_value=2, max_value=MAX_BYTES // 2), max_size=12))
    def test_takes_as_many_as_fit(self, sizes: list[int]) -> None:
        items = [b"x" * size for size in sizes]
        count = cloud_event.fitting(items)
        assert sum(size + 1 for size in sizes[:count]) <= EVENTS_BYTES or count == 1
        if count < len(items):
            assert sum(size + 1 for size in sizes[: count + 1]) > EVENTS_BYTES


class TestAnId:
    def test_is_ordered_as_redis_orders_it(self) -> None:
        assert EntryId(9, 5) < EntryId(10, 0) < EntryId(10, 1) < EntryId(10, 10)

    def test_is_read_as_it_is_written(self) -> None:
        assert EntryId.parse(str(EntryId(2**63 - 1, 7))) == (2**63 - 1, 7)

    @pytest.mark.parametrize("text", ["", "1", "-", "a-1", "1-"])
    def test_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="int"):
            EntryId.parse(text)
