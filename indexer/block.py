"""What a node tells about blocks, as values. Hashes are 32 bytes, addresses 20."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A place in the chain: a height, and which block stands there."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """As much of a block's header as is needed to follow it. ``base_fee_wei`` is None before London,
    ``receipts_root`` where a node does not tell it."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp_s: int
    logs_bloom: bytes
    base_fee_wei: int | None = None
    receipts_root: bytes | None = None

    @property
    def ref(self) -> BlockRef:
        return BlockRef(self.number, self.hash)
