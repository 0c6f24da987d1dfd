"""What the index of a branch must be, worked out block by block in plain Python.

Nothing of the product is used: not its decoding, not its SQL. Rows are as Postgres writes them in JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from indexer.keccak import keccak
from tests.simulation import content
from tests.simulation.content import Emission, Value, shown
from tests.simulation.tree import SENDER, Block, Tx

Row: TypeAlias = tuple[Value, ...]
Rows: TypeAlias = dict[str, list[Row]]
Holder: TypeAlias = tuple[bytes, bytes]

SENDER_SHOWN: Final = "\\x" + SENDER[2:]
# The events of the sources that have an address of their own.
OWN: Final = {
    "coin": (content.COIN, frozenset({"transfer"})),
    "gold": (content.GOLD, frozenset({"transfer", "sent"})),
    "factory": (content.FACTORY, frozenset({"made"})),
}
OF_CHILDREN: Final = {"child": "ping", "pong": "pong"}
STARTS: Final = {"pong": content.PONG_START}
# The key of the raw logs among a block's rows, with the source's name: see chain.log.
RAW: Final = "log"


@dataclass(slots=True)
class State:
    """After one block. ``rows`` are that block's alone, by view, and by source for raw logs; the rest counts
    from genesis on. Balances are by token and holder; the zero address holds the supply, negated."""

    rows: Rows
    born: dict[bytes, int]
    balances: dict[Holder, int]


class Truth:
    """Of every block of a tree; nothing is worked out twice."""

    def __init__(self) -> None:
        self._states: dict[bytes, State] = {}

    def of(self, block: Block) -> State:
        for one in self._missing(block):
            before = None if one.parent is None else self._states[one.parent.hash]
            self._states[one.hash] = _after(one, before)
        return self._states[block.hash]

    def rows(self, head: Block | None, key: str) -> Iterator[Row]:
        """All rows of a view on the branch up to ``head``, in the order of the chain."""
        if head is None:
            return
        self.of(head)
        for block in head.path:
            yield from self._states[block.hash].rows.get(key, ())

    def _missing(self, block: Block) -> list[Block]:
        found = []
        for one in block.ancestors():
            if one.hash in self._states:
                break
            found.append(one)
        return found[::-1]


def _after(block: Block, before: State | None) -> State:
    state = State({}, {}, {})
    if before is not None:
        state = State({}, before.born, before.balances)
    work = _Block(block, state)
    for place, tx in enumerate(block.txs):
        work.transaction(place, tx)
    work.finish()
    return state


@dataclass(slots=True)
class _Block:
    """One block being worked out: what changes is copied first."""

    block: Block
    state: State
    index: int = 0
    moved: dict[Holder, int] = field(default_factory=dict)

    def transaction(self, place: int, tx: Tx) -> None:
        ordinals: dict[tuple[str, bytes], int] = {}
        is_factorys = False
        for emission in tx.emissions:
            for source, fits in self._concerned(emission):
                key = (source, emission.address)
                ordinal = ordinals[key] = ordinals.get(key, -1) + 1
                self._store(source, fits, emission, (place, tx, ordinal))
                is_factorys |= source == "factory"
            self.index += 1
        if is_factorys:
            self._store_transaction(place, tx)

    def _concerned(self, emission: Emission) -> Iterator[tuple[str, bool]]:
        """The sources that keep a log, and whether it is a row of theirs. A birth counts from its own block on,
        also for what was emitted before it in there."""
        for source, (address, events) in OWN.items():
            if emission.address == address and (source == "gold" or emission.event in events):
                yield source, emission.event in events and emission.values is not None
        for source, event in OF_CHILDREN.items():
            if (
                emission.event == event
                and self.block.number >= STARTS.get(source, 0)
                and (emission.address in self.state.born or emission.address in self._newborn())
            ):
                yield source, emission.values is not None
        if emission.event == "note":
            yield "note", emission.values is not None

    def _newborn(self) -> set[bytes]:
        return {
            one.topics[1][12:]
            for tx in self.block.txs
            for one in tx.emissions
            if (one.address, one.event) == (content.FACTORY, "made") and one.values is not None
        }

    def _store(self, source: str, fits: bool, emission: Emission, at: tuple[int, Tx, int]) -> None:
        place, tx, ordinal = at
        block = self.block
        if fits:
            assert emission.values is not None
            frame = (self.index, shown(tx.hash), place, shown(emission.address), ordinal)
            self._add(f"{source}_{emission.event}", (*self._head(), *frame, *emission.values))
            self._learn(source, emission)
        if source == "gold" or not fits:
            topics = "|".join(map(shown, emission.topics))
            raw = (
                *(block.number, shown(block.hash), self.index, shown(tx.hash), place, ordinal),
                *(shown(emission.address), topics, shown(emission.data), int(fits)),
            )
            self._add(f"{RAW} {source}", raw)

    def _learn(self, source: str, emission: Emission) -> None:
        if source == "factory":
            child = emission.topics[1][12:]
            if child not in self.state.born:
                self.state.born = {**self.state.born, child: self.block.number}
        elif emission.event == "transfer":
            assert emission.values is not None
            amount = emission.values[2]
            assert isinstance(amount, int)
            for topic, sign in ((emission.topics[1], -1), (emission.topics[2], 1)):
                holder = (emission.address, topic[12:])
                self.moved[holder] = self.moved.get(holder, 0) + sign * amount

    def _store_transaction(self, place: int, tx: Tx) -> None:
        frame = (*self._head(), shown(tx.hash), place)
        nonce = int.from_bytes(keccak(tx.hash)[:2], "big")
        own = (SENDER_SHOWN, SENDER_SHOWN, 1, 21_000, 9, nonce, 2, "\\x", 1)
        self._add("factory_transaction", (*frame, *own))
        self._add("factory_receipt", (*frame, 1, 21_000, 21_000 * (place + 1), 9, None))

    def finish(self) -> None:
        if not self.moved:
            return
        self.state.balances = dict(self.state.balances)
        for holder, moved in self.moved.items():
            balance = self.state.balances.get(holder, 0) + moved
            self.state.balances[holder] = balance
            token, who = holder
            view = "coin" if token == content.COIN else "gold"
            row = (*self._head(), shown(token), shown(who), balance)
            self._add(f"{view}_balance_change", row)

    def _head(self) -> Row:
        block = self.block
        return (content.CHAIN_ID, block.number, shown(block.hash), block.timestamp_s)

    def _add(self, key: str, row: Row) -> None:
        self.state.rows.setdefault(key, []).append(row)
