"""Logs as rows, against eth_abi as an independent writer and reader of the same encoding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_abi.decoding import ByteStringDecoder
from hypothesis import given
from hypothesis import strategies as st

from indexer import signature, tail
from indexer.abi import Event, events
from indexer.encoder import compile_encoder
from indexer.solidity import MisfitError
from tests.unit.indexer import abi_cases
from tests.unit.indexer.abi_cases import (
    UNHURRIED,
    Item,
    Value,
    abi_name,
    cases,
    elementary_values,
    stored,
)

OWN_TOPIC = "0x" + "dd" * 32
# Small enough to be refused at once, far too much to be read element by element.
HUGE = 2**40
EXACT = Context(prec=200)


def event_of(inputs: Sequence[Item], *, anonymous: bool = False) -> Event:
    item = {"type": "event", "name": "Seen", "inputs": list(inputs), "anonymous": anonymous}
    return events("token", [item])[0]


def written(text: str) -> Event:
    return events("token", [signature.parse(text)])[0]


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def words(*numbers: int) -> bytes:
    return b"".join((number % 2**256).to_bytes(32, "big") for number in numbers)


def encoded(event: Event, topics: Sequence[bytes], data: bytes) -> list[Value]:
    """The row of a log, read back. Topics are those of the indexed inputs."""
    own = [] if event.anonymous else [OWN_TOPIC]
    row = compile_encoder(event)((*own, *map(hexed, topics)), hexed(data))
    return abi_cases.read_row([column.pg_type for column in event.columns], row)


def attempted(event: Event, data: bytes, topics: Sequence[bytes] = ()) -> list[Value] | MisfitError:
    try:
        return encoded(event, topics, data)
    except MisfitError as error:
        return error


def read_by_eth_abi(inputs: Sequence[Item], data: bytes) -> list[Value]:
    """Its view of the same data, with the padding of strings as old compilers left it: anything or, at
    the end, nothing."""
    with pytest.MonkeyPatch.context() as patched:
        # Its own argument for this does not reach strings inside tuples and arrays.
        lenient = property(lambda _: False, lambda _, __: None)
        patched.setattr(ByteStringDecoder, "strict", lenient)
        found = decode([abi_name(item) for item in inputs], data + bytes(32))
    return [_from_eth_abi(*pair) for pair in zip(inputs, found, strict=True)]


def expected(inputs: Sequence[Item], values: Sequence[Value]) -> list[Value]:
    pairs = zip(inputs, values, strict=True)
    return [one for item, value in pairs for one in stored(item, value)]


@UNHURRIED
@given(cases())
def test_what_eth_abi_encodes_becomes_its_columns(case: tuple[list[Item], list[Value]]) -> None:
    inputs, values = case
    data = encode([abi_name(item) for item in inputs], values)
    assert encoded(event_of(inputs), [], data) == expected(inputs, values)


@UNHURRIED
@given(abi_cases.TEXT, st.lists(abi_cases.TEXT, max_size=3))
def test_no_text_breaks_the_quoting_of_a_column_an_array_or_json(
    text: str, more: list[str]
) -> None:
    event = written("A(string a, string[] b, string[][] c, (string s)[] d)")
    kinds = ["string", "string[]", "string[][]", "(string)[]"]
    data = encode(kinds, [text, more, [more, [text]], [(text,)]])
    assert encoded(event, [], data) == [text, more, [more, [text]], [{"s": text}]]


@UNHURRIED
@given(st.lists(abi_cases.elementary_types(), max_size=4), st.booleans(), st.data())
def test_indexed_values_are_read_from_the_topics(
    kinds: list[str], anonymous: bool, data: st.DataObject
) -> None:
    kinds = kinds if anonymous else kinds[:3]
    event = event_of(
        [{"type": kind, "name": f"a{place}", "indexed": True} for place, kind in enumerate(kinds)],
        anonymous=anonymous,
    )
    topics, values = [], []
    for kind in kinds:
        if kind in ("string", "bytes"):
            topics.append(data.draw(st.binary(min_size=32, max_size=32)))
            values.append(topics[-1])
        else:
            values.append(data.draw(elementary_values(kind)))
            topics.append(encode([kind], [values[-1]]))
    assert encoded(event, topics, b"") == values


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """With some bytes and some whole words changed, into numbers that are good offsets and lengths too."""
    found = bytearray(data)
    number = st.one_of(
        st.integers(0, 12).map(lambda each: each * 32),
        st.integers(0, 3),
        st.sampled_from([2**256 - 32, 2**255, 2**64, 2**63 - 1, 2**32, 2**256 - 1]),
    )
    for _ in range(draw(st.integers(0, 3)) if found else 0):
        place = draw(st.integers(0, len(found) - 1))
        if draw(st.booleans()):
            found[place] = draw(st.integers(0, 255))
        else:
            found[place - place % 32 : place - place % 32 + 32] = words(draw(number))
    return bytes(found[: len(found) - draw(st.sampled_from([0, 0, 0, 1, 31, 32]))])


@UNHURRIED
@given(cases(), st.data())
def test_damaged_data_is_refused_or_read_as_eth_abi_reads_it(
    case: tuple[list[Item], list[Value]], data: st.DataObject
) -> None:
    inputs, values = case
    found = data.draw(damaged(encode([abi_name(item) for item in inputs], values)))
    ours = attempted(event_of(inputs), found)
    if not isinstance(ours, MisfitError):
        assert ours == expected(inputs, read_by_eth_abi(inputs, found))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A(bytes a, string b)", [b"abc", "de"]),
        ("A(uint8[][] a)", [[[1, 2], [], [3]]]),
        ("A((string, bytes[])[] a)", [[("ab", [b"", b"cd"]), ("", [])]]),
        ("A(string[2][] a)", [[["a", "b"], ["c", "d"]]]),
        ("A((bool, bytes)[1] a, uint256[2][] b)", [[(True, b"x")], [[1, 2]]]),
    ],
)
@UNHURRIED
@given(data=st.data())
def test_offsets_and_lengths_of_all_kinds_are_followed_as_eth_abi_does(
    text: str, values: list[Value], data: st.DataObject
) -> None:
    event, inputs = written(text), signature.parse(text)["inputs"]
    found = data.draw(damaged(encode([abi_name(item) for item in inputs], values)))
    ours = attempted(event, found)
    if not isinstance(ours, MisfitError):
        assert ours == expected(inputs, read_by_eth_abi(inputs, found))


def _from_eth_abi(item: Item, value: Any) -> Value:
    kind: str = item["type"]
    if kind.endswith("]"):
        inner = {**item, "type": kind[: kind.rindex("[")]}
        return [_from_eth_abi(inner, one) for one in value]
    if kind == "tuple":
        pairs = zip(item["components"], value, strict=True)
        return tuple(_from_eth_abi(*pair) for pair in pairs)
    if "fixed" in kind:
        # It drops zeros behind the point.
        return value.quantize(Decimal(1).scaleb(-int(kind.rpartition("x")[2])), context=EXACT)
    return bytes.fromhex(value[2:]) if kind == "address" else value


@UNHURRIED
@given(cases(), st.binary(max_size=400), st.integers(0, 5))
def test_no_log_whatever_raises_anything_but_a_misfit(
    case: tuple[list[Item], list[Value]], data: bytes, topics: int
) -> None:
    event = event_of(case[0])
    for each in (data, data.ljust(-(-len(data) // 32) * 32, b"\0")):
        outcome = attempted(event, each, [bytes(32)] * topics)
        if isinstance(outcome, MisfitError):
            reason = str(outcome)
            assert 0 < len(reason) < 300
            assert reason.isascii()
            assert reason.isprintable()


@UNHURRIED
@given(st.text(min_size=2, max_size=200))
def test_data_that_is_not_hexadecimal_is_a_misfit(text: str) -> None:
    fits = compile_encoder(written("A(uint256 a)"))
    with pytest.raises(MisfitError):
        fits((OWN_TOPIC,), "0x" + (text * 32)[:63] + "_")
    with pytest.raises(MisfitError):
        compile_encoder(written("A(string a)"))((OWN_TOPIC,), text + "g" * 64)


@pytest.mark.parametrize("word", ["-1", "+1", "_1", " 1", "1 ", "1\n", "١1", "0X", "1\t"])
def test_what_int_would_take_for_a_number_is_not_taken(word: str) -> None:
    text = "0x" + "0" * (64 - len(word)) + word
    with pytest.raises(MisfitError, match="hexadecimal"):
        compile_encoder(written("A(uint256 a)"))((OWN_TOPIC,), text)
    with pytest.raises(MisfitError, match="hexadecimal"):
        compile_encoder(written("A(uint256 indexed a)"))((OWN_TOPIC, text), "0x")


def test_a_transfer_is_written_as_copy_reads_it() -> None:
    transfer = written("Transfer(address indexed from, address indexed to, uint256 value)")
    topics = (OWN_TOPIC, "0x" + "0" * 24 + "aB" * 20, "0x" + "0" * 24 + "cd" * 20)
    row = compile_encoder(transfer)(topics, hexed(words(10**18)))
    assert row == rf"\\x{'aB' * 20}" + "\t" + rf"\\x{'cd' * 20}" + "\t1000000000000000000"


def test_an_event_without_inputs_has_an_empty_row() -> None:
    assert compile_encoder(written("Paused()"))((OWN_TOPIC,), "0x") == ""


@pytest.mark.parametrize(
    ("text", "data", "why"),
    [
        ("A(bool a)", words(2), "a: it does not fit its type bool"),
        ("A(uint8 a)", words(256), "uint8"),
        ("A(uint248 a)", words(2**248), "uint248"),
        ("A(int8 a)", words(128), "int8"),
        ("A(int8 a)", words(-129), "int8"),
        ("A(int248 a, bool b)", words(2**247, 0), "int248"),
        ("A(address a)", words(2**160), "a: it does not fit its type address"),
        ("A(bytes4 a)", words(1), "bytes4"),
        ("A(bytes31 a)", words(1), "bytes31"),
        ("A(function a)", words(1), "function"),
        ("A(fixed8x1 a)", words(128), "fixed8x1"),
        ("A(uint256 a)", b"\1" * 31, "31 bytes of data, its event 32"),
        ("A(uint256 a)", words(1, 2), "64 bytes of data, its event 32"),
        ("A(uint256[2] a)", words(1), "its event 64"),
        ("A()", words(1), "32 bytes of data, its event 0"),
        ("A(string a)", b"\1" * 31, "its event at least 32"),
        ("A(string a)", words(-1), "a: an offset or a length leads past the end"),
        ("A(string a)", words(33), "past the end"),
        ("A(string a)", words(31), "a: an offset leads back"),
        ("A(string[] a)", words(32, 1, 31), "an offset leads back"),
        ("A((string s, bool b)[] a)", words(32, 1, 32, 63, 0), "an offset leads back"),
        ("A(string a)", words(32, 2**255), "past the end"),
        ("A(string a)", words(32, 1), "past the end"),
        ("A(string a)", words(32, 3) + b"a\0b", "NUL"),
        ("A(string a)", words(32, 1) + b"\xff", "UTF-8"),
        ("A(string a)", words(32, 3) + b"\xed\xa0\x80", "UTF-8"),
        ("A(string[] a)", words(32, 1, 32, 1) + b"\0", "NUL"),
        ("A((string s)[] a)", words(32, 1, 32, 32, 1) + b"\0", "NUL"),
        ("A(bool[] a)", words(32, 1, 2), "neither 0 nor 1"),
        ("A(uint8[2] a)", words(1, 256), "uint8"),
        ("A(int8[] a)", words(32, 1, -129), "int8"),
        ("A(address[] a)", words(32, 1, -1), "address"),
        ("A(bytes3[] a)", words(32, 1, 1), "bytes3"),
        ("A((string s, uint8 b, string t) x)", words(32, 96, 256, 128, 0, 0), "x_s to x_t: a num"),
    ],
)
def test_a_misfit_says_where_and_why(text: str, data: bytes, why: str) -> None:
    with pytest.raises(MisfitError, match=why):
        compile_encoder(written(text))((OWN_TOPIC,), hexed(data))


@pytest.mark.parametrize(
    ("text", "topic", "why"),
    [
        ("A(address indexed a)", words(2**160), "a: it does not fit its type address"),
        ("A(uint8 indexed a)", words(256), "uint8"),
        ("A(bytes4 indexed a)", words(1), "bytes4"),
        ("A(bool indexed a)", words(2), "bool"),
    ],
)
def test_topics_are_held_to_their_types(text: str, topic: bytes, why: str) -> None:
    with pytest.raises(MisfitError, match=why):
        compile_encoder(written(text))((OWN_TOPIC, hexed(topic)), "0x")


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5])
def test_the_number_of_topics_must_be_the_events(count: int) -> None:
    transfer = compile_encoder(written("A(address indexed a, address indexed b, uint256 c)"))
    with pytest.raises(MisfitError, match=f"it has {count} topics, its event 3"):
        transfer((hexed(words(1)),) * count, hexed(words(1)))


def test_a_transfer_of_the_other_token_standard_is_refused_not_misread() -> None:
    """Both standards' Transfer have one topic; the id of a single token is indexed, an amount is not."""
    amount = compile_encoder(written("Transfer(address indexed, address indexed, uint256)"))
    single = compile_encoder(written("Transfer(address indexed, address indexed, uint256 indexed)"))
    topics = (OWN_TOPIC, *[hexed(words(1))] * 3)
    assert single(topics, "0x")
    assert amount(topics[:3], hexed(words(1)))
    with pytest.raises(MisfitError):
        amount(topics, "0x")
    with pytest.raises(MisfitError):
        single(topics[:3], hexed(words(1)))


def test_anonymous_events_have_no_topic_of_their_own() -> None:
    event = written("Note(bytes4 indexed sig, address indexed who, bytes data) anonymous")
    data = encode(["bytes"], [b"\1\2\3"])
    assert encoded(event, [b"\1" * 4 + bytes(28), words(7)], data) == [
        b"\1" * 4,
        bytes(19) + b"\7",
        b"\1\2\3",
    ]
    with pytest.raises(MisfitError, match="topics"):
        encoded(event, [words(0)], data)
    assert encoded(written("Ping() anonymous"), [], b"") == []


def test_strings_that_a_compiler_did_not_pad_are_read() -> None:
    """Solidity before 0.5 wrote bytes of external calls so: unpadded, the next part right behind them."""
    event = written("Fired(bytes a, bytes b, uint256 c)")
    first, second = words(4) + b"\xaa" * 4, words(3) + b"\xbb" * 3
    data = words(96, 96 + len(first), 9) + first + second
    assert encoded(event, [], data) == [b"\xaa" * 4, b"\xbb" * 3, Decimal(9)]


def test_parts_may_lie_in_any_order_and_be_shared() -> None:
    event = written("A(string a, string b, uint256[] c)")
    shared = words(2) + b"hi".ljust(32, b"\0")
    data = words(160, 160, 96, 1, 7) + shared
    assert encoded(event, [], data) == ["hi", "hi", [Decimal(7)]]


def test_tuples_without_names_become_json_arrays() -> None:
    data = encode(["(uint256,bool)[]"], [[(5, True)]])
    assert encoded(written("A((uint256, bool)[] a)"), [], data) == [[["5", True]]]
    assert encoded(written("A((uint256 n, bool)[] a)"), [], data) == [[["5", True]]]
    assert encoded(written("A((uint256 n, bool n)[] a)"), [], data) == [[["5", True]]]
    named = written("A((uint256 n, bool isIt)[] a)")
    assert encoded(named, [], data) == [[{"n": "5", "isIt": True}]]


def test_numbers_keep_every_digit() -> None:
    data = words(-(2**255), 2**256 - 1, -1)
    values = encoded(written("A(fixed256x80 a, ufixed256x1 b, fixed8x10 c)"), [], data)
    assert values == [
        Decimal((1, tuple(map(int, str(2**255))), -80)),
        Decimal((0, tuple(map(int, str(2**256 - 1))), -1)),
        Decimal("-0.0000000001"),
    ]


@UNHURRIED
@given(cases())
def test_an_encoding_without_overlaps_is_read_once(case: tuple[list[Item], list[Value]]) -> None:
    """What a compiler writes never needs more than its own length of the allowance."""
    inputs, values = case
    data = encode([abi_name(item) for item in inputs], values)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tail, "ALLOWANCE", 1)
        assert encoded(event_of(inputs), [], data) == expected(inputs, values)


def nested(levels: int, width: int) -> bytes:
    """Arrays of arrays whose elements are all the same next one: width ** levels leaves in few bytes."""
    part = words(width, *[7] * width)
    for _ in range(levels - 1):
        # The offsets count from behind the length, and lead to what follows the heads.
        part = words(width, *[32 * width] * width) + part
    return words(32) + part


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("A(uint256[][][][][][] a)", nested(6, 60)),
        ("A(string[][][][] a)", nested(3, 60)),
        ("A(bytes[] a)", words(32, 3000, *[32 * 3000] * 3000, 90_000) + bytes(90_000)),
        (
            "A((string s, string t)[] a)",
            words(32, 3000, *[32 * 3000] * 3000, 0, 64, 90_000) + bytes(90_000),
        ),
        (
            "A((string s, uint256[20] n)[] a)",
            words(32, 1000, *[32 * 1000] * 1000, 672, *[7] * 20, 0),
        ),
        ("A(bytes[5000] a)", words(32, *[32 * 5000] * 5000, 90_000) + bytes(90_000)),
        *(
            (f"A({kind} a)", words(32, count, 0, 0))
            for kind, count in itertools.product(
                ["bool[]", "bool[][]", "(bool x)[]", "bytes[]", "bytes3[2][]", "(string s)[2][]"],
                [HUGE, 2**64, 2**256 - 1],
            )
        ),
        ("A(bytes[33000000] a)", words(32, 0)),
        ("A(uint256[33000000] a)", words(32, 0)),
    ],
)
def test_work_is_bounded_by_the_datas_length(text: str, data: bytes) -> None:
    """Without the bound these would take between minutes and for ever, or all memory."""
    with pytest.raises(MisfitError):
        compile_encoder(written(text))((OWN_TOPIC,), hexed(data))
