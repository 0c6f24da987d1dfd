"""The root of an ordered trie, against the package ``trie``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.trie import ordered_root
from tests.unit.indexer.receipts_oracle import root_of_values


def test_nothing_has_the_root_of_an_empty_string() -> None:
    assert (
        ordered_root([]).hex() == "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    )


# Where keys get another length (128, 256) and branches another shape.
@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 127, 128, 129, 130, 255, 256, 257, 600])
@pytest.mark.parametrize("length", [1, 28, 33, 300])
def test_the_root_is_what_the_package_makes(count: int, length: int) -> None:
    """Values of 1 byte make nodes that stand inside their parents, those of 28 some of each."""
    values = [
        (position + 1).to_bytes(4, "big").lstrip(b"\0").rjust(length, b"\7")
        for position in range(count)
    ]
    assert ordered_root(values) == root_of_values(values)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=200))
def test_the_root_is_what_the_package_makes_of_anything(values: list[bytes]) -> None:
    assert ordered_root(values) == root_of_values(values)


def test_two_values_that_change_places_change_the_root() -> None:
    assert ordered_root([b"\1", b"\2"]) != ordered_root([b"\2", b"\1"])
    assert ordered_root([b"\1"]) != ordered_root([b"\1", b"\1"])
