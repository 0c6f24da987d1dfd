"""What to ask a node for, so that every log of some sources is in the answer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from indexer import bloom
from indexer.hexadecimal import from_data, to_data
from indexer.source import Source

# Nodes bound the length of a question. With more addresses than this, events are asked for by topic alone
# and those of other contracts are left aside here.
MAX_ADDRESSES: Final = 500


@dataclass(frozen=True, slots=True)
class LogQuery:
    """``addresses`` (20 bytes) and ``topics`` (first topics, 32 bytes); None stands for any."""

    addresses: tuple[bytes, ...] | None
    topics: tuple[bytes, ...] | None
    address_masks: tuple[int, ...] | None
    topic_masks: tuple[int, ...] | None
    address_texts: frozenset[str]
    topic_texts: frozenset[str]

    @classmethod
    def of(cls, sources: Sequence[Source], children: Mapping[int, Mapping[str, int]]) -> Self:
        """The narrowest question whose answer has the logs of every source."""
        addresses = _addresses(sources, children)
        topics = _topics(sources)
        return cls(
            addresses,
            topics,
            None if addresses is None else tuple(map(bloom.mask, addresses)),
            None if topics is None else tuple(map(bloom.mask, topics)),
            frozenset(map(to_data, addresses or ())),
            frozenset(map(to_data, topics or ())),
        )

    @property
    def is_empty(self) -> bool:
        """Whether no log can answer it: no source, or a factory without children yet."""
        return self.addresses == () or self.topics == ()

    def may_match(self, logs_bloom: bytes) -> bool:
        """Whether a block with this bloom may have such logs; False is certain."""
        if self.is_empty:
            return False
        return (
            self.address_masks is None or bloom.may_contain(logs_bloom, self.address_masks)
        ) and (self.topic_masks is None or bloom.may_contain(logs_bloom, self.topic_masks))

    def matches(self, address: str, topics: Sequence[str]) -> bool:
        """Whether a log of this address and these topics, as a node writes them, is asked for."""
        return (self.addresses is None or address.lower() in self.address_texts) and (
            self.topics is None or (bool(topics) and topics[0].lower() in self.topic_texts)
        )


def _addresses(
    sources: Sequence[Source], children: Mapping[int, Mapping[str, int]]
) -> tuple[bytes, ...] | None:
    found: set[bytes] = set()
    for source in sources:
        contract = source.contract
        if contract.addresses:
            found.update(contract.addresses)
        elif contract.factory:
            born = children.get(source.source_id, {})
            if len(born) > MAX_ADDRESSES:
                return None
            found.update(map(from_data, born))
        else:
            return None
    return tuple(sorted(found)) if len(found) <= MAX_ADDRESSES else None


def _topics(sources: Sequence[Source]) -> tuple[bytes, ...] | None:
    """None where a source keeps whatever its contract emits, or has events without a topic of their own."""
    found: set[bytes] = set()
    for source in sources:
        if source.contract.options.raw:
            return None
        for event in source.contract.events:
            if event.topic0 is None:
                return None
            found.add(event.topic0)
    return tuple(sorted(found))
