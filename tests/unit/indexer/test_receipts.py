"""Receipts and their root: against other people's code, real chains, and forgeries."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import wire
from indexer.receipts import encode, receipts_root
from tests.unit.indexer.receipts_oracle import ADDRESS, TOPIC, encoded, log, receipt, root_of

DATA_LENGTHS = [0, 1, 2, 31, 32, 33, 54, 55, 56, 57, 64, 255, 256, 300, 1024, 1025, 70_000]
EMPTY_BLOOM = "0x" + "0" * 512


def deposit(cumulative_gas_used: str, nonce: str | None, version: str | None) -> wire.Receipt:
    plain = receipt(type="0x7e", cumulative_gas_used=cumulative_gas_used)
    fields = msgspec.structs.asdict(plain) | {
        "deposit_nonce": nonce,
        "deposit_receipt_version": version,
    }
    return wire.Receipt(**fields)


@pytest.mark.parametrize("topics", range(5))
@pytest.mark.parametrize("length", DATA_LENGTHS)
def test_a_log_of_any_shape_is_encoded_as_the_package_does(topics: int, length: int) -> None:
    for byte in ("00", "7f", "80", "ff"):
        made = receipt([log([TOPIC] * topics, "0x" + byte * length), log()])
        assert encode(made) == encoded(made)


@pytest.mark.parametrize("kind", [None, "0x0", "0x1", "0x2", "0x3", "0x4"])
@pytest.mark.parametrize("status", ["0x0", "0x1"])
def test_a_receipt_of_any_type_is_encoded_as_the_package_does(
    kind: str | None, status: str
) -> None:
    for logs in ([], [log()], [log()] * 30):
        made = receipt(logs, type=kind, status=status, cumulative_gas_used="0x1c9c380")
        assert encode(made) == encoded(made)


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.binary(min_size=20, max_size=20),
                st.lists(st.binary(min_size=32, max_size=32), max_size=4),
                st.binary(max_size=80),
            ),
            max_size=4,
        ),
        max_size=20,
    )
)
def test_the_root_of_any_receipts_is_what_the_packages_make(
    blocks: list[list[tuple[bytes, list[bytes], bytes]]],
) -> None:
    receipts = [
        receipt(
            [
                log(
                    [f"0x{topic.hex()}" for topic in topics],
                    f"0x{data.hex()}",
                    f"0x{address.hex()}",
                )
                for address, topics, data in logs
            ]
        )
        for logs in blocks
    ]
    assert receipts_root(receipts) == root_of(receipts)


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
def test_the_root_of_many_receipts_is_what_the_packages_make(count: int) -> None:
    receipts = [
        receipt([log()] * (position % 3), cumulative_gas_used=hex(21_000 * (position + 1)))
        for position in range(count)
    ]
    assert receipts_root(receipts) == root_of(receipts)


def test_the_first_block_with_a_transaction_has_its_known_root() -> None:
    """Mainnet's block 46147: before Byzantium, a receipt has the state's root."""
    state = "0x96a8e009d2b88b1483e6941e6812e32263b05683fac202abc622a3e31aed1957"
    made = receipt(type="0x0", status=None, root=state, cumulative_gas_used="0x5208")
    assert receipts_root([made]).hex() == (
        "fe2bf2a941abf41d72637e5b91750332a30283efd40c424dc522b77e6f0ed8c4"
    )


def test_a_block_of_an_op_stack_chain_has_its_known_roots() -> None:
    """Unichain Sepolia's block 35535698, as it stood after two and after three transactions."""
    third = log(
        ["0xfaddd0b06e793a583e92393ad3f98637e560462ee98db1f2888f141124ee64ca"],
        "0x000000000000000000000000000000000000000000000000000000000029ac5c",
        "0xf878f0340bf132c28f3211e8b46c569edf817495",
    )
    receipts = [
        deposit("0xb41c", "0x21e3b52", "0x1"),
        receipt(type="0x2", cumulative_gas_used="0x10994"),
        receipt([third], type="0x2", cumulative_gas_used="0x18f7d"),
    ]
    assert receipts_root(receipts[:2]).hex() == (
        "91d8ad10740ccfc1bd848fba0e02668d95769c08eeea30f10698692ba86c6159"
    )
    assert receipts_root(receipts).hex() == (
        "1eaaaeb9d43bead7d32b90f1b320589174c63d2fa8f5fd366f841a205b1eb2e0"
    )


def test_a_deposit_before_canyon_is_hashed_without_its_nonce() -> None:
    told = deposit("0xb41c", "0x21e3b52", None)
    assert encode(told) == encode(deposit("0xb41c", None, None))
    with pytest.raises(ValueError, match="no depositNonce"):
        encode(deposit("0xb41c", None, "0x1"))


@pytest.mark.parametrize("kind", ["0x5", "0x64", "0x7b", "0x7f", "0xff", "0x100", "2"])
def test_a_type_that_is_not_known_is_refused_by_its_number(kind: str) -> None:
    with pytest.raises(ValueError, match=f"receipt 1: its type '{kind}'"):
        receipts_root([receipt(), receipt(type=kind)])


def test_a_receipt_has_a_status_or_a_root_and_not_both() -> None:
    with pytest.raises(ValueError, match="neither a status nor a root"):
        encode(receipt(status=None))
    with pytest.raises(ValueError, match="a status and a root"):
        encode(receipt(root=TOPIC))
    with pytest.raises(ValueError, match="neither 0x0 nor 0x1"):
        encode(receipt(status="0x2"))
    with pytest.raises(ValueError, match="32 bytes"):
        encode(receipt(status=None, root="0x" + "b2" * 31))


def test_a_bloom_that_is_not_the_logs_is_refused() -> None:
    for bloom in (EMPTY_BLOOM, "0x" + "f" * 512):
        with pytest.raises(ValueError, match="not the bloom of its logs"):
            encode(receipt([log()], logs_bloom=bloom))
    with pytest.raises(ValueError, match="not the bloom of its logs"):
        encode(receipt([], logs_bloom="0x" + "0" * 511 + "1"))


# Each is the text of a log's field that stands for nothing, or for what another text stands for.
MALFORMED: dict[str, list[str | tuple[str, ...]]] = {
    "address": [
        ADDRESS[2:] + "a1",
        ADDRESS + "a1",
        ADDRESS[:-2],
        "0X" + ADDRESS[2:],
        ADDRESS[:-1] + "g",
        ADDRESS[:-1] + " ",
        ADDRESS[:-1] + "\n",
        "0x0x" + ADDRESS[4:],
    ],
    "topics": [
        (TOPIC[2:] + "b2",),
        (TOPIC + "b2",),
        (TOPIC[:-2],),
        ("0x0x" + TOPIC[4:],),
        (TOPIC[:-1] + "x",),
        (TOPIC[:-1] + "_",),
        ("0x" + "٠" * 64,),
        (ADDRESS,),
        (TOPIC,) * 5,
    ],
    "data": [
        "",
        "0",
        "00",
        "0x0",
        "0X00",
        "0x0g",
        "0x 0",
        "0x0_",
        "0x0x",
        "0x" + "0" * 63,
        "a0" + "0" * 64,
        "0x0x" + "0" * 62,
        "0x" + "0" * 62 + "0x",
        "0x" + "0" * 63 + "x",
    ],
}


@pytest.mark.parametrize(
    ("field", "text"), [(field, text) for field, texts in MALFORMED.items() for text in texts]
)
def test_a_log_with_a_malformed_text_has_no_encoding(field: str, text: object) -> None:
    good = log(data="0x" + "00" * 32)
    bad = msgspec.structs.replace(good, **{field: text})
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by unhexlify()
        encode(receipt([bad], logs_bloom=receipt([good]).logs_bloom))


def test_two_halves_of_a_byte_in_two_logs_are_not_a_byte() -> None:
    with pytest.raises(ValueError, match="odd number of digits"):
        encode(receipt([log(data="0x123"), log(data="0x456")]))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("cumulative_gas_used", "0x"),
        ("cumulative_gas_used", "21000"),
        ("cumulative_gas_used", "0x52_08"),
        ("cumulative_gas_used", "0x5g"),
        ("logs_bloom", "0" * 514),
        ("logs_bloom", EMPTY_BLOOM[:-2]),
        ("logs_bloom", EMPTY_BLOOM[:-1] + " "),
        ("logs_bloom", EMPTY_BLOOM[:-1] + "_"),
    ],
)
def test_a_receipt_with_a_malformed_text_has_no_encoding(field: str, text: str) -> None:
    bad = msgspec.structs.replace(receipt(), **{field: text})
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by unhexlify()
        encode(bad)


SHAPES = [
    [log([TOPIC, "0x" + "0d" * 32], "0x" + "0e" * 32), log([], "0x05")],
    [log([TOPIC] * 4, "0x" + "0f" * 70)],
]


@given(st.sampled_from(SHAPES), st.data())
def test_no_other_text_has_the_same_root(logs: list[wire.Log], draw: st.DataObject) -> None:
    """Whatever character of a log is put in place of another, the root changes or is refused. The bloom is
    made to fit where it can be, as a forger would."""
    place = draw.draw(st.integers(0, len(logs) - 1))
    fields = ["address", "data", *(f"topic {n}" for n in range(len(logs[place].topics)))]
    field = draw.draw(st.sampled_from(fields))
    topics = list(logs[place].topics)
    text = {"address": logs[place].address, "data": logs[place].data}.get(field, "")
    number = int(field.removeprefix("topic ")) if field.startswith("topic") else -1
    text = topics[number] if number >= 0 else text
    at = draw.draw(st.integers(0, len(text) - 1))
    forged = text[:at] + draw.draw(st.sampled_from("0123456789abcdefx_ \n")) + text[at + 1 :]
    if forged == text:
        return
    if number >= 0:
        topics[number] = forged
        changed = msgspec.structs.replace(logs[place], topics=tuple(topics))
    else:
        changed = msgspec.structs.replace(logs[place], **{field: forged})
    others = [*logs[:place], changed, *logs[place + 1 :]]
    try:
        root = receipts_root([receipt(others)])
    except ValueError:
        return
    assert root != receipts_root([receipt(logs)])


def test_capital_digits_are_the_same_bytes() -> None:
    upper = log(["0x" + "B2" * 32], "0xAB", "0x" + "A1" * 20)
    assert encode(receipt([upper])) == encode(receipt([log([TOPIC], "0xab")]))
