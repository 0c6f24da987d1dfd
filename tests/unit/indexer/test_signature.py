"""Signatures as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.signature import MAX_CHARACTERS, SignatureError, canonical, parse
from indexer.solidity import TypeUnknownError
from tests.unit.indexer.abi_cases import UNHURRIED, Item, abi_name, items


def written(item: Item, name: Callable[[], str]) -> str:
    """An input as somebody might write it."""
    kind: str = item["type"]
    if kind.startswith("tuple"):
        fields = ", ".join(written(field, name) for field in item["components"])
        word = "tuple" if item.get("spelt") else ""
        text = f"{word}({fields}){kind[len('tuple') :]}"
    else:
        text = kind
    return " ".join(filter(None, [text, "indexed" * bool(item.get("indexed")), item["name"]]))


@st.composite
def named(draw: st.DrawFn, item: Item, depth: int = 0) -> Item:
    """An input with names, and at the top with its ``indexed``."""
    name = draw(st.sampled_from(["", "a", "_from", "toAddress", "x$y", "é"]))
    found = {**item, "name": name, "spelt": draw(st.booleans())}
    if depth == 0:
        found["indexed"] = draw(st.booleans())
    if "components" in item:
        found["components"] = [draw(named(field, depth + 1)) for field in item["components"]]
    return found


def plain(item: Item) -> Item:
    """Without what only says how it was written."""
    found = {key: value for key, value in item.items() if key != "spelt"}
    if "components" in item:
        found["components"] = [plain(field) for field in item["components"]]
    return found


@UNHURRIED
@given(st.lists(items().flatmap(named), max_size=4), st.booleans(), st.data())
def test_what_is_written_is_read(inputs: list[Item], anonymous: bool, data: st.DataObject) -> None:
    parts = ", ".join(written(item, str) for item in inputs)
    text = f"{'event ' * data.draw(st.booleans())}Seen({parts}){' anonymous' * anonymous}"
    spaced = text.replace(" ", data.draw(st.sampled_from([" ", "\n\t", "  "])))
    item = parse(spaced + data.draw(st.sampled_from(["", ";", " ; "])))
    assert item == {
        "type": "event",
        "name": "Seen",
        "inputs": [plain(each) for each in inputs],
        "anonymous": anonymous,
    }
    assert canonical(item) == f"Seen({','.join(map(abi_name, inputs))})"


def test_a_transfer_is_read_into_an_item_of_an_abi() -> None:
    item = parse("event Transfer(address indexed from, address payable indexed to, uint value);")
    assert item == {
        "type": "event",
        "name": "Transfer",
        "inputs": [
            {"type": "address", "indexed": True, "name": "from"},
            {"type": "address", "indexed": True, "name": "to"},
            {"type": "uint256", "indexed": False, "name": "value"},
        ],
        "anonymous": False,
    }
    assert canonical(item) == "Transfer(address,address,uint256)"


def test_nested_tuples_keep_their_fields_names() -> None:
    item = parse("E((uint256 a, (address b, bytes c)[] d)[2] indexed x)")
    inner = [
        {"type": "address", "name": "b"},
        {"type": "bytes", "name": "c"},
    ]
    assert item["inputs"] == [
        {
            "type": "tuple[2]",
            "components": [
                {"type": "uint256", "name": "a"},
                {"type": "tuple[]", "components": inner, "name": "d"},
            ],
            "indexed": True,
            "name": "x",
        }
    ]
    assert canonical(item) == "E((uint256,(address,bytes)[])[2])"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", 1, "event's name, but found the text ends"),
        ("Transfer", 9, "expected '('"),
        ("event (uint256 a)", 7, "event's name"),
        ("Transfer(address from", 22, "',' or ')', but found the text ends"),
        ("Transfer(address from,)", 23, "a type"),
        ("Transfer(address from to)", 23, "',' or ')', but found 'to'"),
        ("Transfer(IERC20 token)", 10, "for a contract address"),
        ("Transfer(uint257 a)", 10, "'uint257'"),
        ("Transfer(uint256[0] a)", 18, "a length of at least 1"),
        ("Transfer(uint256[ a)", 19, "']'"),
        ("Transfer(uint256[٣] a)", 18, "']'"),
        ("Transfer(tuple a)", 16, "the tuple's fields"),
        ("Transfer(() a)", 11, "a type"),
        ("Transfer((uint256 indexed a) b)", 19, "a name, but found 'indexed'"),
        ("Transfer(uint256 a) public", 21, "the end, but found 'public'"),
        ("Transfer(uint256 a);; ", 21, "the end"),
        ("Transfer(uint256 memory a)", 18, "a name"),
        ("9Transfer()", 1, "event's name"),
        ("Transfer(uint256 a, ...)", 21, "a type"),
        ("Trans-fer()", 6, "'('"),
        ("Transfer(uint256 1a)", 18, "',' or ')'"),
        ("Transfer(" + "(" * 5000, 42, "32 deep"),
        ("Transfer(uint256" + "[]" * 33, 83, "32 dimensions"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, where: int, what: str) -> None:
    with pytest.raises(SignatureError) as refused:
        parse(text)
    assert f"at character {where}:" in str(refused.value)
    assert what in str(refused.value)


@UNHURRIED
@given(st.text(st.sampled_from("aT(),[]; 1$\nuint256 indexed tuple event é٣"), max_size=60))
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    try:
        parse(text)
    except SignatureError as error:
        reason = str(error)
        assert len(reason) < 300
        assert reason.isprintable()


def test_the_length_is_bounded() -> None:
    with pytest.raises(SignatureError, match="characters"):
        parse("A(" + " " * MAX_CHARACTERS + ")")


@pytest.mark.parametrize(
    "item", [{"name": "A"}, {"name": "A", "inputs": [5]}, {"name": "A", "inputs": [{}]}]
)
def test_items_without_types_have_no_signature(item: Item) -> None:
    with pytest.raises(TypeUnknownError):
        canonical(item)
