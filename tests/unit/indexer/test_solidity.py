"""Types, as an ABI names them."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.grammar import parse as eth_abi_parse
from hypothesis import given

from indexer.solidity import MAX_NESTING, Elementary, TypeUnknownError, solidity_type
from tests.unit.indexer.abi_cases import UNHURRIED, Item, abi_name, items

PAIR = [{"name": "a", "type": "uint"}, {"name": "", "type": "string"}]


@UNHURRIED
@given(items())
def test_the_canonical_name_and_the_place_of_a_value_are_as_eth_abi_has_them(item: Item) -> None:
    kind = solidity_type(item)
    assert kind.name == abi_name(item)
    assert kind.is_dynamic == eth_abi_parse(kind.name).is_dynamic


@pytest.mark.parametrize(
    ("name", "canonical", "pg_type"),
    [
        ("uint", "uint256", "numeric(78,0)"),
        ("int", "int256", "numeric(78,0)"),
        ("int8", "int8", "numeric(78,0)"),
        ("fixed", "fixed128x18", "numeric(78,18)"),
        ("ufixed", "ufixed128x18", "numeric(78,18)"),
        ("fixed168x10", "fixed168x10", "numeric(78,10)"),
        ("fixed256x80", "fixed256x80", "numeric(80,80)"),
        ("ufixed8x0", "ufixed8x0", "numeric(78,0)"),
        ("address payable", "address", "bytea"),
        ("byte", "bytes1", "bytea"),
        ("function", "function", "bytea"),
        ("bytes", "bytes", "bytea"),
        ("bool", "bool", "boolean"),
        ("string", "string", "text"),
        ("uint[]", "uint256[]", "numeric(78,0)[]"),
        ("bytes32[3]", "bytes32[3]", "bytea[]"),
        ("string[]", "string[]", "text[]"),
        ("bool[2]", "bool[2]", "boolean[]"),
        ("uint8[2][]", "uint8[2][]", "jsonb"),
        ("tuple", "(uint256,string)", "jsonb"),
        ("tuple[]", "(uint256,string)[]", "jsonb"),
    ],
)
def test_every_type_has_a_column(name: str, canonical: str, pg_type: str) -> None:
    kind = solidity_type({"type": name, "components": PAIR})
    assert (kind.name, kind.pg_type) == (canonical, pg_type)


@pytest.mark.parametrize(
    ("name", "length"), [("address", 20), ("bytes7", 7), ("function", 24), ("bytes", None)]
)
def test_bytes_of_one_length_know_it(name: str, length: int | None) -> None:
    kind = solidity_type({"type": name})
    assert isinstance(kind, Elementary)
    assert kind.length_bytes == length


@pytest.mark.parametrize(
    "name",
    [
        *("", "uint0", "uint12", "uint264", "uint08", "uint256 ", " uint256", "UINT256", "int_8"),
        *("bytes0", "bytes33", "bytes032", "fixed8", "fixed8x81", "fixed12x1", "fixed8x01"),
        *("uint256[0]", "uint256[-1]", "uint256[01]", "uint256[", "uint256]", "[]", "uint256[] []"),
        *("mapping(uint256 => bool)", "IERC20", "enum Foo.Bar", "uint256\n", "uint٨", "x" * 2000),
        *(None, 5, "uint256[99999999999]", "bytes[99999999999]", "uint256[1000000][1000000]"),
    ],
)
def test_what_is_no_type_is_refused(name: object) -> None:
    with pytest.raises(TypeUnknownError):
        solidity_type({"type": name, "components": PAIR})


@pytest.mark.parametrize(
    "components",
    [None, [], "x", [5], [{"type": "uint13"}], [{"name": "a b", "type": "bool"}], [{}]],
)
def test_tuples_of_nothing_or_of_no_types_are_refused(components: Any) -> None:
    with pytest.raises(TypeUnknownError):
        solidity_type({"type": "tuple", "components": components})


def test_nesting_is_bounded() -> None:
    deepest: Item = {"type": "uint256" + "[]" * MAX_NESTING}
    solidity_type(deepest)
    with pytest.raises(TypeUnknownError, match="deep"):
        solidity_type({"type": "uint256" + "[]" * (MAX_NESTING + 1)})
    item: Item = {"type": "bool"}
    for _ in range(5000):
        item = {"type": "tuple", "components": [item]}
    with pytest.raises(TypeUnknownError, match="deep"):
        solidity_type(item)
