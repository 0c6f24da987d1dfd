"""RLP, against the package that everybody else uses."""

from __future__ import annotations

import pytest
import rlp as oracle
from hypothesis import given
from hypothesis import strategies as st

from indexer import rlp

LENGTHS = [0, 1, 2, 54, 55, 56, 57, 255, 256, 257, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("byte", [0x00, 0x01, 0x7F, 0x80, 0xFF])
def test_a_string_of_any_length_is_what_the_package_makes(length: int, byte: int) -> None:
    value = bytes((byte,)) * length
    assert rlp.string(value) == oracle.encode(value)
    assert rlp.string_digits(value.hex()) == oracle.encode(value).hex()


@given(st.integers(0, 2**256 - 1), st.integers(0, 5))
def test_a_number_has_no_leading_zeros(value: int, zeros: int) -> None:
    assert rlp.number_digits("0" * zeros + f"{value:x}") == oracle.encode(value).hex()


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_a_list_is_its_items_behind_a_head(items: list[bytes]) -> None:
    assert rlp.sequence(b"".join(map(rlp.string, items))) == oracle.encode(items)
