"""What a node tells about blocks, as values. Hashes are 32 bytes, addresses 20."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A place in the chain: a height, and which block stands there."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """As much of a block's header as is needed to follow it. ``base_fee_wei`` is None before London."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp_s: int
    logs_bloom: bytes
    base_fee_wei: int | None = None

    @property
    def ref(self) -> BlockRef:
        return BlockRef(self.number, self.hash)


@dataclass(frozen=True, slots=True)
class Log:
    """A raw log. ``log_index`` counts in the block, from 0."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_hash: bytes
    block_number: int
    tx_hash: bytes
    tx_index: int
    log_index: int
