import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.limits import (
    COLUMNS,
    COPY_END,
    COPY_HEADER,
    Parts,
    encoded,
    encoded_numeric,
    sliced,
)


def test_parts_are_summed_one_after_the_other() -> None:
    parts = Parts(events=100_000, fetch_s=0.5, slice_s=0.25, encode_s=0.125, copy_s=0.125)
    assert parts.total_s == 1.0
    assert parts.events_per_s == 100_000


def test_windows_add_up() -> None:
    total = Parts(10, 1.0, 2.0, 3.0, 4.0) + Parts(20, 0.5, 0.5, 0.5, 0.5)
    assert total == Parts(30, 1.5, 2.5, 3.5, 4.5)
    assert total.facts()["total_s"] == 12.0


def test_nothing_measured_is_no_rate() -> None:
    assert Parts().events_per_s == 0.0


@given(st.integers(min_value=0, max_value=2**256 - 1))
def test_a_numeric_has_the_digits_of_its_number(value: int) -> None:
    encoded_value = encoded_numeric(value)
    count, weight, sign, scale = struct.unpack_from(">HhHH", encoded_value)
    digits = struct.unpack_from(f">{count}H", encoded_value, 8)
    assert (sign, scale) == (0, 0)
    assert sum(digit * 10_000 ** (weight - i) for i, digit in enumerate(digits)) == value
    assert not digits or (digits[0] > 0 and digits[-1] > 0)


def test_a_log_is_sliced_into_its_fields() -> None:
    log = {
        "blockNumber": "0x10",
        "blockHash": "0x" + "11" * 32,
        "logIndex": "0x2",
        "transactionHash": "0x" + "22" * 32,
        "topics": ["0x", "0x" + "0" * 24 + "33" * 20, "0x" + "0" * 24 + "44" * 20],
        "data": "0x" + f"{5:064x}",
    }
    assert sliced([log]) == [(16, b"\x11" * 32, 2, b"\x22" * 32, b"\x33" * 20, b"\x44" * 20, 5)]


@pytest.mark.parametrize("rows", [0, 3])
def test_rows_are_framed_as_copy_wants_them(rows: int) -> None:
    row = (16, b"\x11" * 32, 2, b"\x22" * 32, b"\x33" * 20, b"\x44" * 20, 10_001)
    blob = encoded([row] * rows)
    assert blob.startswith(COPY_HEADER)
    assert blob.endswith(COPY_END)
    body = blob[len(COPY_HEADER) : -len(COPY_END)]
    for _ in range(rows):
        (columns,) = struct.unpack_from(">h", body)
        assert columns == len(COLUMNS)
        body = body[2:]
        for _ in range(columns):
            (size,) = struct.unpack_from(">i", body)
            body = body[4 + size :]
    assert body == b""
