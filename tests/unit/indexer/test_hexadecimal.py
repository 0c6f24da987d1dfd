"""Numbers and bytes in JSON-RPC, read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.hexadecimal import from_data, from_quantity, to_data, to_quantity


@given(st.integers(0, 2**256 - 1))
def test_quantities_survive_the_way_there_and_back(value: int) -> None:
    assert from_quantity(to_quantity(value)) == value


@given(st.binary(max_size=100))
def test_data_survives_the_way_there_and_back(value: bytes) -> None:
    assert from_data(to_data(value)) == value


@pytest.mark.parametrize(
    "text", ["", "0x", "1", "0x_1", "0x+1", "0x 1", "-0x1", "0xg", "0x١", None, 1, "0x" + "f" * 65]
)
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by int()
        from_quantity(text)


@pytest.mark.parametrize("text", ["", "00", "0x0", "0xgg", "0x0 00", None, 0])
def test_what_is_no_data_is_refused(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by fromhex()
        from_data(text)


def test_lengths_and_widths_are_held_to() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        from_data("0x00", 32)
    with pytest.raises(ValueError, match="8 bits"):
        from_quantity("0x100", 8)
    with pytest.raises(ValueError, match="negative"):
        to_quantity(-1)
