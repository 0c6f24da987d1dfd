"""A contract's ABI, made into events with their tables and columns. Pure, and plain data.

An event's parameters become columns in the ABI's order. A struct becomes a column for each of its fields,
``<parameter>_<field>``, however deep; an indexed string, bytes, array or struct has left only its hash on
the chain, in the column ``<name>_hash``. Overloaded events have a table each, anonymous ones too.

Which event a log is of is told by its first topic and how many topics it has; see :attr:`Event.kind`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from indexer import names, signature
from indexer.errors import AbiUnsupported, EventUnknown
from indexer.keccak import keccak
from indexer.solidity import (
    HASHED,
    Elementary,
    SolidityType,
    Tuple,
    TypeUnknownError,
    is_identifier,
    shown,
    solidity_type,
)

Abi: TypeAlias = Sequence[Mapping[str, object]]

MAX_INDEXED: Final = 3
MAX_INDEXED_ANONYMOUS: Final = 4
# So that every row fits a page of 8 kB, whatever its values: Postgres moves long ones out of the row, but
# leaves those of up to 24 bytes (330 of 23 bytes fit, 340 do not). One row too long would stop the chain.
MAX_COLUMNS: Final = 300
# In an error.
MAX_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an event's table. ``indexed``: its value stands in a topic, and it is given an index
    here too. ``comment`` says what it is in Solidity; it has no quotes and no control characters."""

    name: str
    type: SolidityType
    indexed: bool
    comment: str

    @property
    def pg_type(self) -> str:
        """As Postgres's ``format_type`` spells it."""
        return self.type.pg_type

    @property
    def check(self) -> str:
        """What its table should hold it to: SQL in which the column stands as ``{0}``; empty for nothing."""
        if isinstance(self.type, Elementary) and self.type.length_bytes is not None:
            return f"octet_length({{0}}) = {self.type.length_bytes}"
        return ""

    @property
    def is_indexable(self) -> bool:
        """Whether every value fits an index entry. An index on any other column lets whoever emits the
        logs stop the chain with one long value."""
        return isinstance(self.type, Elementary) and not self.type.is_dynamic


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter of an event."""

    type: SolidityType
    indexed: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one contract; ``table`` names its table in the schema ``event`` and its view in ``v1``.

    ``signature`` is canonical; ``topic0``, its hash, is None if the event is anonymous.
    """

    name: str
    table: str
    signature: str
    topic0: bytes | None = field(repr=False)
    columns: tuple[Column, ...] = field(repr=False)
    anonymous: bool
    inputs: tuple[Input, ...] = field(repr=False)

    @property
    def kind(self) -> tuple[bytes | None, int]:
        """``topic0`` and the number of its logs' topics. Two events of one contract have the same kind
        only if every log has data of the right length for one of them at most."""
        return self.topic0, (not self.anonymous) + sum(one.indexed for one in self.inputs)


def events(contract: str, abi: Abi) -> tuple[Event, ...]:
    """The events of an ABI, in its order; other entries are passed over. Raises :class:`AbiUnsupported`."""
    if not names.is_contract_name(contract):
        raise _unsupported(contract, f"tables cannot be named after {shown(contract)}")
    drafts = _distinct(
        _draft(contract, item)
        for item in abi
        if isinstance(item, Mapping) and item.get("type") == "event"
    )
    _require_distinguishable(contract, drafts)
    signatures = [draft.signature for draft in drafts]
    tables = names.tables(
        contract,
        [
            (draft.name, draft.signature if signatures.count(draft.signature) == 1 else draft.shape)
            for draft in drafts
        ],
    )
    return tuple(_event(contract, *pair) for pair in zip(drafts, tables, strict=True))


def select(found: Sequence[Event], wanted: Sequence[str]) -> tuple[Event, ...]:
    """The events that are wanted, each by its name (with all its overloads) or by a signature.

    Names stay as they are when all events are followed. Raises :class:`EventUnknown`.
    """
    chosen: set[int] = set()
    for text in wanted:
        named = _canonical(text)
        places = [
            place for place, event in enumerate(found) if named in (event.name, event.signature)
        ]
        if not places:
            raise EventUnknown(wanted=shown(text), reason=_nearest(found, named))
        chosen.update(places)
    return tuple(event for place, event in enumerate(found) if place in chosen)


@dataclass(frozen=True, slots=True)
class _Draft:
    """An event that has no table yet. ``shape`` tells it from events of the same signature."""

    name: str
    inputs: tuple[Input, ...]
    input_names: tuple[str, ...]
    anonymous: bool

    @property
    def signature(self) -> str:
        return f"{self.name}({','.join(one.type.name for one in self.inputs)})"

    @property
    def shape(self) -> str:
        marked = (f"{one.type.name}{' indexed' * one.indexed}" for one in self.inputs)
        return f"{self.name}({','.join(marked)}){' anonymous' * self.anonymous}"


def _draft(contract: str, item: Mapping[str, object]) -> _Draft:
    name, inputs = item.get("name"), item.get("inputs")
    if not isinstance(name, str) or not is_identifier(name):
        raise _unsupported(contract, f"{shown(str(name))} is no name of an event")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise _unsupported(contract, f"event {shown(name)} has no list of inputs")
    read = tuple(_input(contract, name, place, one) for place, one in enumerate(inputs))
    anonymous = bool(item.get("anonymous"))
    if sum(one.indexed for one in read) > (MAX_INDEXED_ANONYMOUS if anonymous else MAX_INDEXED):
        raise _unsupported(
            contract, f"event {shown(name)} has more indexed inputs than a log topics"
        )
    return _Draft(name, read, tuple(one.get("name") or "" for one in inputs), anonymous)


def _input(contract: str, event: str, place: int, item: Mapping[str, object]) -> Input:
    try:
        if not is_identifier(item.get("name") or "", may_be_empty=True):
            raise TypeUnknownError(f"{shown(str(item.get('name')))} is no name")
        return Input(solidity_type(item), bool(item.get("indexed")))
    except TypeUnknownError as error:
        raise _unsupported(contract, f"event {shown(event)}, input {place}: {error}") from None


def _distinct(drafts: Iterator[_Draft]) -> list[_Draft]:
    """Each event once, as the ABIs of proxies list some twice. Where their names of a parameter differ,
    the choice does not hang on their order, and an unnamed one is not chosen."""
    found: dict[str, _Draft] = {}
    for draft in drafts:
        known = found.setdefault(draft.shape, draft)
        if repr(known) < repr(draft):
            found[draft.shape] = draft
    return list(found.values())


def _require_distinguishable(contract: str, drafts: Sequence[_Draft]) -> None:
    """Events of one kind can share it if their data has fixed lengths that differ."""
    seen: dict[tuple[str | None, int], dict[int | None, str]] = {}
    for draft in drafts:
        topics = sum(one.indexed for one in draft.inputs)
        key = (None if draft.anonymous else draft.signature, topics)
        sizes = seen.setdefault(key, {})
        size = _static_bytes(draft.inputs)
        if sizes and (None in {size, *sizes} or size in sizes):
            other = next(iter(sizes.values()))
            raise _unsupported(
                contract,
                f"a log cannot tell the events {shown(draft.shape)} and {shown(other)} apart",
            )
        sizes[size] = draft.shape


def _static_bytes(inputs: Sequence[Input]) -> int | None:
    """The length of an event's data; None if it varies."""
    types = [one.type for one in inputs if not one.indexed]
    if any(kind.is_dynamic for kind in types):
        return None
    return sum(kind.head_bytes for kind in types)


def _event(contract: str, draft: _Draft, table: str) -> Event:
    leaves = [
        leaf
        for place, (one, name) in enumerate(zip(draft.inputs, draft.input_names, strict=True))
        for leaf in _leaves(one, (name or f"arg{place}",), one.type)
    ]
    if len(leaves) > MAX_COLUMNS:
        raise _unsupported(
            contract,
            f"event {shown(draft.name)} needs {len(leaves)} columns, of which a table can have {MAX_COLUMNS}",
        )
    labels = names.columns([path for path, *_ in leaves])
    columns = tuple(
        Column(label, kind, indexed, comment)
        for label, (_, kind, indexed, comment) in zip(labels, leaves, strict=True)
    )
    topic0 = None if draft.anonymous else keccak(draft.signature.encode())
    return Event(draft.name, table, draft.signature, topic0, columns, draft.anonymous, draft.inputs)


def _leaves(
    one: Input, path: tuple[str, ...], kind: SolidityType
) -> Iterator[tuple[tuple[str, ...], SolidityType, bool, str]]:
    """What of a parameter gets a column: the names that lead there, type, whether indexed, comment."""
    name = ".".join(path)
    if one.indexed and (kind.is_dynamic or not isinstance(kind, Elementary)):
        yield (*path, "hash"), HASHED, True, f"keccak of the indexed {kind.name} {name}"
    elif isinstance(kind, Tuple):
        for place, inner in enumerate(kind.fields):
            yield from _leaves(one, (*path, inner.name or f"arg{place}"), inner.type)
    else:
        yield path, kind, one.indexed, f"{kind.name} {name}"


def _canonical(text: str) -> str:
    """A signature as :attr:`Event.signature` has it; a name as it is."""
    if "(" not in text:
        return text.strip()
    try:
        return signature.canonical(signature.parse(text))
    except (signature.SignatureError, TypeUnknownError) as error:
        raise EventUnknown(wanted=shown(text), reason=str(error)) from None


def _nearest(found: Sequence[Event], named: str) -> str:
    known = [event.signature if "(" in named else event.name for event in found]
    near = difflib.get_close_matches(named, known, n=1)
    if near:
        return f"the nearest is {shown(near[0])}"
    listed = ", ".join(map(shown, sorted(set(known))[:MAX_LISTED]))
    return f"it has {listed or 'no events'}"


def _unsupported(contract: str, reason: str) -> AbiUnsupported:
    return AbiUnsupported(contract=shown(contract), reason=reason)
