"""A contract that is followed."""

from dataclasses import dataclass, field
from typing import Self

from indexer.abi import Abi, Event, events


@dataclass(frozen=True, slots=True)
class Contract:
    """``name`` prefixes its tables, ``address`` is 20 bytes, ``by_topic`` finds an event by its topic."""

    name: str
    address: bytes
    events: tuple[Event, ...]
    by_topic: dict[bytes, Event] = field(repr=False)

    @classmethod
    def from_abi(cls, name: str, address: bytes, abi: Abi) -> Self:
        """Raises :class:`AbiUnsupported`."""
        if len(address) != 20:
            raise ValueError(f"an address has 20 bytes, not {len(address)}")
        found = events(name, abi)
        return cls(name, address, found, {event.topic0: event for event in found})
