"""A block's logs bloom: 2048 bits, three for each address and each topic of its logs. Pure.

A clear bit proves that a value is in no log of the block; set bits prove nothing.
"""

from collections.abc import Iterable, Sequence

from indexer.block import Log
from indexer.keccak import keccak

BLOOM_BYTES = 256


def mask(value: bytes) -> int:
    """The bits of one address or topic, as a 2048-bit number."""
    digest = keccak(value)
    bits = 0
    for start in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[start : start + 2], "big") & 2047)
    return bits


def may_contain(bloom: bytes, masks: Sequence[int]) -> bool:
    """Whether any of the values may be in the block; False is certain."""
    bits = int.from_bytes(bloom, "big")
    return any(bits & one == one for one in masks)


def of_logs(logs: Iterable[Log]) -> bytes:
    """The bloom of a block that has exactly these logs: 256 bytes."""
    bits = 0
    for log in logs:
        for value in (log.address, *log.topics):
            bits |= mask(value)
    return bits.to_bytes(BLOOM_BYTES, "big")
