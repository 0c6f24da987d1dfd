"""A block's receipts as its header names them: their encoding, and the root over them. Pure.

The root commits to each receipt's outcome, cumulative gas, bloom and logs, and to each log's address, topics,
data and place in the order. So once it is the header's, nothing was lost, invented or altered. It does not
commit to what JSON-RPC writes beside: indices, hashes and timestamps; see :mod:`indexer.proof`.

It is on the path of verified backfill, so a log is put together as text from heads made before, and the whole
receipt becomes bytes once. Every text is held to its form on the way: two answers that read differently never
have one root.
"""

from binascii import unhexlify
from collections.abc import Sequence
from typing import Final

from indexer import bloom, wire
from indexer.hexadecimal import shown
from indexer.rlp import LIST, STRING, head_digits, number_digits, string_digits
from indexer.trie import ordered_root

MAX_TOPICS: Final = 4
WORD_TEXT: Final = 2 + 2 * 32
# A log's data in words of 32 bytes, up to here, has heads made before.
COMMON_DATA_WORDS: Final = 32

# The deposits of OP-stack chains. Since Canyon their receipts end with two fields more.
DEPOSIT: Final = "7e"
# The digits before a receipt's list, by its type: a legacy one has none; access list, dynamic fee, blobs and set
# code all have one form.
_KINDS: Final[dict[str | None, str]] = {
    None: "",
    "0x0": "",
    "0x1": "01",
    "0x2": "02",
    "0x3": "03",
    "0x4": "04",
    "0x7e": DEPOSIT,
}

_STATUS: Final = {"0x0": string_digits(""), "0x1": string_digits("01")}
_WORD_HEAD: Final = head_digits(STRING, 32)
_BLOOM_HEAD: Final = head_digits(STRING, bloom.BLOOM_BYTES)

# What stands before a log's address, its topics and its data.
Heads = tuple[str, str, str]


def receipts_root(receipts: Sequence[wire.Receipt]) -> bytes:
    """The root over a block's receipts in their order: 32 bytes.

    Raises ``ValueError`` that names the first receipt which has no encoding, or whose bloom is not its logs'.
    """
    encoded = []
    for position, receipt in enumerate(receipts):
        try:
            encoded.append(encode(receipt))
        except ValueError as error:
            raise ValueError(f"receipt {position}: {error}") from error
    return ordered_root(encoded)


def encode(receipt: wire.Receipt) -> bytes:
    """A receipt as the chain's nodes hash it. Raises ``ValueError`` if it has no encoding.

    That its bloom is its logs' adds nothing to the root where the chain's rules make the bloom so. It holds the
    chain to that rule, since an absence is concluded from blooms alone, and some chains leave them empty.
    """
    kind = _kind(receipt)
    logs = _logs(receipt)
    outcome = _outcome(receipt)
    gas = number_digits(_digits(receipt.cumulative_gas_used))
    rest = _deposit_fields(receipt) if kind == DEPOSIT else ""
    logs_head = head_digits(LIST, len(logs) // 2)
    payload = f"{outcome}{gas}{_BLOOM_HEAD}{receipt.logs_bloom[2:]}{logs_head}{logs}{rest}"
    return unhexlify(f"{kind}{head_digits(LIST, len(payload) // 2)}{payload}")


def _kind(receipt: wire.Receipt) -> str:
    """The digits before a receipt's list: none, or its type."""
    kind = _KINDS.get(receipt.type)
    if kind is None:
        text = shown(receipt.type)
        raise ValueError(f"its type {text} is not known, so its encoding is not either")
    return kind


def _outcome(receipt: wire.Receipt) -> str:
    """The status; before Byzantium, the root of the state after the transaction."""
    if receipt.status is None:
        root = receipt.root
        if root is None:
            raise ValueError("it has neither a status nor a root")
        if len(root) != WORD_TEXT:
            raise ValueError(f"its root {shown(root)} is not 32 bytes long")
        return _WORD_HEAD + _digits(root)
    if receipt.root is not None:
        raise ValueError("it has a status and a root, of which the chain knows one")
    outcome = _STATUS.get(receipt.status)
    if outcome is None:
        raise ValueError(f"its status {shown(receipt.status)} is neither 0x0 nor 0x1")
    return outcome


def _deposit_fields(receipt: wire.Receipt) -> str:
    """Between Regolith and Canyon the nonce is told but not hashed; since Canyon nonce and version are."""
    nonce, version = receipt.deposit_nonce, receipt.deposit_receipt_version
    if version is None:
        return ""
    if nonce is None:
        raise ValueError("it has a depositReceiptVersion but no depositNonce")
    return number_digits(_digits(nonce)) + number_digits(_digits(version))


def _logs(receipt: wire.Receipt) -> str:
    """The encoded logs, without the head of their list. Holds the receipt's bloom to them, and by that each
    address and topic to its length and to hexadecimal digits; data are held to them by who makes bytes of it."""
    addresses: set[str] = set()
    topics_seen: set[str] = set()
    parts = []
    for log in receipt.logs:
        address, topics, data = log.address, log.topics, log.data
        addresses.add(address)
        topics_seen.update(topics)
        if data[:2] != "0x":
            raise ValueError(f"a log's data {shown(data)} do not begin with 0x")
        heads = _HEADS.get((len(topics), len(data))) or _heads(len(topics), data)
        words = "".join(topics).replace("0x", _WORD_HEAD)
        parts.append(f"{heads[0]}{address[2:]}{heads[1]}{words}{heads[2]}{data[2:]}")
    if bloom.of_values(addresses, topics_seen) != bloom.of_text(receipt.logs_bloom):
        raise ValueError("its logsBloom is not the bloom of its logs")
    return "".join(parts)


def _heads(topics: int, data: str) -> Heads:
    """The heads of a log with that many topics and these data, which begin with 0x."""
    if topics > MAX_TOPICS:
        raise ValueError(f"a log has {topics} topics, where at most {MAX_TOPICS} can be")
    if len(data) % 2:
        raise ValueError(f"a log's data {shown(data)} have an odd number of digits")
    data_head = string_digits(data[2:]).removesuffix(data[2:])
    return _framed(topics, data_head, (len(data) - 2) // 2)


def _framed(topics: int, data_head: str, data_bytes: int) -> Heads:
    topics_bytes = topics * (1 + 32)
    topics_head = head_digits(LIST, topics_bytes)
    rest = len(topics_head + data_head) // 2 + topics_bytes + data_bytes
    address_head = head_digits(STRING, 20)
    return head_digits(LIST, 1 + 20 + rest) + address_head, topics_head, data_head


def _digits(text: str) -> str:
    """The digits of a short text, held to be hexadecimal."""
    if text[:2] != "0x" or not text.isascii() or not text[2:].isalnum():
        raise ValueError(f"{shown(text)} is not hexadecimal")
    return text[2:]


_HEADS: Final = {
    (topics, 2 + 2 * 32 * words): _framed(topics, head_digits(STRING, 32 * words), 32 * words)
    for topics in range(MAX_TOPICS + 1)
    for words in range(COMMON_DATA_WORDS + 1)
}
