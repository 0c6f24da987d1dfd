"""A block's hash, computed from its header. Pure.

A node that names a hash and shows fields beside it has proved nothing: with the hash of the fields computed,
the fields (the receipts root and the bloom among them) are that block's and no other's.

A header is the RLP list of its fields. Forks only ever added fields at its end:

========= ==========================================================
London    baseFeePerGas
Shanghai  withdrawalsRoot
Cancun    blobGasUsed, excessBlobGas, parentBeaconBlockRoot
Prague    requestsHash
Amsterdam blockAccessListHash, slotNumber
========= ==========================================================

So a header has some first part of them, and the last one that it has tells which. (Osaka added none.)
"""

from binascii import unhexlify
from operator import attrgetter
from typing import Final

from indexer import wire
from indexer.hexadecimal import from_data, from_quantity
from indexer.keccak import keccak
from indexer.rlp import LIST, STRING, head_digits, number_digits, string_digits

# How a field is written: as so many bytes, or as one of these.
NUMBER: Final = -1
BYTES: Final = -2

# The name in wire.Block, the name in JSON-RPC, and how it is written, in the order of the header.
FIELDS: Final = (
    ("parent_hash", "parentHash", 32),
    ("sha3_uncles", "sha3Uncles", 32),
    ("miner", "miner", 20),
    ("state_root", "stateRoot", 32),
    ("transactions_root", "transactionsRoot", 32),
    ("receipts_root", "receiptsRoot", 32),
    ("logs_bloom", "logsBloom", 256),
    ("difficulty", "difficulty", NUMBER),
    ("number", "number", NUMBER),
    ("gas_limit", "gasLimit", NUMBER),
    ("gas_used", "gasUsed", NUMBER),
    ("timestamp", "timestamp", NUMBER),
    ("extra_data", "extraData", BYTES),
    ("mix_hash", "mixHash", 32),
    ("nonce", "nonce", 8),
    ("base_fee_per_gas", "baseFeePerGas", NUMBER),
    ("withdrawals_root", "withdrawalsRoot", 32),
    ("blob_gas_used", "blobGasUsed", NUMBER),
    ("excess_blob_gas", "excessBlobGas", NUMBER),
    ("parent_beacon_block_root", "parentBeaconBlockRoot", 32),
    ("requests_hash", "requestsHash", 32),
    ("block_access_list_hash", "blockAccessListHash", 32),
    ("slot_number", "slotNumber", NUMBER),
)
# How many fields a header has: at first, and from London, Shanghai, Cancun, Prague and Amsterdam on.
LENGTHS: Final = (15, 16, 17, 20, 21, 23)

_of: Final = attrgetter(*(name for name, _, _ in FIELDS))
# The head of a field of fixed length, and the length of its text.
_HEADS: Final = tuple("" if size < 0 else head_digits(STRING, size) for _, _, size in FIELDS)
_TEXTS: Final = tuple(size if size < 0 else 2 + 2 * size for _, _, size in FIELDS)
_MAX_NUMBER_TEXT: Final = 2 + 2 * 32


def block_hash(block: wire.Block) -> bytes:
    """The hash of the block that has this header: 32 bytes.

    Raises ``ValueError`` that names a field which the header needs and has not, or which is malformed.
    """
    texts = _texts(block)
    parts = []
    for text, head, length in zip(texts, _HEADS, _TEXTS, strict=False):
        if text[:2] != "0x":
            raise _malformed(texts)
        if length > 0:
            if len(text) != length:
                raise _malformed(texts)
            parts.append(head + text[2:])
        elif length == BYTES:
            parts.append(string_digits(text[2:]))
        elif 3 <= len(text) <= _MAX_NUMBER_TEXT:
            parts.append(number_digits(text[2:]))
        else:
            raise _malformed(texts)
    payload = "".join(parts)
    try:
        return keccak(unhexlify(head_digits(LIST, len(payload) // 2) + payload))
    except ValueError:
        raise _malformed(texts) from None


def _texts(block: wire.Block) -> list[str]:
    """The fields that this header has: all up to the end of the newest fork of which it has any."""
    found: list[str | None] = list(_of(block))
    while len(found) > LENGTHS[0] and found[-1] is None:
        found.pop()
    wanted = next(length for length in LENGTHS if len(found) <= length)
    found += [None] * (wanted - len(found))
    texts = [text for text in found if text is not None]
    if len(texts) < wanted:
        _, json_name, _ = FIELDS[found.index(None)]
        raise ValueError(f"the header has no {json_name}, without which it has no hash")
    return texts


def _malformed(texts: list[str]) -> ValueError:
    """The error that names the field; slow, for a header that has no hash anyway."""
    for text, (_, json_name, size) in zip(texts, FIELDS, strict=False):
        try:
            if size == NUMBER:
                from_quantity(text)
            else:
                from_data(text, None if size == BYTES else size)
        except ValueError as error:
            return ValueError(f"the header's {json_name} is malformed: {error}")
    return ValueError("the header is malformed")
