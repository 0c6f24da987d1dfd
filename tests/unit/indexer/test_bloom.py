"""The bloom filter of a block's logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from indexer import bloom
from indexer.block import Log

ADDRESS = st.binary(min_size=20, max_size=20)
TOPICS = st.lists(st.binary(min_size=32, max_size=32), max_size=4)


def log_of(address: bytes, topics: list[bytes]) -> Log:
    return Log(address, tuple(topics), b"", bytes(32), 1, bytes(32), 0, 0)


@given(st.lists(st.tuples(ADDRESS, TOPICS), max_size=5))
def test_whatever_is_logged_is_in_the_bloom(logged: list[tuple[bytes, list[bytes]]]) -> None:
    made = bloom.of_logs(log_of(*one) for one in logged)
    for address, topics in logged:
        assert all(bloom.may_contain(made, [bloom.mask(one)]) for one in (address, *topics))


def test_an_empty_bloom_has_nothing() -> None:
    assert not bloom.may_contain(bytes(256), [bloom.mask(b"\1" * 20)])
    assert not bloom.may_contain(b"\xff" * 256, [])


def test_a_mask_is_the_three_bits_of_the_yellow_paper() -> None:
    """Bits 1323, 431 and 1319 for this value, counted from the lowest, as in the Yellow Paper's example."""
    value = bytes.fromhex("0f572e5295c57f15886f9b263e2f6d2d6c7b5ec6")
    assert bloom.mask(value) == 1 << 1323 | 1 << 431 | 1 << 1319
