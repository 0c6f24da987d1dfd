"""The bloom filter of a block's logs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import bloom
from indexer.hexadecimal import to_data
from tests.unit.indexer.receipts_oracle import log

ADDRESS = st.binary(min_size=20, max_size=20)
TOPICS = st.lists(st.binary(min_size=32, max_size=32), max_size=4)


@given(st.lists(st.tuples(ADDRESS, TOPICS), max_size=5))
def test_whatever_is_logged_is_in_the_bloom_and_nothing_else(
    logged: list[tuple[bytes, list[bytes]]],
) -> None:
    made = bloom.of_logs(
        log(address=to_data(address), topics=tuple(map(to_data, topics)))
        for address, topics in logged
    )
    bits = 0
    for address, topics in logged:
        for value in (address, *topics):
            assert bloom.may_contain(made, [bloom.mask(value)])
            bits |= bloom.mask(value)
    assert int.from_bytes(made, "big") == bits


def test_an_empty_bloom_has_nothing() -> None:
    assert not bloom.may_contain(bytes(256), [bloom.mask(b"\1" * 20)])
    assert not bloom.may_contain(b"\xff" * 256, [])


def test_a_mask_is_the_three_bits_of_the_yellow_paper() -> None:
    """Bits 1323, 431 and 1319 for this value, counted from the lowest, as in the Yellow Paper's example."""
    value = bytes.fromhex("0f572e5295c57f15886f9b263e2f6d2d6c7b5ec6")
    expected = 1 << 1323 | 1 << 431 | 1 << 1319
    assert bloom.mask(value) == expected
    assert bloom.of_values([to_data(value)], []) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "0x" + "a1" * 19,
        "0x" + "a1" * 21,
        "a1" * 21,
        "0X" + "a1" * 20,
        "0x" + "a1" * 19 + " 1",
        "0x" + "a1" * 19 + "_1",
        "0x" + "a1" * 19 + "g1",
        "0x" + "a1" * 19 + "١1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by unhexlify()
        bloom.of_values([text], [])


def test_an_address_is_no_topic_and_a_topic_no_address() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        bloom.of_values([], ["0x" + "a1" * 20])
    with pytest.raises(ValueError, match="20 bytes"):
        bloom.of_values(["0x" + "a1" * 32], [])


def test_masks_are_forgotten_when_there_are_too_many_and_made_again() -> None:
    masks = bloom.Masks(20, capacity=4)
    texts = [f"0x{value:040x}" for value in range(10)]
    made = [masks[text] for text in texts]
    assert len(masks) <= 4
    assert [masks[text] for text in texts] == made


@pytest.mark.parametrize("text", ["0x", "0x" + "0" * 510, "0" * 514, "0x" + "0" * 511 + "g"])
def test_what_is_no_bloom_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by unhexlify()
        bloom.of_text(text)
