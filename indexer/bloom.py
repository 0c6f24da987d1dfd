"""Logs blooms: 2048 bits, three for each address and each topic of the logs. Pure.

A clear bit proves that a value is in no log; set bits prove nothing.
"""

from binascii import unhexlify
from collections.abc import Iterable
from functools import reduce
from operator import or_
from struct import Struct
from typing import Final

from indexer.hexadecimal import shown
from indexer.keccak import keccak
from indexer.wire import Log

BLOOM_BYTES: Final = 256
BLOOM_BITS: Final = BLOOM_BYTES * 8

_THREE: Final = Struct(">3H26x")  # the first three pairs of bytes of a hash
_BIT: Final = tuple(1 << position for position in range(BLOOM_BITS))


class Masks(dict[str, int]):
    """The masks of values of one length, by the text that a node wrote; made when first asked for.

    Raises ``ValueError`` for a text that is not 0x and hexadecimal digits of so many bytes, so that asking for
    a mask is holding a text to its form. Most values of a log were in a log before: its topic 0, its contract,
    busy accounts. The memory is bounded by forgetting everything when it is full: what is busy is made again
    at once, and keeping an order of use would cost every value more.
    """

    def __init__(self, length_bytes: int, capacity: int) -> None:
        super().__init__()
        self._length_bytes = length_bytes
        self._text_length = 2 + 2 * length_bytes
        self._capacity = capacity

    def __missing__(self, text: str) -> int:
        if len(text) != self._text_length or text[:2] != "0x":
            raise ValueError(f"{shown(text)} is not 0x and {self._length_bytes} bytes")
        if len(self) >= self._capacity:
            self.clear()
        # As in mask(), whose call would be a tenth of the whole here.
        one, two, three = _THREE.unpack(keccak(unhexlify(text[2:])))
        found: int = _BIT[one % BLOOM_BITS] | _BIT[two % BLOOM_BITS] | _BIT[three % BLOOM_BITS]
        self[text] = found
        return found


# At some 500 bytes for each value, at most 4 and 16 MB.
_ADDRESSES: Final = Masks(20, 1 << 13)
_TOPICS: Final = Masks(32, 1 << 15)


def mask(value: bytes) -> int:
    """The bits of one address or topic, as a 2048-bit number."""
    positions: tuple[int, int, int] = _THREE.unpack(keccak(value))
    one, two, three = positions
    return _BIT[one % BLOOM_BITS] | _BIT[two % BLOOM_BITS] | _BIT[three % BLOOM_BITS]


def may_contain(bloom: bytes, masks: Iterable[int]) -> bool:
    """Whether any of the values may be in the logs; False is certain."""
    present = int.from_bytes(bloom, "big")
    return any(present & one == one for one in masks)


def of_values(addresses: Iterable[str], topics: Iterable[str]) -> int:
    """The bits of addresses and topics. Raises ``ValueError`` for a text that is not one, strictly read."""
    bits = reduce(or_, map(_ADDRESSES.__getitem__, addresses), 0)
    return reduce(or_, map(_TOPICS.__getitem__, topics), bits)


def of_text(text: str) -> int:
    """The bits of a bloom as a node writes it. Raises ``ValueError`` if it is none."""
    if len(text) != 2 + 2 * BLOOM_BYTES or text[:2] != "0x":
        raise ValueError(f"{shown(text)} is not a bloom of {BLOOM_BYTES} bytes")
    return int.from_bytes(unhexlify(text[2:]), "big")


def of_logs(logs: Iterable[Log]) -> bytes:
    """The bloom of a block that has exactly these logs: 256 bytes. ``ValueError`` as for :func:`of_values`."""
    addresses: set[str] = set()
    topics: set[str] = set()
    for log in logs:
        addresses.add(log.address)
        topics.update(log.topics)
    return of_values(addresses, topics).to_bytes(BLOOM_BYTES, "big")
