"""A contract's ABI, made into decoders and columns for its events. Pure.

An event's inputs become columns in the ABI's order, named in snake case; an indexed ``string`` or
``bytes`` leaves only its hash on the chain, in the column ``<name>_hash``. Arrays, tuples, anonymous and
overloaded events raise :class:`AbiUnsupported` before anything is followed.

A log that does not fit its event is answered with a :class:`DecodeError`, never raised: whoever can
emit a log must not be able to stop the chain.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from indexer.errors import AbiUnsupported
from indexer.keccak import keccak
from indexer.solidity import (
    HASHED,
    WORD_BYTES,
    MisfitError,
    SolidityType,
    Value,
    solidity_type,
    tail,
)

Abi: TypeAlias = Sequence[Mapping[str, object]]

MAX_NAME_BYTES: Final = 63
FINAL_SUFFIX: Final = "_final"
IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Columns that every event table has by itself; `finality` stands in its view.
RESERVED: Final = frozenset(
    {
        *("chain_id", "block_hash", "block_number", "block_timestamp_s", "log_index", "tx_hash"),
        *("tx_index", "address", "ordinal", "canonical", "finality"),
    }
)


@dataclass(frozen=True, slots=True)
class DecodeError:
    """Why a log does not fit its event."""

    reason: str


@dataclass(frozen=True, slots=True)
class Column:
    """One input of an event. ``indexed``: it stands in a topic, and is given an index here too."""

    name: str
    type: SolidityType
    indexed: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one contract; ``table`` names its table in the schema ``event`` and its view in ``v1``."""

    name: str
    table: str
    signature: str
    topic0: bytes
    columns: tuple[Column, ...]

    def decode(self, topics: Sequence[bytes], data: bytes) -> tuple[Value, ...] | DecodeError:
        """Values in the order of ``columns``. ``topics`` begins with the event's own."""
        wanted = 1 + sum(column.indexed for column in self.columns)
        if len(topics) != wanted or topics[0] != self.topic0:
            return DecodeError(f"it has {len(topics)} topics, {self.signature} has {wanted}")
        words = iter(topics[1:])
        position = 0
        values = []
        for column in self.columns:
            try:
                if column.indexed:
                    values.append(column.type.read(next(words)))
                else:
                    values.append(_read(column.type, data, position))
                    position += WORD_BYTES
            except MisfitError as error:
                return DecodeError(f"{column.name}: {error}")
        return tuple(values)


def events(contract: str, abi: Abi) -> tuple[Event, ...]:
    """The events of an ABI, in its order. Raises :class:`AbiUnsupported`."""
    _require_name(contract, contract)
    found = tuple(_event(contract, item) for item in abi if item.get("type") == "event")
    taken: set[str] = set()
    for event in found:
        for name in (event.table, event.table + FINAL_SUFFIX):
            if len(name.encode()) > MAX_NAME_BYTES:
                raise _unsupported(
                    contract, f"the name {name} has more than {MAX_NAME_BYTES} bytes"
                )
            if name in taken:
                raise _unsupported(contract, f"two of its events need the name {name}")
            taken.add(name)
    return found


def snake_case(name: str) -> str:
    """``opId`` is ``op_id``, ``EIP712DomainChanged`` is ``eip712_domain_changed``, ``_to`` is ``to``."""
    return WORD_START.sub("_", name).lower().strip("_")


def _event(contract: str, item: Mapping[str, object]) -> Event:
    name = item.get("name")
    inputs = item.get("inputs")
    if not isinstance(name, str) or not isinstance(inputs, list):
        raise _unsupported(contract, "an event has no name or no inputs")
    if item.get("anonymous"):
        raise _unsupported(contract, f"event {name} is anonymous, so its logs cannot be told apart")
    columns = tuple(_column(contract, name, position, one) for position, one in enumerate(inputs))
    names = [column.name for column in columns]
    if len(set(names)) != len(names):
        raise _unsupported(contract, f"event {name} has two inputs for one column")
    signature = f"{name}({','.join(one['type'] for one in inputs)})"
    label = snake_case(name)
    _require_name(contract, label)
    return Event(name, f"{contract}_{label}", signature, keccak(signature.encode()), columns)


def _column(contract: str, event: str, position: int, item: object) -> Column:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise _unsupported(contract, f"event {event} has an input without a type")
    found = solidity_type(item["type"])
    if found is None:
        raise _unsupported(contract, f"event {event} has an input of type {item['type']}")
    indexed = bool(item.get("indexed"))
    name = snake_case(str(item.get("name") or f"arg{position}"))
    if indexed and found.in_tail:
        name, found = f"{name}_hash", HASHED
    if name in RESERVED:
        raise _unsupported(contract, f"event {event} has an input {name}, a name that is taken")
    _require_name(contract, name)
    return Column(name, found, indexed)


def _read(kind: SolidityType, data: bytes, position: int) -> Value:
    word = data[position : position + WORD_BYTES]
    if len(word) < WORD_BYTES:
        raise MisfitError(f"the data ends before it, after {len(data)} bytes")
    return kind.read(tail(data, word) if kind.in_tail else word)


def _require_name(contract: str, name: str) -> None:
    if not IDENTIFIER.match(name) or len(name) > MAX_NAME_BYTES:
        raise _unsupported(contract, f"{name!r} cannot name a table or column")


def _unsupported(contract: str, reason: str) -> AbiUnsupported:
    return AbiUnsupported(contract=contract, reason=reason)
