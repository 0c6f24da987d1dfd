"""Receipts for the tests, and the same root made by other people's code: the packages ``rlp`` and ``trie``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import rlp
from trie.hexary import HexaryTrie

from indexer import bloom, wire
from indexer.block import Header
from indexer.hexadecimal import to_data

ADDRESS = "0x" + "a1" * 20
TOPIC = "0x" + "b2" * 32
BLOCK_HASH = "0x" + "c3" * 32
BLOCK_NUMBER = 0x11170
TIMESTAMP_S = 1_700_000_000


def log(
    topics: Sequence[str] = (TOPIC,), data: str = "0x", address: str = ADDRESS, index: int = 0
) -> wire.Log:
    """A log of the block's first transaction, until :func:`placed` says otherwise."""
    return wire.Log(
        address=address,
        topics=tuple(topics),
        data=data,
        block_hash=BLOCK_HASH,
        block_number=hex(BLOCK_NUMBER),
        transaction_hash=tx_hash(0),
        transaction_index="0x0",
        log_index=hex(index),
    )


def tx_hash(position: int) -> str:
    return f"0x{position + 1:064x}"


def receipt(
    logs: Sequence[wire.Log] = (),
    *,
    type: str | None = "0x2",
    status: str | None = "0x1",
    root: str | None = None,
    cumulative_gas_used: str = "0x5208",
    logs_bloom: str | None = None,
    position: int = 0,
) -> wire.Receipt:
    """The receipt of these logs; its bloom is theirs unless another is given."""
    return wire.Receipt(
        type=type,
        status=status,
        root=root,
        cumulative_gas_used=cumulative_gas_used,
        logs_bloom=to_data(bloom.of_logs(logs)) if logs_bloom is None else logs_bloom,
        gas_used="0x5208",
        sender=ADDRESS,
        transaction_hash=tx_hash(position),
        transaction_index=hex(position),
        block_hash=BLOCK_HASH,
        logs=list(logs),
    )


def block(logs_of_receipts: Sequence[Sequence[wire.Log]]) -> tuple[Header, list[wire.Receipt]]:
    """A block with these logs, each put where it stands, and the header that proves it."""
    receipts, index = [], 0
    for position, logs in enumerate(logs_of_receipts):
        placed = []
        for one in logs:
            placed.append(
                wire.Log(
                    address=one.address,
                    topics=one.topics,
                    data=one.data,
                    block_hash=BLOCK_HASH,
                    block_number=hex(BLOCK_NUMBER),
                    transaction_hash=tx_hash(position),
                    transaction_index=hex(position),
                    log_index=hex(index),
                )
            )
            index += 1
        receipts.append(
            receipt(placed, position=position, cumulative_gas_used=hex(21_000 * (position + 1)))
        )
    blooms = reduce(or_, (int(one.logs_bloom, 16) for one in receipts), 0)
    header = Header(
        number=BLOCK_NUMBER,
        hash=raw(BLOCK_HASH),
        parent_hash=bytes(32),
        timestamp_s=TIMESTAMP_S,
        logs_bloom=blooms.to_bytes(256, "big"),
        receipts_root=root_of(receipts),
    )
    return header, receipts


def root_of(receipts: Sequence[wire.Receipt]) -> bytes:
    return root_of_values([encoded(one) for one in receipts])


def root_of_values(values: Sequence[bytes]) -> bytes:
    made = HexaryTrie({})
    for position, value in enumerate(values):
        made[rlp.encode(position)] = value
    return bytes(made.root_hash)


def encoded(one: wire.Receipt) -> bytes:
    outcome = raw(one.root or "") if one.status is None else int(one.status, 16)
    logs = [
        [raw(each.address), [raw(topic) for topic in each.topics], raw(each.data)]
        for each in one.logs
    ]
    payload: bytes = rlp.encode(
        [
            outcome,
            int(one.cumulative_gas_used, 16),
            raw(one.logs_bloom),
            logs,
            *_deposit_fields(one),
        ]
    )
    kind = int(one.type or "0x0", 16)
    return payload if kind == 0 else bytes((kind,)) + payload


def _deposit_fields(one: wire.Receipt) -> list[int]:
    version = getattr(one, "deposit_receipt_version", None)
    return [] if version is None else [int(getattr(one, "deposit_nonce", ""), 16), int(version, 16)]


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
