"""Decoding, against eth_abi as an independent reader of the same encoding."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st

from indexer.abi import DecodeError, Event, events, snake_case
from indexer.errors import AbiUnsupported
from indexer.keccak import keccak

Item = dict[str, object]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70)


def event_item(name: str, *inputs: tuple[str, str, bool], anonymous: bool = False) -> Item:
    listed = [{"name": one, "type": kind, "indexed": indexed} for one, kind, indexed in inputs]
    return {"type": "event", "name": name, "inputs": listed, "anonymous": anonymous}


def event_of(kinds: Sequence[str], indexed: bool = False) -> Event:
    inputs = [(f"value{position}", kind, indexed) for position, kind in enumerate(kinds)]
    return events("token", [event_item("Seen", *inputs)])[0]


def integers(kind: str, bits: int) -> st.SearchStrategy[int]:
    low, high = (0, 2**bits) if kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return st.integers(low, high - 1)


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[list[str], list[object]]:
    kinds: list[str] = []
    values: list[object] = []
    for _ in range(draw(st.integers(0, 6))):
        family = draw(
            st.sampled_from(["uint", "int", "bytesN", "address", "bool", "string", "bytes"])
        )
        if family in ("uint", "int"):
            bits = draw(st.integers(1, 32)) * 8
            kinds.append(f"{family}{bits}")
            values.append(draw(integers(family, bits)))
        elif family == "bytesN":
            size = draw(st.integers(1, 32))
            kinds.append(f"bytes{size}")
            values.append(draw(st.binary(min_size=size, max_size=size)))
        else:
            kinds.append(family)
            simple = {
                "address": st.binary(min_size=20, max_size=20),
                "bool": st.booleans(),
                "string": TEXT,
                "bytes": st.binary(max_size=70),
            }
            values.append(draw(simple[family]))
    return kinds, values


def as_stored(kind: str, value: object) -> object:
    """What eth_abi gives, in the form that is stored: addresses are bytes."""
    return bytes.fromhex(str(value)[2:]) if kind == "address" and isinstance(value, str) else value


@given(typed_values())
def test_what_eth_abi_encodes_is_read_back(case: tuple[list[str], list[object]]) -> None:
    kinds, values = case
    event = event_of(kinds)
    data = encode(kinds, [as_stored(*pair) for pair in zip(kinds, values, strict=True)])
    assert event.decode([event.topic0], data) == tuple(values)


@given(typed_values(), st.data())
def test_damaged_data_is_refused_or_read_as_eth_abi_reads_it(
    case: tuple[list[str], list[object]], data: st.DataObject
) -> None:
    kinds, values = case
    encoded = bytearray(encode(kinds, values))
    for _ in range(data.draw(st.integers(0, 3))):
        if encoded:
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    event = event_of(kinds)
    ours = event.decode([event.topic0], cut)
    if isinstance(ours, DecodeError):
        return
    theirs = decode(kinds, cut)
    assert ours == tuple(as_stored(*pair) for pair in zip(kinds, theirs, strict=True))


@given(typed_values(), st.data())
def test_what_eth_abi_refuses_is_refused(
    case: tuple[list[str], list[object]], data: st.DataObject
) -> None:
    kinds, values = case
    encoded = encode(kinds, values)
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    event = event_of(kinds)
    try:
        decode(kinds, cut)
    except DecodingError:
        assert isinstance(event.decode([event.topic0], cut), DecodeError)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5), st.binary(max_size=300))
def test_no_log_whatever_raises(topics: list[bytes], data: bytes) -> None:
    event = events(
        "token",
        [event_item("Seen", ("a", "address", True), ("b", "string", False), ("c", "int8", False))],
    )[0]
    for listed in (topics, [event.topic0, *topics]):
        event.decode(listed, data)


def test_indexed_values_come_from_the_topics_and_dynamic_ones_leave_a_hash() -> None:
    item = event_item(
        "RedeemRequested",
        ("id", "bytes32", True),
        ("holder", "address", True),
        ("note", "string", True),
    )
    event = events("token", [item])[0]
    assert event.table == "token_redeem_requested"
    assert event.topic0 == keccak(b"RedeemRequested(bytes32,address,string)")
    assert [column.name for column in event.columns] == ["id", "holder", "note_hash"]
    topics = [event.topic0, b"\1" * 32, bytes(12) + b"\2" * 20, b"\3" * 32]
    assert event.decode(topics, b"") == (b"\1" * 32, b"\2" * 20, b"\3" * 32)


@pytest.mark.parametrize(
    ("kind", "data", "why"),
    [
        ("bool", (2).to_bytes(32, "big"), "bool"),
        ("uint8", (256).to_bytes(32, "big"), "uint8"),
        ("int8", (128).to_bytes(32, "big"), "int8"),
        ("address", b"\1" * 32, "address"),
        ("bytes4", b"\1" * 32, "bytes4"),
        ("uint256", b"\1" * 31, "ends"),
        ("string", (2**255).to_bytes(32, "big"), "offset"),
        ("string", encode(["bytes"], [b"a\0b"]), "NUL"),
        ("string", encode(["bytes"], [b"\xff"]), "UTF-8"),
        ("bytes", encode(["uint256", "uint256"], [32, 2**200]), "length"),
    ],
)
def test_a_misfit_says_why(kind: str, data: bytes, why: str) -> None:
    event = event_of([kind])
    outcome = event.decode([event.topic0], data)
    assert isinstance(outcome, DecodeError)
    assert why in outcome.reason


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([event_item("A", ("x", "uint256[]", False))], r"uint256\[\]"),
        ([event_item("A", ("x", "tuple", False))], "tuple"),
        ([event_item("A", anonymous=True)], "anonymous"),
        ([event_item("A"), event_item("A", ("x", "bool", False))], "token_a"),
        ([event_item("Seen"), event_item("SeenFinal")], "token_seen_final"),
        ([event_item("A", ("txHash", "bytes32", False))], "tx_hash"),
        ([event_item("A", ("x", "bool", False), ("X", "bool", False))], "two inputs"),
        ([event_item("A" + "b" * 60)], "63 bytes"),
        ([event_item("A", ("x$y", "bool", False))], "cannot name"),
        ([event_item("A", ("x", "uint12", False))], "uint12"),
        ([event_item("A", ("x", "bytes33", False))], "bytes33"),
        ([{"type": "event", "name": "A"}], "no inputs"),
    ],
)
def test_what_cannot_be_indexed_is_refused_at_the_start(items: list[Item], why: str) -> None:
    with pytest.raises(AbiUnsupported, match=why):
        events("token", items)


@pytest.mark.parametrize("name", ["Token", "1token", "to-ken", ""])
def test_contract_names_that_cannot_name_tables_are_refused(name: str) -> None:
    with pytest.raises(AbiUnsupported):
        events(name, [])


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("opId", "op_id"),
        ("RedeemRequested", "redeem_requested"),
        ("EIP712DomainChanged", "eip712_domain_changed"),
        ("_to", "to"),
        ("fiatRef", "fiat_ref"),
    ],
)
def test_names_become_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake
