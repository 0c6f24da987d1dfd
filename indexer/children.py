"""The contracts that factories have made: their addresses, each with the block of its birth.

They are read from the factory's own event table, so a reorg takes them back with it. In memory they follow
the head: ``learn`` adds those of new blocks, ``forget_above`` drops those of orphaned ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from indexer import range_logs
from indexer.anchor import Anchor
from indexer.block import BlockRef
from indexer.contract import Factory, Verify
from indexer.database import Connection, reachable
from indexer.encoder import Encoder, compile_encoder
from indexer.errors import FactoryUnknown, RangeRefused
from indexer.hexadecimal import from_quantity, to_data
from indexer.providers import Providers
from indexer.query import LogQuery
from indexer.solidity import MisfitError
from indexer.source import Source
from indexer.spans import Span, Spans
from indexer.wire import Log


@dataclass(frozen=True, slots=True)
class _Birth:
    """How an event of a factory tells of a child: the column at ``position`` holds its address."""

    child_id: int
    parent: Source
    encoder: Encoder
    position: int
    table: str
    column: str


class Children:
    """Of every source with a factory among ``sources``, which hold the factories too.

    Raises :class:`FactoryUnknown` if one of them is not there, or has no such event or parameter.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._births: dict[tuple[str, str], list[_Birth]] = {}
        self._all: list[_Birth] = []
        self.born: dict[int, dict[str, int]] = {}
        for source in sources:
            if source.contract.factory is not None:
                birth, addresses, topic = _birth(source, source.contract.factory, sources)
                self._all.append(birth)
                self.born[source.source_id] = {}
                for address in addresses:
                    self._births.setdefault((address, topic), []).append(birth)

    async def load(self, connection: Connection, to_block: int | None = None) -> None:
        """Read the canonical children, up to a block if one is given."""
        for birth in self._all:
            async with reachable():
                rows = await connection.fetch(
                    f'''SELECT "{birth.column}" AS child, min(block_number) AS born FROM event."{birth.table}"
                        WHERE canonical AND ($1::bigint IS NULL OR block_number <= $1) GROUP BY 1''',
                    to_block,
                )
            self.born[birth.child_id] = {to_data(row["child"]): row["born"] for row in rows}

    def learn(self, logs: Iterable[Log]) -> bool:
        """Add the children of new logs; answers whether there were any."""
        if not self._births:
            return False
        learnt = False
        for log in logs:
            topic = log.topics[0] if log.topics else ""
            for birth in self._births.get((log.address, topic), ()):
                child = _child(birth, log)
                born = self.born[birth.child_id]
                if child is not None and child not in born:
                    born[child] = from_quantity(log.block_number, 60)
                    learnt = True
        return learnt

    async def learn_range(
        self, providers: Providers, span: Span, verify: Verify, final: BlockRef
    ) -> None:
        """Add the children born in a range of final blocks, read from the factories alone."""
        parents = {birth.parent.source_id: birth.parent for birth in self._all}
        query = LogQuery.of(list(parents.values()), {})
        spans = Spans.of(span, providers.best().requests_per_s)
        anchor = Anchor(providers, span, final)
        while parents and (part := spans.take(providers.span_blocks())) is not None:
            try:
                answer = await range_logs.read(providers, query, part, verify, anchor)
            except RangeRefused as refusal:
                if not spans.refused(part, refusal.accepted_blocks):
                    raise
                continue
            spans.answered(part, answer.size_bytes)
            self.learn(answer.logs)

    def forget_above(self, number: int) -> None:
        """Drop what was born above a block: its blocks are orphaned."""
        for child_id, born in self.born.items():
            self.born[child_id] = {child: at for child, at in born.items() if at <= number}


def parent_of(source: Source, sources: Sequence[Source]) -> Source | None:
    """The source of a source's factory; None if it has no factory.

    While a factory is replaced there are two of its name; the wanted one counts.
    """
    factory = source.contract.factory
    if factory is None:
        return None
    named = [one for one in sources if one.name == factory.contract]
    if not named:
        raise FactoryUnknown(
            contract=source.name, reason=f"there is no contract {factory.contract}"
        )
    return max(named, key=lambda one: (one.wanted, one.version))


def _birth(
    source: Source, factory: Factory, sources: Sequence[Source]
) -> tuple[_Birth, Sequence[str], str]:
    parent = parent_of(source, sources)
    if parent is None:
        raise ValueError(f"{source.name} has no factory")
    named = [
        event
        for event in parent.contract.events
        if factory.event in (event.name, event.signature) and event.topic0 is not None
    ]
    if len(named) != 1:
        reason = f"{factory.contract} has {len(named)} events {factory.event}, not one"
        raise FactoryUnknown(contract=source.name, reason=reason)
    event = named[0]
    positions = [
        position
        for position, column in enumerate(event.columns)
        if column.name == factory.parameter and column.pg_type == "bytea"
    ]
    if len(positions) != 1:
        known = ", ".join(column.name for column in event.columns)
        reason = f"its event {event.name} has no address named {factory.parameter}; it has {known}"
        raise FactoryUnknown(contract=source.name, reason=reason)
    if event.topic0 is None or not parent.contract.addresses:
        reason = f"{factory.contract} has no address of its own"
        raise FactoryUnknown(contract=source.name, reason=reason)
    birth = _Birth(
        child_id=source.source_id,
        parent=parent,
        encoder=compile_encoder(event),
        position=positions[0],
        table=parent.table(event),
        column=factory.parameter,
    )
    return birth, tuple(map(to_data, parent.contract.addresses)), to_data(event.topic0)


def _child(birth: _Birth, log: Log) -> str | None:
    """The address in a log, as nodes write it; None if the log does not fit its event."""
    try:
        text = birth.encoder(log.topics, log.data).split("\t")[birth.position]
    except MisfitError:
        return None
    return "0x" + text.removeprefix("\\\\x").lower()
