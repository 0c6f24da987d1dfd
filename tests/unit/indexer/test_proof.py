"""What a block's header proves about its logs, and how a node is caught that says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import bloom, proof, wire
from indexer.block import Header
from indexer.errors import HeadersUnlinked, ReceiptsForged, Retryable
from tests.unit.indexer.receipts_oracle import (
    ADDRESS,
    BLOCK_HASH,
    TIMESTAMP_S,
    TOPIC,
    block,
    log,
    raw,
    root_of,
    tx_hash,
)

OTHER = "0x" + "0f" * 20
WORD = "0x" + "0e" * 32
Receipts = list[wire.Receipt]

# Two transactions with two logs each, and one between them that reverted and so has none.
LOGS = [[log([TOPIC], WORD), log([], "0x")], [], [log([TOPIC, WORD]), log([WORD], address=OTHER)]]


def changed(receipts: Receipts, position: int, **fields: object) -> Receipts:
    found = list(receipts)
    found[position] = msgspec.structs.replace(found[position], **fields)
    return found


def changed_log(receipts: Receipts, position: int, index: int, **fields: object) -> Receipts:
    logs = list(receipts[position].logs)
    logs[index] = msgspec.structs.replace(logs[index], **fields)
    return changed(receipts, position, logs=logs)


def test_an_honest_node_gives_every_log_in_its_order() -> None:
    header, receipts = block(LOGS)
    logs = proof.verified_logs(header, receipts)
    assert [(one.address, one.topics, one.data) for one in logs] == [
        (one.address, one.topics, one.data) for each in LOGS for one in each
    ]
    assert [one.log_index for one in logs] == ["0x0", "0x1", "0x2", "0x3"]


def test_a_block_without_transactions_has_no_logs() -> None:
    header, receipts = block([])
    assert proof.verified_logs(header, receipts) == []


FORGERIES: dict[str, tuple[str, Callable[[Receipts], Receipts]]] = {
    "no receipts at all": ("root of 0 receipts", lambda receipts: []),
    "one receipt left out": ("root of 2 receipts", lambda receipts: receipts[:2]),
    "one receipt twice": ("root of 4 receipts", lambda receipts: [*receipts, receipts[0]]),
    "receipts in another order": ("root of 3", lambda receipts: receipts[::-1]),
    "a log left out, bloom kept": (
        "receipt 0: its logsBloom",
        lambda receipts: changed(receipts, 0, logs=receipts[0].logs[1:]),
    ),
    "a log left out, bloom made to fit": (
        "root of 3 receipts",
        lambda receipts: changed(
            receipts,
            0,
            logs=receipts[0].logs[1:],
            logs_bloom=f"0x{bloom.of_logs(receipts[0].logs[1:]).hex()}",
        ),
    ),
    "logs in another order": (
        "root of 3 receipts",
        lambda receipts: changed(receipts, 2, logs=receipts[2].logs[::-1]),
    ),
    "a log with other data": (
        "root of 3 receipts",
        lambda receipts: changed_log(receipts, 0, 0, data="0x" + "0d" * 32),
    ),
    "a log of another contract": (
        "receipt 0: its logsBloom",
        lambda receipts: changed_log(receipts, 0, 0, address=OTHER),
    ),
    "another status": ("root of 3", lambda receipts: changed(receipts, 1, status="0x0")),
    "more gas": ("root of 3", lambda receipts: changed(receipts, 1, cumulative_gas_used="0x1")),
    "another type": ("root of 3", lambda receipts: changed(receipts, 1, type="0x1")),
    "an unknown type": ("type '0x66'", lambda receipts: changed(receipts, 1, type="0x66")),
    "another place in the block": (
        "receipt 1 has transaction index '0x2'",
        lambda receipts: changed(receipts, 1, transaction_index="0x2"),
    ),
    "a receipt of another block": (
        "receipt 1 is of block",
        lambda receipts: changed(receipts, 1, block_hash=WORD),
    ),
    "one transaction twice": (
        "two receipts are of one transaction",
        lambda receipts: changed(receipts, 1, transaction_hash=tx_hash(0)),
    ),
    "no transaction's hash": (
        "receipt 1 has no transaction's hash",
        lambda receipts: changed(receipts, 1, transaction_hash="0x" + "g" * 64),
    ),
    "a log of another block": (
        "log 2 has a blockHash",
        lambda receipts: changed_log(receipts, 2, 0, block_hash=WORD),
    ),
    "a log of another height": (
        "log 2 has a blockNumber",
        lambda receipts: changed_log(receipts, 2, 0, block_number="0x1"),
    ),
    "a log of another transaction": (
        "log 2 has a transactionHash",
        lambda receipts: changed_log(receipts, 2, 0, transaction_hash=tx_hash(0)),
    ),
    "a log of another transaction's place": (
        "log 2 has a transactionIndex",
        lambda receipts: changed_log(receipts, 2, 0, transaction_index="0x0"),
    ),
    "a log's index counted in its transaction": (
        "log 2 has a logIndex",
        lambda receipts: changed_log(receipts, 2, 0, log_index="0x0"),
    ),
    "a log's index with a gap": (
        "log 3 has a logIndex",
        lambda receipts: changed_log(receipts, 2, 1, log_index="0x4"),
    ),
    "a log's index that is no number": (
        "log 3 has a logIndex",
        lambda receipts: changed_log(receipts, 2, 1, log_index="0x 3"),
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused_by_the_check_that_it_fails(forgery: str) -> None:
    header, receipts = block(LOGS)
    reason, forge = FORGERIES[forgery]
    with pytest.raises(ReceiptsForged, match=reason) as failure:
        proof.verified_logs(header, forge(receipts))
    assert isinstance(failure.value, Retryable)
    assert BLOCK_HASH in str(failure.value)


def test_a_header_that_commits_to_something_else_is_refused() -> None:
    header, receipts = block(LOGS)
    with pytest.raises(ReceiptsForged, match="without its receiptsRoot"):
        proof.verified_logs(replace(header, receipts_root=None), receipts)
    with pytest.raises(ReceiptsForged, match="its logsBloom is not the bloom of its receipts"):
        proof.verified_logs(replace(header, logs_bloom=bytes(256)), receipts)
    with pytest.raises(ReceiptsForged, match="is of block"):
        proof.verified_logs(replace(header, hash=bytes(32)), receipts)


def test_empty_blooms_of_a_chain_are_noticed_even_if_all_of_them_agree() -> None:
    """A chain that leaves blooms empty commits to them all the same; nothing would be absent there."""
    header, receipts = block([[log()]])
    receipts = changed(receipts, 0, logs_bloom="0x" + "0" * 512)
    header = replace(header, logs_bloom=bytes(256), receipts_root=root_of(receipts))
    with pytest.raises(ReceiptsForged, match="not the bloom of its logs"):
        proof.verified_logs(header, receipts)


def test_a_place_that_is_spelled_otherwise_is_accepted_and_spelled_as_usual() -> None:
    header, receipts = block(LOGS)
    capital = "0x" + BLOCK_HASH[2:].upper()
    spelled = changed_log(
        receipts, 2, 1, block_hash=capital, block_number="0x0011170", log_index="0x03"
    )
    assert proof.verified_logs(header, spelled) == proof.verified_logs(header, receipts)


def test_a_timestamp_told_wrongly_is_replaced_by_the_headers() -> None:
    """There are nodes that write 0 into the logs of receipts."""
    header, receipts = block(LOGS)
    told = changed_log(receipts, 0, 0, block_timestamp="0x0")
    told = changed_log(told, 0, 1, block_timestamp=hex(TIMESTAMP_S))
    logs = proof.verified_logs(header, told)
    assert [one.block_timestamp for one in logs] == [hex(TIMESTAMP_S)] * 2 + [None] * 2


def headers(count: int, first: int = 100) -> list[Header]:
    return [
        Header(
            number=number,
            hash=number.to_bytes(32, "big"),
            parent_hash=(number - 1).to_bytes(32, "big"),
            timestamp_s=number,
            logs_bloom=bytes(256),
        )
        for number in range(first, first + count)
    ]


def test_headers_that_follow_each_other_are_linked() -> None:
    chain = headers(5)
    proof.headers_linked(chain)
    proof.headers_linked(chain, chain[0].parent_hash, chain[-1].hash)
    proof.headers_linked([])
    proof.headers_linked([], bytes(32), bytes(32))


@pytest.mark.parametrize(
    ("break_it", "number"),
    [
        (lambda chain: [*chain[:2], *chain[3:]], 102),
        (lambda chain: [chain[0], chain[0], *chain[2:]], 101),
        (lambda chain: chain[::-1], 105),
        (lambda chain: [*chain[:3], replace(chain[3], parent_hash=bytes(32)), chain[4]], 103),
        (lambda chain: [*chain[:3], replace(chain[3], hash=bytes(32)), chain[4]], 104),
        (lambda chain: [*chain[:4], replace(chain[4], number=105)], 104),
    ],
    ids=["a gap", "a block twice", "backwards", "another parent", "another block", "a number"],
)
def test_the_first_break_is_named(
    break_it: Callable[[list[Header]], list[Header]], number: int
) -> None:
    with pytest.raises(HeadersUnlinked, match=f"block {number} does not follow") as failure:
        proof.headers_linked(break_it(headers(5)))
    assert isinstance(failure.value, Retryable)


def test_the_ends_of_headers_are_held_to_what_is_known() -> None:
    chain = headers(5)
    with pytest.raises(HeadersUnlinked, match="block 100"):
        proof.headers_linked(chain, parent_hash=bytes(32))
    with pytest.raises(HeadersUnlinked, match="block 104"):
        proof.headers_linked(chain, end_hash=bytes(32))
    with pytest.raises(HeadersUnlinked):
        proof.headers_linked([], parent_hash=bytes(32), end_hash=b"\1" * 32)
    with pytest.raises(HeadersUnlinked):
        proof.headers_linked([], end_hash=b"\1" * 32)


def test_absence_is_proven_by_the_address_or_by_the_topic() -> None:
    header, _ = block([[log([TOPIC])]])
    here, elsewhere = [bloom.mask(raw(ADDRESS))], [bloom.mask(raw(OTHER))]
    topic, other_topic = [bloom.mask(raw(TOPIC))], [bloom.mask(raw(WORD))]
    assert not proof.absent(header, here, topic)
    assert not proof.absent(header, None, None)
    assert not proof.absent(header, None, topic)
    assert not proof.absent(header, here, None)
    assert not proof.absent(header, elsewhere + here, other_topic + topic)
    assert proof.absent(header, elsewhere, topic)
    assert proof.absent(header, here, other_topic)
    assert proof.absent(header, elsewhere, None)
    assert proof.absent(header, None, other_topic)
    assert proof.absent(header, [], topic)


@given(st.lists(st.tuples(st.sampled_from([ADDRESS, OTHER]), st.sampled_from([TOPIC, WORD]))))
def test_what_is_there_is_never_absent(logged: list[tuple[str, str]]) -> None:
    header, _ = block([[log([topic], address=address) for address, topic in logged]])
    for address, topic in logged:
        assert not proof.absent(header, [bloom.mask(raw(address))], [bloom.mask(raw(topic))])


def test_an_answer_that_is_complete_has_no_difference() -> None:
    header, receipts = block(LOGS)
    logs = proof.verified_logs(header, receipts)
    assert proof.missing(logs, logs).is_empty
    assert proof.missing([], []).is_empty
    spelled = [
        msgspec.structs.replace(one, address=one.address.upper().replace("X", "x")) for one in logs
    ]
    assert proof.missing(spelled, logs).is_empty


def test_lost_invented_and_altered_logs_are_named_by_their_place() -> None:
    header, receipts = block(LOGS)
    logs = proof.verified_logs(header, receipts)
    answered = [
        logs[0],
        msgspec.structs.replace(logs[1], data="0x01"),
        logs[3],
        logs[3],
        msgspec.structs.replace(logs[3], log_index="0x4"),
    ]
    difference = proof.missing(answered, logs)
    number = header.number
    assert difference.lost == [(number, 2)]
    assert difference.altered == [(number, 1)]
    assert difference.invented == [(number, 3), (number, 4)]
    assert not difference.is_empty
    assert difference.lost[0].log_index == 2


@pytest.mark.parametrize(
    "field",
    ["address", "topics", "data", "block_hash", "transaction_hash", "transaction_index"],
)
def test_every_field_of_a_log_counts_when_answers_are_compared(field: str) -> None:
    header, receipts = block([[log()]])
    logs = proof.verified_logs(header, receipts)
    other = {"topics": (), "data": "0x01", "transaction_index": "0x7"}.get(field, WORD)
    altered = [msgspec.structs.replace(logs[0], **{field: other})]
    assert proof.missing(altered, logs).altered == [(header.number, 0)]
