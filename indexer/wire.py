"""The shapes of JSON-RPC messages, and their reading into values. Only the fields that are used."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec

from indexer import block
from indexer.hexadecimal import from_data, from_quantity

# JSON whose shape the caller knows and checks.
Json: TypeAlias = Any

BLOOM_BYTES: Final = 256
MAX_TEXT: Final = 300
NUMBER_BITS: Final = 60


class Request(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: Sequence[object]
    jsonrpc: str = "2.0"


class Fault(msgspec.Struct, frozen=True):
    code: int
    message: str = ""
    data: Json = None


class Envelope(msgspec.Struct, frozen=True):
    """An answer: ``result`` is empty if the field is missing, and ``null`` if it is null."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Fault | None = None


class Block(msgspec.Struct, frozen=True, rename="camel", gc=False):
    number: str
    hash: str
    parent_hash: str
    timestamp: str
    logs_bloom: str
    base_fee_per_gas: str | None = None

    def header(self) -> block.Header:
        """Raises ``ValueError`` if a field is not what its type says."""
        fee = self.base_fee_per_gas
        return block.Header(
            number=from_quantity(self.number, NUMBER_BITS),
            hash=from_data(self.hash, 32),
            parent_hash=from_data(self.parent_hash, 32),
            timestamp_s=from_quantity(self.timestamp, NUMBER_BITS),
            logs_bloom=from_data(self.logs_bloom, BLOOM_BYTES),
            base_fee_wei=None if fee is None else from_quantity(fee),
        )


class Log(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """``removed`` is left out on purpose: a node that sends it is not to be relied on for it."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_hash: str
    block_number: str
    transaction_hash: str
    transaction_index: str
    log_index: str

    def log(self) -> block.Log:
        """Raises ``ValueError`` if a field is not what its type says."""
        if len(self.topics) > 4:
            raise ValueError(f"a log with {len(self.topics)} topics, where at most 4 can be")
        return block.Log(
            address=from_data(self.address, 20),
            topics=tuple(from_data(topic, 32) for topic in self.topics),
            data=from_data(self.data),
            block_hash=from_data(self.block_hash, 32),
            block_number=from_quantity(self.block_number, NUMBER_BITS),
            tx_hash=from_data(self.transaction_hash, 32),
            tx_index=from_quantity(self.transaction_index, NUMBER_BITS),
            log_index=from_quantity(self.log_index, NUMBER_BITS),
        )


class Receipt(msgspec.Struct, frozen=True, rename="camel", gc=False):
    logs: list[Log]


ENVELOPE: Final = msgspec.json.Decoder(Envelope)
BLOCK: Final[msgspec.json.Decoder[Block | None]] = msgspec.json.Decoder(Block | None)
LOGS: Final = msgspec.json.Decoder(list[Log])
RECEIPTS: Final[msgspec.json.Decoder[list[Receipt] | None]] = msgspec.json.Decoder(
    list[Receipt] | None
)
ANYTHING: Final[msgspec.json.Decoder[Json]] = msgspec.json.Decoder()


def error_data(data: Json) -> Json:
    """Revert data as bytes, from wherever nodes put it: the field itself, or a ``data`` inside it."""
    if isinstance(data, dict) and isinstance(data.get("data"), str):
        data = data["data"]
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return from_data(data)
        except ValueError:
            return data
    return data


def shortened(text: str) -> str:
    """A node's text, bounded, on one line, and of characters that can be stored and shown."""
    line = "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for each in " ".join(text.split())
    )
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."
