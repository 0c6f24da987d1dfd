"""Rows of the chain against rows of a table."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import quoting
from indexer.comparison import Reader, Row, RowKey, differing_blocks, digests
from indexer.table import EVENT_FRAME, TableColumn

COLUMNS = (*EVENT_FRAME, TableColumn("amount", "numeric(78,0)"), TableColumn("note", "text"))
READER = Reader(COLUMNS)
HASH = "c3" * 32


def line(
    number: int = 7, index: int = 0, amount: str = "5", note: str = "a", block: str = HASH
) -> str:
    tx_hash, address = "d4" * 32, "a1" * 20
    return (
        f"{number}\t\\\\x{block}\t1700000000\t{index}\t\\\\x{tx_hash}\t0\t\\\\x{address}\t0\tt"
        f"\t{amount}\t{note}\n"
    )


def rows(*lines: str) -> list[Row]:
    return list(READER.rows(lines))


def test_a_row_has_the_key_of_its_place_and_block() -> None:
    assert rows(line(7, 3))[0][0] == RowKey(7, 3, "0x" + HASH)


def test_equal_rows_have_no_difference() -> None:
    both = [line(7, 0), line(7, 1), line(9, 0)]
    result = READER.compare(rows(*both), rows(*reversed(both)))
    assert result.is_equal
    assert (result.chain_rows, result.table_rows, result.shown) == (3, 3, ())


def test_missing_extra_and_different_rows_are_told_apart() -> None:
    chain = rows(line(7, 0), line(7, 1), line(7, 2, amount="5", note="a"))
    table = rows(line(7, 0), line(7, 2, amount="6", note="b"), line(8, 0))
    result = READER.compare(chain, table)
    assert (result.missing, result.extra, result.different) == (1, 1, 1)
    assert [(one.kind, one.key.block_number, one.key.log_index) for one in result.shown] == [
        ("missing", 7, 1),
        ("different", 7, 2),
        ("extra", 8, 0),
    ]
    columns = result.shown[1].columns
    assert [(one.column, one.chain, one.table) for one in columns] == [
        ("amount", "5", "6"),
        ("note", '"a"', '"b"'),
    ]
    assert (
        str(result.shown[1])
        == f'block 7 log 2 (0x{HASH}): different: amount 6 for 5, note "b" for "a"'
    )
    assert str(result.shown[0]) == f"block 7 log 1 (0x{HASH}): missing"


def test_a_row_of_another_block_at_the_same_height_is_missing_and_extra() -> None:
    result = READER.compare(rows(line(7, 0)), rows(line(7, 0, block="ee" * 32)))
    assert (result.missing, result.extra, result.different) == (1, 1, 0)


def test_what_is_shown_is_bounded_and_what_is_counted_is_not() -> None:
    result = READER.compare(rows(*(line(7, index) for index in range(1000))), [], max_shown=10)
    assert result.missing == 1000
    assert [one.key.log_index for one in result.shown] == list(range(10))
    long = READER.compare(rows(line(note="a" * 100_000)), rows(line(note="b" * 100_000)))
    assert len(str(long.shown[0])) < 1000


def test_a_comparison_can_be_written_as_json() -> None:
    result = READER.compare(rows(line(7, 0), line(7, 1)), rows(line(7, 1, amount="6")))
    assert json.loads(json.dumps(result.values())) == {
        "chain_rows": 2,
        "table_rows": 1,
        "missing": 1,
        "extra": 0,
        "different": 1,
        "shown": [
            {
                "kind": "missing",
                "block_number": 7,
                "log_index": 0,
                "block_hash": "0x" + HASH,
                "columns": [],
            },
            {
                "kind": "different",
                "block_number": 7,
                "log_index": 1,
                "block_hash": "0x" + HASH,
                "columns": [{"column": "amount", "chain": "5", "table": "6"}],
            },
        ],
    }


@pytest.mark.parametrize(
    "bad", ["", "7", line() + "\t", "x" + line(), line(block="").replace("\\\\x", "", 1)]
)
def test_a_line_that_is_no_row_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is made here or by int()
        rows(bad)


def test_two_rows_of_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="two rows"):
        READER.compare(rows(line(), line()), [])


def test_only_blocks_whose_rows_differ_have_different_digests() -> None:
    chain = digests(rows(line(7, 0), line(7, 1), line(8, 0), line(9, 0), line(11, 0)))
    table = digests(rows(line(7, 0), line(7, 1), line(8, 0, amount="6"), line(10, 0), line(11, 0)))
    assert len(chain[7]) == 32
    assert differing_blocks(chain, table) == [8, 9, 10]
    assert differing_blocks(chain, chain) == []


def test_a_row_cannot_move_between_blocks_unseen() -> None:
    chain = digests(rows(line(7, 0), line(7, 1)))
    table = digests(rows(line(7, 0), line(8, 1)))
    assert differing_blocks(chain, table) == [7, 8]
    assert differing_blocks(chain, digests(rows(line(7, 0)))) == [7]


def test_rows_that_do_not_ascend_have_no_digest() -> None:
    for lines in ([line(7, 1), line(7, 0)], [line(8, 0), line(7, 0)], [line(), line()]):
        with pytest.raises(ValueError, match="comes after"):
            digests(rows(*lines))
    assert digests([]) == {}


def same(pg_type: str, one: str, other: str) -> bool:
    """Whether two spellings in COPY's text are one value of a column."""
    reader = Reader((*EVENT_FRAME, TableColumn("own", pg_type)))
    frame = line().rsplit("\t", 2)[0]
    chain, table = reader.rows([f"{frame}\t{one}\n"]), reader.rows([f"{frame}\t{other}\n"])
    return reader.compare(chain, table).is_equal


# One value each, as it is written here and as Postgres may write it.
SAME = [
    ("text", r"a\x09b\x0ac", r"a\tb\nc"),
    ("text", r"\x01", "\x01"),
    ("text", r"\xc3\xa4", "ä"),
    ("text", r"\303\244", "ä"),
    ("text", r"\\x41", r"\134x41"),
    ("text", r"\b\f\v\r", r"\x08\x0c\x0b\x0d"),
    ("bytea", r"\\xAB", r"\\xab"),
    ("jsonb", '{"b":1,"a":[1,"2"]}', '{"a": [1, "2"], "b": 1}'),
    ("jsonb", r'["\\u00e4"]', '["ä"]'),
    ("text[]", r'{"a","b c"}', '{a,"b c"}'),
    ("text[]", r'{"a\\\\b\\"c"}', r'{"a\\\\b\\"c"}'),
    ("text[]", r'{"\xc3\xa4"}', "{ä}"),
    ("bytea[]", r"{\\\\xAB,\\\\x}", r'{"\\\\xab","\\\\x"}'),
    ("numeric(78,0)[]", "{1,2}", "{1,2}"),
    ("numeric(78,0)[]", "{}", "{}"),
]
# Two values each that a spelling must not make one.
DIFFERENT = [
    ("text", "A", "a"),
    ("text", "a", "a "),
    ("text", '{"a": 1}', '{"a":1}'),
    ("text", "null", r"\N"),
    ("text", r"\\N", r"\N"),
    ("text", r"\\x41", "A"),
    ("jsonb", '{"a":1}', '{"a":"1"}'),
    ("jsonb", "[1.5]", '["1.5"]'),
    ("jsonb", "[1,2]", "[2,1]"),
    ("jsonb", '"A"', '"a"'),
    ("text[]", '{"NULL"}', "{NULL}"),
    ("text[]", '{"a,b"}', '{"a","b"}'),
    ("text[]", '{""}', "{}"),
    ("text[]", "{A}", "{a}"),
    ("bytea[]", r'{"\\\\xab"}', r'{"\\\\xac"}'),
    ("numeric(78,0)[]", "{1,2}", "{12}"),
    ("numeric(78,0)", "1", "10"),
    ("boolean", "t", "f"),
    ("bytea", r"\\x", r"\N"),
    ("numeric(78,0)", "0", r"\N"),
]


@pytest.mark.parametrize(("pg_type", "one", "other"), SAME)
def test_two_spellings_of_a_value_are_equal(pg_type: str, one: str, other: str) -> None:
    assert same(pg_type, one, other)


@pytest.mark.parametrize(("pg_type", "one", "other"), DIFFERENT)
def test_two_values_are_different_however_alike(pg_type: str, one: str, other: str) -> None:
    assert not same(pg_type, one, other)


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.text(max_size=5)
)
def test_texts_as_we_write_them_are_equal_only_to_themselves(one: str, more: str) -> None:
    more = more.replace("\0", "").encode(errors="ignore").decode()
    assert same("text", quoting.text(one), quoting.text(one))
    assert same("text", quoting.text(one), quoting.text(one + more)) == (not more)
