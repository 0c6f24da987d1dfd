"""The root of an ordered Merkle-Patricia trie: how a block's header names its receipts. Pure.

A value's key is the RLP of its position, and a path goes along the key's hexadecimal digits. No such key is
the beginning of another, so values stand in leaves only. A node is a leaf (rest of the path, value), an
extension (shared path, node) or a branch (16 nodes, and a value that is always empty here); a node is named
by its hash, or by itself where it is shorter than a hash.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final

from indexer.keccak import keccak
from indexer.rlp import sequence, string

HASH_BYTES: Final = 32
EMPTY: Final = string(b"")
EMPTY_ROOT: Final = keccak(EMPTY)
DIGITS: Final = "0123456789abcdef"
# Positions from 1 to 127 are a byte of their own, 0 is 0x80, and the others begin with 0x81 and above: in
# this order the keys ascend.
ONE_BYTE: Final = 128

# A path of hexadecimal digits and what stands at its end, ascending.
Pair = tuple[str, bytes]


def ordered_root(values: Sequence[bytes]) -> bytes:
    """The root over values at positions 0, 1, 2, …: 32 bytes."""
    if not values:
        return EMPTY_ROOT
    count = len(values)
    ascending = chain(range(1, min(count, ONE_BYTE)), (0,), range(ONE_BYTE, count))
    return keccak(_node([(_key(position), values[position]) for position in ascending], 0))


def _key(position: int) -> str:
    return string(position.to_bytes((position.bit_length() + 7) // 8, "big")).hex()


def _node(pairs: Sequence[Pair], depth: int) -> bytes:
    """The node over at least one pair, all of which share the first ``depth`` digits."""
    first, last = pairs[0][0], pairs[-1][0]
    if len(pairs) == 1:
        return sequence(_path(first[depth:], leaf=True) + string(pairs[0][1]))
    if first[depth] == last[depth]:
        end = depth + 1
        while first[end] == last[end]:
            end += 1
        return sequence(_path(first[depth:end], leaf=False) + _name(_node(pairs, end)))
    below: dict[str, list[Pair]] = {}
    for pair in pairs:
        below.setdefault(pair[0][depth], []).append(pair)
    children = [
        _name(_node(below[digit], depth + 1)) if digit in below else EMPTY for digit in DIGITS
    ]
    return sequence(b"".join(children) + EMPTY)


def _path(digits: str, *, leaf: bool) -> bytes:
    """A part of a path, marked by what it leads to and filled up to whole bytes."""
    mark = ("3" if leaf else "1") if len(digits) % 2 else ("20" if leaf else "00")
    return string(bytes.fromhex(mark + digits))


def _name(node: bytes) -> bytes:
    return node if len(node) < HASH_BYTES else string(keccak(node))
