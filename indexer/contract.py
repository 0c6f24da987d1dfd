"""A contract to be followed, as the configuration describes it. Pure.

All that decides which rows its tables hold is its definition: plain JSON values that are stored with the
source and from which the contract is made again, so that a version that is being replaced can be followed
after the configuration has changed. Two contracts with one definition have one fingerprint.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

from indexer.abi import Abi, Event, events, select
from indexer.hexadecimal import from_data, to_data
from indexer.keccak import keccak

ADDRESS_BYTES: Final = 20
Verify = Literal["none", "bloom", "full"]
STRICTNESS: Final[tuple[Verify, ...]] = ("none", "bloom", "full")


@dataclass(frozen=True, slots=True)
class Factory:
    """The addresses are what ``parameter`` (a column) of ``event`` says, an event of the contract named
    ``contract`` on the same chain; each from the block of that event on."""

    contract: str
    event: str
    parameter: str


@dataclass(frozen=True, slots=True)
class Options:
    """What is kept beside the events, and how far the node is trusted.

    ``verify``: ``none`` believes range answers below finality, ``bloom`` compares each block's bloom filter,
    ``full`` recomputes receipts roots and header hashes. At the head the bloom is always compared.
    ``partition_blocks`` divides the tables by block number; ``index`` names columns to be indexed, ``*`` all
    that the contract indexes.
    """

    raw: bool = False
    transactions: bool = False
    receipts: bool = False
    balances: bool = False
    verify: Verify = "none"
    partition_blocks: int | None = None
    index: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """``addresses`` are 20 bytes each; with neither addresses nor ``factory``, any contract's events count.

    ``start_block`` None: found by looking for the block of its deployment.
    """

    name: str
    chain_id: int
    events: tuple[Event, ...]
    abi: tuple[Mapping[str, Any], ...]
    addresses: tuple[bytes, ...] = ()
    factory: Factory | None = None
    start_block: int | None = None
    options: Options = Options()

    @classmethod
    def from_abi(
        cls,
        name: str,
        chain_id: int,
        abi: Abi,
        addresses: tuple[bytes, ...] = (),
        *,
        only: tuple[str, ...] = (),
        factory: Factory | None = None,
        start_block: int | None = None,
        options: Options | None = None,
    ) -> Self:
        """``only`` names the events that are followed, by name or signature; none named means all.

        Raises :class:`AbiUnsupported`.
        """
        if any(len(address) != ADDRESS_BYTES for address in addresses):
            raise ValueError(f"an address has {ADDRESS_BYTES} bytes")
        if addresses and factory:
            raise ValueError("a contract has addresses or a factory, not both")
        found = events(name, abi)
        chosen = select(found, only) if only else found
        items = tuple(dict(item) for item in abi if item.get("type") == "event")
        return cls(
            name=name,
            chain_id=chain_id,
            events=chosen,
            abi=items,
            addresses=tuple(sorted(set(addresses))),
            factory=factory,
            start_block=start_block,
            options=options or Options(),
        )

    @property
    def definition(self) -> dict[str, Any]:
        """As JSON values."""
        factory, options = self.factory, self.options
        return {
            "name": self.name,
            "chain_id": self.chain_id,
            "addresses": [to_data(address) for address in self.addresses],
            "factory": None
            if factory is None
            else [factory.contract, factory.event, factory.parameter],
            "start_block": self.start_block,
            "abi": [dict(item) for item in self.abi],
            "events": sorted(event.signature for event in self.events),
            "options": {
                "raw": options.raw,
                "transactions": options.transactions,
                "receipts": options.receipts,
                "balances": options.balances,
                "verify": options.verify,
                "partition_blocks": options.partition_blocks,
                "index": sorted(options.index),
            },
        }

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> Self:
        options = definition["options"]
        factory = definition["factory"]
        if options["verify"] not in get_args(Verify):
            raise ValueError(f"{options['verify']!r} is no way to verify")
        return cls.from_abi(
            definition["name"],
            definition["chain_id"],
            definition["abi"],
            tuple(from_data(address, ADDRESS_BYTES) for address in definition["addresses"]),
            only=tuple(definition["events"]),
            factory=None if factory is None else Factory(*factory),
            start_block=definition["start_block"],
            options=Options(**{**options, "index": tuple(options["index"])}),
        )

    @property
    def fingerprint(self) -> bytes:
        """32 bytes. How a contract is verified and indexed leaves its rows as they are, so it does not count."""
        parts = self.definition
        del parts["options"]["verify"], parts["options"]["index"]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return keccak(text.encode())


def strictest(contracts: Iterable[Contract]) -> Verify:
    """What all of them are satisfied with when they are read together."""
    ways = [contract.options.verify for contract in contracts]
    return max(ways, key=STRICTNESS.index, default="none")
