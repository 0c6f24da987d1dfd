"""The chain of a simulation: a tree of blocks, each with the hash, the bloom and the roots that it must have.

A block is made once and never changes. What a node answers about it is written once too, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, Final

import msgspec

from indexer import bloom, wire
from indexer.block_hash import block_hash
from indexer.keccak import keccak
from indexer.receipts import receipts_root
from tests.simulation import content
from tests.simulation.content import Emission

GENESIS_TIME_S: Final = 1_700_000_000
BLOCK_TIME_S: Final = 12
SENDER: Final = "0x" + "5e" * 20
EMPTY: Final = "0x" + "00" * 32


@dataclass(frozen=True, slots=True)
class Tx:
    """The same transaction can be mined in blocks of several branches, never twice in one."""

    hash: bytes
    emissions: tuple[Emission, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """``logs`` and ``receipts`` are JSON values; a log's place is in it."""

    number: int
    hash: bytes
    parent: Block | None
    timestamp_s: int
    txs: tuple[Tx, ...]
    header: dict[str, object] = field(repr=False)
    logs: tuple[dict[str, Any], ...] = field(repr=False)
    receipts: tuple[dict[str, Any], ...] = field(repr=False)

    def __repr__(self) -> str:
        return f"{self.number}:{self.hash.hex()[:6]}"

    def ancestors(self) -> Iterator[Block]:
        """This block, then its parent, down to genesis."""
        one: Block | None = self
        while one is not None:
            yield one
            one = one.parent

    def at(self, number: int) -> Block | None:
        """The block of this branch at a height; None above this one."""
        if number > self.number:
            return None
        path = self.path
        return path[number] if number >= 0 else None

    @cached_property
    def path(self) -> tuple[Block, ...]:
        """From genesis up to this block."""
        return tuple(self.ancestors())[::-1]

    def has(self, other: Block) -> bool:
        """Whether the other one is this one or below it."""
        return self.at(other.number) is other

    @cached_property
    def header_json(self) -> msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(self.header))

    @cached_property
    def full_json(self) -> msgspec.Raw:
        """With its transactions."""
        transactions = [_transaction(place, tx) for place, tx in enumerate(self.txs)]
        return msgspec.Raw(msgspec.json.encode({**self.header, "transactions": transactions}))


class Tree:
    """Makes blocks out of chance. ``proven``: receipts have their root in the header, which costs time."""

    def __init__(self, random: Random, *, proven: bool, huge: float) -> None:
        self._random = random
        self._proven = proven
        self._huge = huge
        self.genesis = self._make(None, ())
        self.by_hash = {self.genesis.hash: self.genesis}

    def grow(self, tip: Block, blocks: int, lost: Sequence[Tx] = ()) -> Block:
        """A branch on top of ``tip``; some of the transactions that another one has are mined again in it."""
        deployed = tip.number + 1 >= content.GOLD_BLOCK
        pending = [
            tx
            for tx in lost
            if self._random.random() < 0.6
            and (deployed or all(one.address != content.GOLD for one in tx.emissions))
        ]
        for _ in range(blocks):
            again, pending = pending[:2], pending[2:]
            tip = self._make(tip, (*again, *self._new_txs(tip.number + 1)))
            self.by_hash[tip.hash] = tip
        return tip

    def _new_txs(self, number: int) -> tuple[Tx, ...]:
        random = self._random
        count = random.choices((0, 1, 2, 3), (45, 30, 15, 10))[0]
        return tuple(
            Tx(
                random.randbytes(32),
                tuple(
                    content.emission(random, number, self._huge)
                    for _ in range(random.choices((0, 1, 2, 4), (10, 50, 25, 15))[0])
                ),
            )
            for _ in range(count)
        )

    def _make(self, parent: Block | None, txs: tuple[Tx, ...]) -> Block:
        number = 0 if parent is None else parent.number + 1
        # Two branches never have the same time at a height, or hardly ever.
        timestamp_s = GENESIS_TIME_S + BLOCK_TIME_S * number + self._random.randrange(BLOCK_TIME_S)
        logs = tuple(_logs(number, timestamp_s, txs))
        receipts = tuple(_receipts(number, txs, logs))
        root = self._random.randbytes(32)
        if self._proven:
            root = receipts_root(msgspec.convert(receipts, list[wire.Receipt]))
        header = self._header(number, parent, timestamp_s, logs, root)
        name = header["hash"]
        for one in (*logs, *receipts):
            one["blockHash"] = name
        own = bytes.fromhex(str(name)[2:])
        return Block(number, own, parent, timestamp_s, txs, header, logs, receipts)

    def _header(
        self,
        number: int,
        parent: Block | None,
        timestamp_s: int,
        logs: Sequence[dict[str, Any]],
        root: bytes,
    ) -> dict[str, object]:
        header: dict[str, object] = {
            "number": hex(number),
            "hash": EMPTY,
            "parentHash": EMPTY if parent is None else text(parent.hash),
            "timestamp": hex(timestamp_s),
            "logsBloom": text(bloom.of_logs(msgspec.convert(logs, list[wire.Log]))),
            "baseFeePerGas": "0x7",
            "sha3Uncles": EMPTY,
            "miner": SENDER,
            "stateRoot": text(self._random.randbytes(32)),
            "transactionsRoot": EMPTY,
            "receiptsRoot": text(root),
            "difficulty": "0x0",
            "gasLimit": "0x1c9c380",
            "gasUsed": "0x5208",
            "extraData": "0x",
            "mixHash": EMPTY,
            "nonce": "0x" + "00" * 8,
        }
        header["hash"] = text(block_hash(msgspec.convert(header, wire.Block)))
        return header


def text(value: bytes) -> str:
    return "0x" + value.hex()


def common_ancestor(one: Block, other: Block) -> Block:
    lower, upper = sorted((one, other), key=lambda block: block.number)
    for block in lower.ancestors():
        if upper.has(block):
            return block
    raise ValueError(f"{one} and {other} are of two trees")


def _logs(number: int, timestamp_s: int, txs: Sequence[Tx]) -> Iterator[dict[str, Any]]:
    index = 0
    for place, tx in enumerate(txs):
        for emission in tx.emissions:
            yield {
                "address": text(emission.address),
                "topics": [text(topic) for topic in emission.topics],
                "data": text(emission.data),
                "blockHash": EMPTY,
                "blockNumber": hex(number),
                "transactionHash": text(tx.hash),
                "transactionIndex": hex(place),
                "logIndex": hex(index),
                "blockTimestamp": hex(timestamp_s),
                "removed": False,
            }
            index += 1


def _receipts(
    number: int, txs: Sequence[Tx], logs: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    at = 0
    for place, tx in enumerate(txs):
        own = list(logs[at : at + len(tx.emissions)])
        at += len(own)
        yield {
            "type": "0x2",
            "status": "0x1",
            "cumulativeGasUsed": hex(21_000 * (place + 1)),
            "gasUsed": hex(21_000),
            "effectiveGasPrice": "0x9",
            "contractAddress": None,
            "logsBloom": text(bloom.of_logs(msgspec.convert(own, list[wire.Log]))),
            "from": SENDER,
            "to": SENDER,
            "transactionHash": text(tx.hash),
            "transactionIndex": hex(place),
            "blockHash": EMPTY,
            "blockNumber": hex(number),
            "logs": own,
        }


def _transaction(place: int, tx: Tx) -> dict[str, object]:
    return {
        "hash": text(tx.hash),
        "transactionIndex": hex(place),
        "from": SENDER,
        "to": SENDER,
        "value": "0x1",
        "gas": "0x5208",
        "gasPrice": "0x9",
        "nonce": hex(int.from_bytes(keccak(tx.hash)[:2], "big")),
        "input": "0x",
        "type": "0x2",
    }
