"""Makes the contracts of the settings into those of the indexer: reads ABIs, chooses events, finds columns.

What does not fit is a text with its key, and all of them are found at once, as for every other setting.
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from bridge.token import Token as BridgeToken
from bridge.token import as_contract
from daemon.agreement import chain_name
from daemon.environment import nearest
from daemon.errors import SettingsError
from daemon.sections import Chain, Token
from daemon.sections import Contract as Section
from daemon.sections import Factory as FactorySection
from daemon.setting_types import ANY
from indexer import balances, registry, signature
from indexer.abi import Column, Event
from indexer.contract import Contract, Factory, Options
from indexer.errors import AbiUnsupported, EventUnknown
from indexer.names import VIEW_SUFFIXES
from indexer.signature import SignatureError
from indexer.solidity import shown

MAX_ABI_BYTES: Final = 16 * 1024 * 1024
# Of brackets. Compilers write their syntax trees into the same file, some dozens deep.
MAX_NESTING: Final = 500
NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
EVERY: Final = "*"
# Of a contract whose chain is not known the rest is looked at all the same.
UNKNOWN: Final = Chain.model_construct(id=0)

Item = Mapping[str, Any]


class _FaultyError(Exception):
    """Settings that do not fit; each text begins with its key."""

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults


def contracts_of(
    chains: Mapping[str, Chain], sections: Mapping[str, Section], token: Token | None
) -> tuple[Contract, ...]:
    """Every contract, the deposit token first. Raises :class:`SettingsError` with every fault."""
    made, faults = build(chains, sections, token)
    if faults:
        raise SettingsError(faults)
    return made


def build(
    chains: Mapping[str, Chain],
    sections: Mapping[str, Section],
    token: Token | None,
    faulty: Set[tuple[str, ...]] = frozenset(),
) -> tuple[tuple[Contract, ...], list[str]]:
    """The contracts that could be made, and texts about those that could not.

    Of ``faulty`` sections nothing is said, nor of what ``daemon.agreement`` tells.
    """
    makers = {name: partial(_of_section, name, one) for name, one in sections.items()}
    made: dict[str, Contract] = {}
    faults: list[str] = []
    if token is not None:
        made[token.contract] = _of_token(token, _chain(token.chain, chains))
    # A factory's contract is made before its children, whatever their order in the file.
    for name in sorted(makers, key=lambda name: sections[name].factory is not None):
        try:
            if name not in made:
                made[name] = makers[name](_chain(sections[name].chain, chains), made)
        except _FaultyError as found:
            faults += found.faults
    order = dict.fromkeys([*([token.contract] if token else []), *sections])
    contracts = tuple(made[name] for name in order if name in made)
    known = tuple(one for one in contracts if one.chain_id != UNKNOWN.id)
    return known, faults + _same_tables(contracts)


def _chain(named: str | None, chains: Mapping[str, Chain]) -> Chain:
    name = chain_name(named, chains)
    return UNKNOWN if name is None else chains[name]


def _of_token(token: Token, chain: Chain) -> Contract:
    """What of it the bank is concerned with makes no difference to the indexer."""
    known = BridgeToken(
        chain.id, token.address, token.contract, "", token.currency, token.decimals, token.kind
    )
    return as_contract(known, token.start_block)


def _of_section(
    name: str, section: Section, chain: Chain, made: Mapping[str, Contract]
) -> Contract:
    key = f"contracts.{name}"
    addresses = section.addresses
    if section.address is not None and section.address != ANY:
        addresses = (section.address,)
    faults: list[str] = []
    factory = None
    if section.factory is not None:
        factory, found = _factory(f"{key}.factory", section.factory, made)
        faults += found
    try:
        contract = _with_events(key, name, section, chain, addresses)
    except _FaultyError as error:
        raise _FaultyError(*faults, *error.faults) from None
    index, found = _index(key, section.index, contract.events)
    faults += found
    if section.balances:
        faults += _without_transfers(key, contract)
    if faults:
        raise _FaultyError(*faults)
    options = Options(
        raw=section.raw,
        transactions=section.transactions,
        receipts=section.receipts,
        balances=section.balances,
        verify=section.verify or chain.verify,
        partition_blocks=section.partition_blocks,
        index=index,
    )
    return replace(contract, factory=factory, start_block=section.start_block, options=options)


def _with_events(
    key: str, name: str, section: Section, chain: Chain, addresses: tuple[bytes, ...]
) -> Contract:
    """Raises unless there is at least one event, and all that are named are there."""
    if section.abi is None and not section.events:
        raise _FaultyError(
            f"{key}.abi: is missing; give the file of an ABI, or write the events out in {key}.events"
        )
    if section.abi is None:
        items = _written_out(f"{key}.events", section.events)
    else:
        items = _read_abi(f"{key}.abi", section.abi)
    only = () if section.abi is None else section.events
    try:
        contract = Contract.from_abi(name, chain.id, items, addresses, only=only)
    except EventUnknown as error:
        raise _FaultyError(f"{key}.events: {error}") from None
    except AbiUnsupported as error:
        raise _FaultyError(f"{key}.{'events' if section.abi is None else 'abi'}: {error}") from None
    if not contract.events:
        raise _FaultyError(f"{key}.abi: has no event, so there is nothing to index")
    return contract


def _written_out(key: str, texts: Sequence[str]) -> list[Item]:
    items: list[Item] = []
    faults = []
    for text in texts:
        try:
            items.append(signature.parse(text))
        except SignatureError as error:
            how = "" if "(" in text else "; without an ABI an event is written out in full"
            faults.append(f"{key}: {shown(text)}: {error}{how}")
    if faults:
        raise _FaultyError(*faults)
    return items


def _read_abi(key: str, path: Path) -> list[Item]:
    """A JSON list, or an object with one as its ``abi``, as compilers write it."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_ABI_BYTES + 1)
        if len(text) > MAX_ABI_BYTES:
            raise _FaultyError(
                f"{key}: {path} has over {MAX_ABI_BYTES} bytes; is this the right file?"
            )
        if _nesting(text) > MAX_NESTING:
            raise ValueError("it is nested too deeply")
        found = json.loads(text)
    except OSError as error:
        raise _FaultyError(f"{key}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise _FaultyError(f"{key}: {path} is not JSON") from None
    if isinstance(found, dict):
        found = found.get("abi")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _FaultyError(
            f'{key}: {path} is neither an ABI, a list of objects, nor has one as "abi"'
        )
    return found


def _nesting(text: bytes) -> int:
    """How deep the brackets are nested at most, those inside of texts included."""
    depth = deepest = 0
    for bracket in text.translate(None, NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _index(
    key: str, wanted: Sequence[str], events: Sequence[Event]
) -> tuple[tuple[str, ...], list[str]]:
    """The columns that are meant, each by its own name or by its parameter's, and what is wrong."""
    columns = [column for event in events for column in event.columns]
    found: list[str] = []
    faults = []
    for name in wanted:
        if name == EVERY:
            found.append(EVERY)
            continue
        named = _called(name, columns)
        if not named:
            near = nearest(name, (column.name for column in columns))
            faults.append(f"{key}.index: no event has a column {shown(name)}{near}")
        elif not all(column.is_indexable for column in named):
            faults.append(
                f"{key}.index: {shown(name)} can be of any length, so an index on it could stop the chain"
            )
        found += [column.name for column in named]
    return tuple(dict.fromkeys(found)), faults


def _called(name: str, columns: Sequence[Column]) -> list[Column]:
    own = [column for column in columns if column.name == name]
    return own or [column for column in columns if _parameter(column) == name]


def _parameter(column: Column) -> str:
    """What the ABI calls it: the comment is its type and then its name."""
    return column.comment.rpartition(" ")[2]


def _factory(
    key: str, section: FactorySection, made: Mapping[str, Contract]
) -> tuple[Factory | None, list[str]]:
    """With the column in place of the parameter, or what is wrong with it."""
    parent = made.get(section.contract)
    if parent is None:
        return None, []
    named = [event for event in parent.events if section.event in (event.name, event.signature)]
    if not named:
        near = nearest(section.event, (event.name for event in parent.events))
        return None, [f"{key}.event: {parent.name} follows no event {shown(section.event)}{near}"]
    if len(named) > 1:
        signatures = " or ".join(event.signature for event in named)
        return None, [f"{key}.event: {parent.name} has several; write {signatures}"]
    (event,) = named
    if event.topic0 is None:
        return None, [f"{key}.event: {event.name} is anonymous, so it cannot tell of contracts"]
    columns = _called(section.parameter, event.columns)
    if len(columns) != 1:
        near = nearest(section.parameter, (column.name for column in event.columns))
        return None, [
            f"{key}.parameter: {event.name} has no parameter {shown(section.parameter)}{near}"
        ]
    if columns[0].type.name != "address":
        return None, [f"{key}.parameter: is of the type {columns[0].type.name}, not an address"]
    return Factory(parent.name, event.signature, columns[0].name), []


def _without_transfers(key: str, contract: Contract) -> list[str]:
    try:
        balances.transfer_of(contract)
    except AbiUnsupported as error:
        return [f"{key}.balances: {error}"]
    return []


def _same_tables(contracts: Sequence[Contract]) -> list[str]:
    """Tables and views are named after contract and event, which two contracts can do alike."""
    taken: dict[str, str] = {}
    faults: dict[str, str] = {}
    for contract in contracts:
        names = [
            table.name + suffix
            for table in registry.tables_of(contract)
            for suffix in ("", *VIEW_SUFFIXES)
        ]
        if contract.options.balances:
            names += balances.view_names(contract)
        for name in names:
            first = taken.setdefault(name, contract.name)
            if first != contract.name:
                faults.setdefault(
                    contract.name,
                    f"contracts.{contract.name}: needs the table {name}, as contracts.{first} does; give one of them "
                    "another name",
                )
    return list(faults.values())
