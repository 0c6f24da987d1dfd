"""Logs become rows: each once, in order, and whatever they are."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from indexer.abi import Abi
from indexer.contract import Contract, Factory, Options
from indexer.keccak import keccak
from indexer.recorder import Recorder
from indexer.rows import Rows
from indexer.signature import parse
from indexer.source import Source
from indexer.wire import Log

TOKEN, OTHER = "0x" + "70" * 20, "0x" + "71" * 20
PING = "0x" + keccak(b"Ping(uint256)").hex()
HASH = "0x" + "ab" * 32


def source(
    *, address: str | None = TOKEN, start_block: int = 0, source_id: int = 1, **more: object
) -> Source:
    contract = Contract.from_abi(
        "token",
        1,
        cast(Abi, [parse("Ping(uint256 value)")]),
        (bytes.fromhex(address[2:]),) if address else (),
        **more,  # type: ignore[arg-type]
    )
    return Source(source_id, 1, contract, start_block, None, (), False, True, True, True)


def log(index: int, value: int = 7, **changes: object) -> Log:
    made = Log(
        address=TOKEN,
        topics=(PING,),
        data=f"0x{value:064x}",
        block_hash=HASH,
        block_number="0x5",
        transaction_hash="0x" + "cd" * 32,
        transaction_index="0x2",
        log_index=hex(index),
        block_timestamp="0x64",
    )
    return msgspec.structs.replace(made, **changes)


def lines(rows: Rows, table: str = "token_ping") -> list[list[str]]:
    found = [texts for name, texts in rows.lines.items() if name.name == table]
    return [line.rstrip("\n").split("\t") for texts in found for line in texts]


def test_a_row_says_where_the_event_stands_and_what_it_holds() -> None:
    [row] = lines(Recorder([source()]).record([log(3)], {}))
    wanted = [
        "5",
        "\\\\x" + "ab" * 32,
        "100",
        "3",
        "\\\\x" + "cd" * 32,
        "2",
        "\\\\x" + "70" * 20,
        "0",
        "t",
        "7",
    ]
    assert row == wanted


def test_ordinals_count_a_contracts_logs_in_each_transaction() -> None:
    second = "0x" + "ee" * 32
    logs = [log(0), log(1, address=OTHER), log(4), log(5, transaction_hash=second)]
    rows = Recorder([source(), source(address=OTHER, source_id=2)]).record(logs, {})
    ordinals = [row[7] for row in lines(rows)]
    assert ordinals == ["0", "0", "1", "0"]


def test_two_sources_may_share_an_address() -> None:
    rows = Recorder([source(), source(source_id=2)]).record([log(0)], {})
    assert [row[7] for row in lines(rows)] == ["0", "0"]


def test_logs_before_the_start_and_of_strangers_are_left_aside() -> None:
    logs = [log(0), log(1, address=OTHER)]
    assert Recorder([source(start_block=6)]).record(logs, {}).count == 0
    assert Recorder([source()]).record(logs, {}).count == 1


def test_without_an_address_every_contract_counts() -> None:
    logs = [log(0), log(1, address=OTHER)]
    assert Recorder([source(address=None)]).record(logs, {}).events == 2


def test_children_count_from_the_block_of_their_birth() -> None:
    made = source(address=None, factory=Factory("factory", "Made", "child"))
    for born, count in ((4, 1), (5, 1), (6, 0)):
        assert Recorder([made], {1: {TOKEN: born}}).record([log(0)], {}).count == count
    assert Recorder([made], {1: {OTHER: 0}}).record([log(0)], {}).count == 0


def test_a_child_that_is_learnt_later_counts_from_then_on() -> None:
    children: dict[str, int] = {}
    recorder = Recorder(
        [source(address=None, factory=Factory("f", "Made", "child"))], {1: children}
    )
    assert recorder.record([log(0)], {}).count == 0
    children[TOKEN] = 5
    assert recorder.record([log(0)], {}).count == 1


@pytest.mark.parametrize("data", ["0x", "0x" + "00" * 31, "0x" + "00" * 33])
def test_a_log_that_does_not_fit_is_kept_raw_with_the_reason(data: str) -> None:
    rows = Recorder([source()]).record([log(0, data=data)], {})
    assert (rows.events, rows.undecoded) == (0, 1)
    [row] = lines(rows, "log")
    assert (row[9], row[10]) == (f'{{"\\\\\\\\x{PING[2:]}"}}', "\\\\x" + data[2:])
    assert row[11] not in ("", "\\N")


def test_other_events_of_a_contract_are_evidence_only_where_logs_are_kept_raw() -> None:
    other = log(0, topics=("0x" + "11" * 32,))
    assert Recorder([source()]).record([other], {}).count == 0
    rows = Recorder([source(options=Options(raw=True))]).record([other, log(1)], {})
    assert (rows.events, rows.undecoded, len(lines(rows, "log"))) == (1, 1, 2)


@pytest.mark.parametrize(
    "logs",
    [
        [log(1), log(0)],
        [log(1), log(1)],
        [log(0), log(0, block_hash="0x" + "22" * 32, block_number="0x4")],
        [log(0), log(0, block_hash="0x" + "22" * 32)],
    ],
)
def test_logs_out_of_order_are_refused(logs: list[Log]) -> None:
    with pytest.raises(ValueError, match=r"order|after"):
        Recorder([source()]).record(logs, {})


@pytest.mark.parametrize("told", [None, "0x0"])
def test_the_time_is_the_headers_where_the_log_does_not_tell_it(told: str | None) -> None:
    untold = log(0, block_timestamp=told)
    [row] = lines(Recorder([source()]).record([untold], {HASH: 99}))
    assert row[2] == "99"
    with pytest.raises(ValueError, match="time"):
        Recorder([source()]).record([untold], {})


@pytest.mark.parametrize("smuggled", ["\t", "\n", "é"])
def test_a_text_that_would_make_other_columns_or_rows_is_refused(smuggled: str) -> None:
    address = TOKEN[:20] + smuggled + TOKEN[21:]
    rows = Recorder([source(address=None)]).record([log(0, address=address)], {})
    with pytest.raises(ValueError, match="hexadecimal"):
        list(rows.texts())


def test_an_event_without_inputs_is_a_row_of_its_frame_alone() -> None:
    contract = Contract.from_abi("token", 1, cast(Abi, [parse("Paused()")]), (bytes(20),))
    paused = Source(1, 1, contract, 0, None, (), False, True, True, True)
    topic = "0x" + keccak(b"Paused()").hex()
    event = log(0, address="0x" + "00" * 20, topics=(topic,), data="0x")
    [(table, text)] = Recorder([paused]).record([event], {}).texts()
    assert text.count(b"\t") == len(table.columns) - 1


def test_two_events_that_differ_only_in_what_they_index_each_get_their_own() -> None:
    abi = [
        parse("Transfer(address indexed a, address indexed b, uint256 value)"),
        parse("Transfer(address indexed a, address indexed b, uint256 indexed id)"),
    ]
    contract = Contract.from_abi("token", 1, cast(Abi, abi), (bytes(20),))
    both = Source(1, 1, contract, 0, None, (), False, True, True, True)
    topic = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
    word = "0x" + "00" * 32
    logs = [
        log(0, address="0x" + "00" * 20, topics=(topic, word, word), data=word),
        log(1, address="0x" + "00" * 20, topics=(topic, word, word, word), data="0x"),
    ]
    rows = Recorder([both]).record(logs, {})
    assert (rows.events, rows.undecoded, len(rows.lines)) == (2, 0, 2)
