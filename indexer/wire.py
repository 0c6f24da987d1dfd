"""The shapes of JSON-RPC messages, and their reading into values. Only the fields that are used.

Texts stay as the node wrote them, their lengths being checked while they are read; numbers and bytes are
made of them where they are needed. So a log costs under a microsecond to read. Whether a text is hexadecimal
is not checked here, except by :meth:`Block.header`.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from indexer import block
from indexer.hexadecimal import from_data, from_quantity

# JSON whose shape the caller knows and checks.
Json: TypeAlias = Any
T = TypeVar("T")

BLOOM_BYTES: Final = 256
MAX_TEXT: Final = 300
NUMBER_BITS: Final = 60

# "0x" and hexadecimal digits, by length: two for each byte; a number has between 1 and NUMBER_BITS / 4.
Address: TypeAlias = Annotated[str, Meta(min_length=42, max_length=42)]
Hash: TypeAlias = Annotated[str, Meta(min_length=66, max_length=66)]
Bloom: TypeAlias = Annotated[str, Meta(min_length=514, max_length=514)]
Number: TypeAlias = Annotated[str, Meta(min_length=3, max_length=2 + NUMBER_BITS // 4)]
Quantity: TypeAlias = Annotated[str, Meta(min_length=3, max_length=66)]
Data: TypeAlias = Annotated[str, Meta(min_length=2)]
Topics: TypeAlias = Annotated[tuple[Hash, ...], Meta(max_length=4)]


class Request(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: Sequence[object]
    jsonrpc: str = "2.0"


class Fault(msgspec.Struct, frozen=True):
    code: int
    message: str = ""
    data: Json = None


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """An answer that is read in one pass; ``result`` is UNSET if the field is missing."""

    id: int | str | None = None
    result: T | UnsetType = UNSET
    error: Fault | None = None


class Envelope(msgspec.Struct, frozen=True):
    """An answer of any result: ``result`` is empty if the field is missing, and ``null`` if it is null."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: Fault | None = None


class Block(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A header. What is not needed to follow a chain is None where the node does not tell it, and is of no
    checked length: it serves to compute the block's hash."""

    number: Number
    hash: Hash
    parent_hash: Hash
    timestamp: Number
    logs_bloom: Bloom
    base_fee_per_gas: str | None = None
    sha3_uncles: str | None = None
    miner: str | None = None
    state_root: str | None = None
    transactions_root: str | None = None
    receipts_root: Hash | None = None
    difficulty: str | None = None
    gas_limit: str | None = None
    gas_used: str | None = None
    extra_data: str | None = None
    mix_hash: str | None = None
    nonce: str | None = None
    withdrawals_root: str | None = None
    blob_gas_used: str | None = None
    excess_blob_gas: str | None = None
    parent_beacon_block_root: str | None = None
    requests_hash: str | None = None
    block_access_list_hash: str | None = None
    slot_number: str | None = None

    def header(self) -> block.Header:
        """Raises ``ValueError`` if a field is not what its type says."""
        fee, root = self.base_fee_per_gas, self.receipts_root
        return block.Header(
            number=from_quantity(self.number, NUMBER_BITS),
            hash=from_data(self.hash, 32),
            parent_hash=from_data(self.parent_hash, 32),
            timestamp_s=from_quantity(self.timestamp, NUMBER_BITS),
            logs_bloom=from_data(self.logs_bloom, BLOOM_BYTES),
            base_fee_wei=None if fee is None else from_quantity(fee),
            receipts_root=None if root is None else from_data(root, 32),
        )


class Transaction(msgspec.Struct, frozen=True, rename="camel", gc=False, kw_only=True):
    """A transaction inside a block. ``recipient`` (``to``) is None where it creates a contract;
    ``gas_price`` is None where a node leaves it out for the newer types."""

    hash: Hash
    transaction_index: Number
    sender: Address = msgspec.field(name="from")
    recipient: Address | None = msgspec.field(name="to", default=None)
    value: Quantity
    gas: Quantity
    gas_price: Quantity | None = None
    nonce: Quantity
    input: Data
    type: Number | None = None


class FullBlock(Block, frozen=True, rename="camel", gc=False, kw_only=True):
    """A block with its transactions, in their order."""

    transactions: list[Transaction]


class Log(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A mined log, as the node wrote it: a pending one, whose block is null, is malformed.

    ``removed`` is left out on purpose: a node that sends it is not to be relied on for it.
    ``block_timestamp`` is None where the node does not tell it.
    """

    address: Address
    topics: Topics
    data: Data
    block_hash: Hash
    block_number: Number
    transaction_hash: Hash
    transaction_index: Number
    log_index: Number
    block_timestamp: Number | None = None


class Receipt(msgspec.Struct, frozen=True, rename="camel", gc=False, kw_only=True):
    """A transaction's receipt. ``status`` is None, and ``root`` is set, before Byzantium.
    ``recipient`` (``to``) is None where the transaction created ``contract_address``. The deposit fields are
    of OP-stack chains."""

    type: Number | None = None
    status: Number | None = None
    root: Hash | None = None
    cumulative_gas_used: Number
    logs_bloom: Bloom
    gas_used: Number
    effective_gas_price: Quantity | None = None
    contract_address: Address | None = None
    sender: Address = msgspec.field(name="from")
    recipient: Address | None = msgspec.field(name="to", default=None)
    transaction_hash: Hash
    transaction_index: Number
    block_hash: Hash
    logs: list[Log]
    deposit_nonce: Number | None = None
    deposit_receipt_version: Number | None = None


class Push(msgspec.Struct, frozen=True):
    subscription: str
    result: Block


class Notice(msgspec.Struct, frozen=True):
    """What comes by WebSocket: ``params`` is None in what is not about a subscription."""

    params: Push | None = None


DecodeError = msgspec.DecodeError
NOTICE: Final = msgspec.json.Decoder(Notice)
SUBSCRIBED: Final = msgspec.json.Decoder(Answer[str])
ENVELOPE: Final = msgspec.json.Decoder(Envelope)
ENVELOPES: Final = msgspec.json.Decoder(list[Envelope])
BLOCK: Final[msgspec.json.Decoder[Block | None]] = msgspec.json.Decoder(Block | None)
# Answers whose result is read in the same pass.
ANY_ANSWER: Final = msgspec.json.Decoder(Answer[Json])
RAW_ANSWER: Final = msgspec.json.Decoder(Answer[msgspec.Raw])
BLOCK_ANSWER: Final = msgspec.json.Decoder(Answer[Block | None])
FULL_BLOCK_ANSWER: Final = msgspec.json.Decoder(Answer[FullBlock | None])
LOGS_ANSWER: Final = msgspec.json.Decoder(Answer[list[Log]])
RECEIPTS_ANSWER: Final = msgspec.json.Decoder(Answer[list[Receipt] | None])


def shortened(text: str) -> str:
    """A node's text, bounded, on one line, and of characters that can be stored and shown."""
    line = "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for each in " ".join(text.split())
    )
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."
