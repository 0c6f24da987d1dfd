"""What is wrong with an answer that does not fit its question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from indexer import answers, limits, wire
from indexer.batch import REFUSED_S, BatchSize
from indexer.errors import NodeBehind, RangeRefused, RpcError, RpcTimeout, RpcTooLong

ADDRESS, OTHER = b"\x0a" * 20, b"\x0b" * 20
TOPIC = b"\x01" * 32
HASH = "0x" + "11" * 32
LOG: dict[str, Any] = {
    "address": "0x" + ADDRESS.hex(),
    "topics": ["0x" + TOPIC.hex(), "0x" + "02" * 32],
    "data": "0x" + "00" * 32,
    "blockHash": HASH,
    "blockNumber": "0x10",
    "transactionHash": "0x" + "33" * 32,
    "transactionIndex": "0x0",
    "logIndex": "0x0",
    "removed": False,
}


def logs(*changes: dict[str, Any]) -> list[wire.Log]:
    body = msgspec.json.encode({"id": 1, "result": [{**LOG, **change} for change in changes]})
    result = wire.LOGS_ANSWER.decode(body).result
    assert isinstance(result, list)
    return result


QUERY = answers.log_filter([ADDRESS], [TOPIC])


def test_a_filter_is_written_as_nodes_want_it() -> None:
    assert QUERY == {"address": ["0x" + "0a" * 20], "topics": [["0x" + "01" * 32]]}
    assert answers.log_filter(None, None) == {}


def test_a_filter_of_nothing_is_refused_since_nodes_take_it_for_everything() -> None:
    with pytest.raises(ValueError, match="all logs"):
        answers.log_filter([], None)
    with pytest.raises(ValueError, match="all logs"):
        answers.log_filter([ADDRESS], [])


def test_a_log_keeps_the_nodes_texts() -> None:
    [log] = logs({"blockTimestamp": "0x65"})
    assert (log.block_number, log.log_index, log.block_timestamp) == ("0x10", "0x0", "0x65")
    assert log.topics == ("0x" + "01" * 32, "0x" + "02" * 32)
    assert logs({})[0].block_timestamp is None


@pytest.mark.parametrize(
    "change",
    [
        {"blockHash": None},
        {"blockNumber": None},
        {"transactionHash": None},
        {"logIndex": None},
        {"address": "0x00"},
        {"address": "0x" + "00" * 21},
        {"topics": ["0x11"]},
        {"topics": ["0x" + "11" * 32] * 5},
        {"topics": None},
        {"data": ""},
        {"data": None},
        {"blockNumber": "0x"},
        {"blockNumber": "0x" + "1" * 16},
        {"blockNumber": 16},
    ],
)
def test_a_pending_log_or_one_of_wrong_lengths_is_no_log(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        logs(change)


def test_logs_within_the_range_pass() -> None:
    found = logs({}, {"blockNumber": "0x12", "blockHash": "0x" + "22" * 32}, {"logIndex": "0x1"})
    answers.require_range(found, QUERY, 16, 18)
    answers.require_range([], QUERY, 16, 18)
    answers.require_range(logs({"topics": []}), answers.log_filter([ADDRESS], None), 16, 18)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([{"blockNumber": "0xf"}], "asked for 16 to 18"),
        ([{"blockNumber": "0x13"}], "asked for 16 to 18"),
        ([{"blockNumber": "0xzz"}], "base 16"),
        ([{}, {"blockHash": "0x" + "22" * 32}], "of different blocks"),
        ([{"address": "0x" + OTHER.hex()}], "not asked for"),
        ([{"address": "0x" + "0A" * 20}], "not asked for"),
        ([{"topics": ["0x" + "02" * 32]}], "not asked for"),
        ([{"topics": []}], "not asked for"),
    ],
)
def test_logs_that_contradict_the_question_are_refused(
    changes: Sequence[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        answers.require_range(logs(*changes), QUERY, 16, 18)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([{"blockHash": "0x" + "22" * 32}], "another block"),
        ([{}, {"blockNumber": "0x11", "logIndex": "0x1"}], "different block numbers"),
        ([{}, {}], "the same index"),
        ([{"address": "0x" + OTHER.hex()}], "not asked for"),
        ([{"data": "0x0"}], "hexadecimal"),
        ([{"data": "0xzz"}], "hexadecimal"),
        ([{"topics": [LOG["topics"][0], "0x" + "zz" * 32]}], "hexadecimal"),
        ([{"transactionHash": "0x" + "\t\n" * 32}], "hexadecimal"),
    ],
)
def test_logs_of_a_block_are_held_to_it(changes: Sequence[dict[str, Any]], reason: str) -> None:
    answers.require_block(logs({}, {"logIndex": "0x1"}), QUERY, HASH)
    with pytest.raises(ValueError, match=reason):
        answers.require_block(logs(*changes), QUERY, HASH)


@pytest.mark.parametrize(
    "body", [rb'{"result":"a\tb"}', rb'{"result":"\u0041"}', '{"result":"é"}'.encode()]
)
def test_texts_that_could_break_out_of_a_row_are_refused(body: bytes) -> None:
    answers.require_plain(b'{"result":"0x00"}')
    with pytest.raises(ValueError, match="characters"):
        answers.require_plain(body)


def error(kind: str, verdict: limits.Verdict | None = None) -> RpcError | RpcTimeout | RpcTooLong:
    if kind == "timeout":
        return RpcTimeout(endpoint="http://node", method="eth_getLogs", reason="15 s")
    if kind == "long":
        return RpcTooLong(method="eth_getLogs", reason="it is longer than 10 bytes")
    refused = RpcError(-32000, "no", None, "eth_getLogs")
    refused.verdict = verdict
    return refused


@pytest.mark.parametrize(
    ("failure", "too_wide", "max_blocks", "suggested"),
    [
        (error("timeout"), False, None, None),
        (error("long"), False, None, None),
        (error("refused", limits.TooManyResults((100, 150))), False, None, (100, 150)),
        (error("refused", limits.RangeTooWide(10, (100, 109))), True, 10, (100, 109)),
        (error("refused", limits.RangeTooWide()), True, None, None),
        # Advice that would lead to the same refusal again.
        (error("refused", limits.RangeTooWide(5000)), True, None, None),
        (error("refused", limits.TooManyResults((100, 199))), False, None, None),
        (error("refused", limits.TooManyResults((90, 120))), False, None, None),
        (error("refused", limits.TooManyResults((150, 200))), False, None, None),
    ],
)
def test_a_range_that_is_refused_says_what_would_do(
    failure: RpcError | RpcTimeout | RpcTooLong,
    too_wide: bool,
    max_blocks: int | None,
    suggested: tuple[int, int] | None,
) -> None:
    meant = answers.range_error(failure, "http://node", 100, 199)
    assert isinstance(meant, RangeRefused)
    assert (meant.too_wide, meant.max_blocks, meant.suggested) == (too_wide, max_blocks, suggested)
    assert "100 to 199" in str(meant)


@pytest.mark.parametrize("verdict", [limits.BehindHead(), limits.UnknownBlock()])
def test_a_range_above_the_nodes_head_is_the_nodes_lag(verdict: limits.Verdict) -> None:
    assert isinstance(answers.range_error(error("x", verdict), "http://node", 1, 2), NodeBehind)


@pytest.mark.parametrize("verdict", [limits.Other(), limits.MethodMissing(), None])
def test_any_other_refusal_is_not_about_the_range(verdict: limits.Verdict | None) -> None:
    assert answers.range_error(error("x", verdict), "http://node", 1, 2) is None


def test_a_batch_shrinks_when_refused_and_is_tried_again_later() -> None:
    now_s = 0.0
    size = BatchSize(lambda: now_s)
    assert size.calls == 100
    size.refused(100)
    assert size.calls == 25
    size.answered()
    assert size.calls == 25, "not above what was refused"
    size.refused(25)
    size.refused(6)
    assert size.calls == 1
    now_s = REFUSED_S - 1
    assert size.calls == 1
    now_s = REFUSED_S
    assert size.calls == 100


def test_a_batch_that_is_too_slow_shrinks_and_grows_back() -> None:
    size = BatchSize(lambda: 0.0)
    size.timed_out(100)
    size.timed_out(50)
    assert size.calls == 25
    size.answered()
    assert size.calls == 50
    size.answered()
    size.answered()
    assert size.calls == 100
