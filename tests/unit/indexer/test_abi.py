"""ABIs, made into events with tables and columns."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import signature
from indexer.abi import MAX_COLUMNS, Event, events, select
from indexer.encoder import compile_encoder
from indexer.errors import AbiUnsupported, EventUnknown
from indexer.keccak import keccak
from tests.unit.indexer.abi_cases import UNHURRIED, Item, abi_name, cases, items

TRANSFER = "Transfer(address indexed from, address indexed to, uint256 value)"
SINGLE = "Transfer(address indexed from, address indexed to, uint256 indexed id)"


def abi_of(*texts: str) -> list[Item]:
    return [signature.parse(text) for text in texts]


def made(*texts: str) -> tuple[Event, ...]:
    return events("token", abi_of(*texts))


def names(event: Event) -> list[str]:
    return [column.name for column in event.columns]


def test_a_transfer_has_its_table_topic_and_columns() -> None:
    (event,) = made(TRANSFER)
    assert (event.name, event.table) == ("Transfer", "token_transfer")
    assert event.signature == "Transfer(address,address,uint256)"
    assert event.topic0 == keccak(b"Transfer(address,address,uint256)")
    assert event.kind == (event.topic0, 3)
    assert not event.anonymous
    shown = [(one.name, one.pg_type, one.check, one.indexed, one.comment) for one in event.columns]
    assert shown == [
        ("from", "bytea", "octet_length({0}) = 20", True, "address from"),
        ("to", "bytea", "octet_length({0}) = 20", True, "address to"),
        ("value", "numeric(78,0)", "", False, "uint256 value"),
    ]
    assert len(repr(event)) < 200


def test_indexed_values_that_are_not_one_word_leave_their_hash() -> None:
    (event,) = made(
        "Seen(string indexed note, (uint256 a, bool b) indexed pair, uint8[2] indexed two, bytes raw)"
    )
    assert names(event) == ["note_hash", "pair_hash", "two_hash", "raw"]
    assert [column.pg_type for column in event.columns] == ["bytea"] * 4
    assert [column.check for column in event.columns] == ["octet_length({0}) = 32"] * 3 + [""]
    assert event.columns[1].comment == "keccak of the indexed (uint256,bool) pair"


def test_structs_become_columns_however_deep() -> None:
    (event,) = made(
        "Placed((address maker, (uint256 amount, (bool isOpen) state) leg)[] a, "
        "(address maker, (uint256 amount, (bool isOpen) state) leg) order)"
    )
    assert names(event) == ["a", "order_maker", "order_leg_amount", "order_leg_state_is_open"]
    assert [column.pg_type for column in event.columns] == [
        *("jsonb", "bytea", "numeric(78,0)", "boolean"),
    ]
    assert event.columns[0].comment == "(address,(uint256,(bool)))[] a"
    assert event.columns[3].comment == "bool order.leg.state.isOpen"


def test_inputs_without_a_name_are_counted() -> None:
    (event,) = made("Seen(uint256, (bool, uint8 b), string indexed)")
    assert names(event) == ["arg0", "arg1_arg0", "arg1_b", "arg2_hash"]


def test_columns_never_share_a_name() -> None:
    (event,) = made(
        "Seen(bool fooBar, bool foo_bar, bool address_, string indexed tx, bool, bool arg4)"
    )
    found = names(event)
    assert len(set(found)) == 6
    assert found[2:4] == ["address_", "tx_hash_"]
    assert [name[:8] for name in found[:2]] == ["foo_bar_", "foo_bar_"]


def test_only_values_of_bounded_size_may_be_indexed() -> None:
    (event,) = made("Seen(uint256 a, string b, bytes c, bytes32 d, uint8[2] e, string indexed f)")
    assert [column.is_indexable for column in event.columns] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_overloads_have_a_table_each() -> None:
    found = made("Sent(uint256 a)", "Sent(uint256 a, bool b)", "Paused()")
    first, second = (keccak(event.signature.encode()).hex()[:8] for event in found[:2])
    assert [event.table for event in found] == [
        f"token_sent_{first}",
        f"token_sent_{second}",
        "token_paused",
    ]


def test_both_standards_transfers_of_one_abi_have_a_table_each() -> None:
    found = made(TRANSFER, SINGLE)
    assert found[0].topic0 == found[1].topic0
    assert found[0].kind != found[1].kind
    assert found[0].table != found[1].table


def test_anonymous_events_have_no_topic() -> None:
    (event,) = made(
        "Note(bytes4 indexed, address indexed, bytes32 indexed, bytes32 indexed, bytes) anonymous"
    )
    assert event.anonymous
    assert event.topic0 is None
    assert event.kind == (None, 4)


def test_anonymous_events_that_differ_in_topics_or_length_are_told_apart() -> None:
    found = made(
        "A(bool indexed a, bytes b) anonymous",
        "B(bytes b) anonymous",
        "C(bool a, bool b, bool indexed c, bool indexed d) anonymous",
        "D(bool a, bool indexed c, bool indexed d) anonymous",
    )
    assert len({event.table for event in found}) == 4


@pytest.mark.parametrize(
    "texts",
    [
        ["A(bool a) anonymous", "B(uint256 b) anonymous"],
        ["A(bytes a) anonymous", "B(uint256 b) anonymous"],
        ["A(bool a) anonymous", "B(string b) anonymous"],
        ["A(bool indexed a, bool b)", "A(bool a, bool indexed b)"],
        ["A(string indexed a, bool b)", "A(string a, bool indexed b)"],
        ["A(bool a, bool b) anonymous", "B(bool a) anonymous", "C(int8 a) anonymous"],
    ],
)
def test_events_that_no_log_tells_apart_are_refused(texts: list[str]) -> None:
    with pytest.raises(AbiUnsupported, match="apart"):
        made(*texts)


def test_an_event_listed_twice_is_one_whatever_its_order() -> None:
    once = made("Sent(uint256 amount)")
    assert made("Sent(uint256 amount)", "Sent(uint256)") == once
    assert made("Sent(uint256)", "Sent(uint256 amount)") == once
    two = ["Sent(uint256 _amount, (bool b) s)", "Sent(uint256 value, (bool) s)"]
    assert made(*two) == made(*reversed(two))


@UNHURRIED
@given(st.randoms(use_true_random=False))
def test_tables_do_not_hang_on_the_order_of_the_abi(shuffler: random.Random) -> None:
    texts = [
        TRANSFER,
        SINGLE,
        "Sent(bool)",
        "Sent(uint8)",
        "Seen()",
        "SeenFinal()",
        "A(bool) anonymous",
    ]
    found = {(event.signature, event.kind): event for event in made(*texts)}
    shuffled = made(*shuffler.sample(texts, len(texts)))
    assert {(event.signature, event.kind): event for event in shuffled} == found


def test_other_entries_of_an_abi_are_passed_over() -> None:
    others: list[Any] = [
        {"type": "function", "name": "f", "inputs": [{"type": "nonsense"}]},
        {"type": "error", "name": "E"},
        {"type": "receive"},
        {"type": "newer"},
        {},
        "text",
        None,
    ]
    assert events("token", [*others, *abi_of("Paused()"), *others]) == made("Paused()")


@UNHURRIED
@given(cases(most=3), st.lists(items(depth=1), max_size=2), st.booleans())
def test_every_event_that_solidity_can_emit_has_a_table_and_an_encoder(
    case: tuple[list[Item], Any], indexed: list[Item], anonymous: bool
) -> None:
    inputs = case[0] + [{**item, "indexed": True, "name": "i"} for item in indexed]
    (event,) = events(
        "token", [{"type": "event", "name": "Seen", "inputs": inputs, "anonymous": anonymous}]
    )
    assert event.signature == f"Seen({','.join(map(abi_name, inputs))})"
    assert len({column.name for column in event.columns}) == len(event.columns)
    assert event.kind[1] == len(indexed) + (not anonymous)
    compile_encoder(event)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"name": "A", "inputs": [{"type": "uint12"}]}, "event 'A', input 0: 'uint12' is no type"),
        ({"name": "A", "inputs": [{"type": "tuple"}]}, "without components"),
        ({"name": "A", "inputs": [{"type": "bool", "name": "a b"}]}, "'a b' is no name"),
        ({"name": "A", "inputs": [{"type": "bool", "name": 5}]}, "'5' is no name"),
        ({"name": "A", "inputs": [{"name": "a"}]}, "no type"),
        ({"name": "A", "inputs": ["bool"]}, "no list of inputs"),
        ({"name": "A"}, "no list of inputs"),
        ({"name": "", "inputs": []}, "is no name of an event"),
        ({"inputs": []}, "is no name of an event"),
        ({"name": "A'; DROP TABLE x", "inputs": []}, "is no name of an event"),
        ({"name": "A(bool),B", "inputs": []}, "is no name of an event"),
        ({"name": "A" * 2000, "inputs": []}, "is no name of an event"),
        ({"name": "A", "inputs": [{"type": "bool", "indexed": True}] * 4}, "indexed"),
        (
            {"name": "A", "inputs": [{"type": "bool", "indexed": True}] * 5, "anonymous": True},
            "indexed",
        ),
        ({"name": "A", "inputs": [{"type": "bool"}] * (MAX_COLUMNS + 1)}, "301 columns"),
    ],
)
def test_what_solidity_cannot_emit_is_refused_with_the_reason(item: Item, why: str) -> None:
    with pytest.raises(AbiUnsupported, match=why) as refused:
        events("token", [{"type": "event", **item}])
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("name", ["Token", "1token", "to-ken", "", "a__b", "x" * 33])
def test_contract_names_that_cannot_name_tables_are_refused(name: str) -> None:
    with pytest.raises(AbiUnsupported):
        events(name, [])


def test_events_are_chosen_by_name_or_signature_in_the_abis_order() -> None:
    found = made("Sent(uint256 a)", "Sent(bool b)", "Paused()", TRANSFER)
    assert select(found, ["Paused", "Sent"]) == found[:3]
    assert select(found, ["Sent(bool)"]) == found[1:2]
    assert select(found, ["Sent(uint)"]) == found[:1]
    assert select(found, [f"event {TRANSFER};", "Paused", "Paused"]) == found[2:]
    assert select(found, []) == ()


def test_choosing_some_events_changes_no_names() -> None:
    found = made("Sent(uint256 a)", "Sent(bool b)")
    assert select(found, ["Sent(bool)"])[0].table == found[1].table != "token_sent"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("Tranfer", "nearest is 'Transfer'"),
        ("transfer", "nearest is 'Transfer'"),
        ("Transfer(address,address)", r"nearest is 'Transfer\(address,address,uint256\)'"),
        ("Transfer(adress)", "at character 10"),
        ("Burned", "it has 'Paused', 'Transfer'"),
        ("", "it has 'Paused', 'Transfer'"),
        ("x" * 100_000, "it has 'Paused', 'Transfer'"),
    ],
)
def test_an_unknown_event_is_refused_with_the_nearest(wanted: str, why: str) -> None:
    with pytest.raises(EventUnknown, match=why) as refused:
        select(made(TRANSFER, "Paused()"), [wanted])
    assert len(str(refused.value)) < 500


def test_an_abi_without_events_says_so() -> None:
    with pytest.raises(EventUnknown, match="no events"):
        select((), ["Transfer"])
