"""Makes rows of logs: the hottest loop of the product. Pure.

A row's text is put together of pieces: what is the same for a whole block, what is the same for a
transaction, and the event's own columns, which ``indexer.encoder`` writes. A log that fits no event of its
contract is kept raw, with the reason: whoever can emit a log must not be able to stop the chain.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from indexer.encoder import Encoder, compile_encoder
from indexer.hexadecimal import from_data, from_quantity, to_data
from indexer.rows import NULL, Rows, TableName, logs_of
from indexer.solidity import MisfitError
from indexer.source import Source
from indexer.table import event_table
from indexer.wire import NUMBER_BITS, Log

# An event's encoder, its table, and what stands between a row's frame and the event's own columns.
Sink: TypeAlias = tuple[Encoder, TableName, str]

MAX_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class _Target:
    """One source, compiled. ``sinks`` are by the text of the first topic: more than one where events differ
    only in what they index. ``anonymous`` are tried where no event has the topic. ``born`` is set for the
    children of a factory: the block of each one's birth."""

    source_id: int
    name: str
    sinks: dict[str, tuple[Sink, ...]]
    anonymous: tuple[Sink, ...]
    start_block: int
    born: Mapping[str, int] | None
    keeps_raw: bool
    keeps_transactions: bool

    def encode(self, log: Log) -> tuple[TableName, str] | None:
        """Table and text of a log's own columns, with what stands before them; None if no event has its topic.
        Raises :class:`MisfitError` if none of those that have it fits."""
        topics = log.topics
        sinks = self.sinks.get(topics[0]) if topics else None
        if sinks is None:
            return _first_fit(self.anonymous, log)
        if len(sinks) > 1:
            found = _first_fit(sinks[:-1], log)
            if found is not None:
                return found
        encoder, table, gap = sinks[-1]
        return table, gap + encoder(topics, log.data)


def _first_fit(sinks: Sequence[Sink], log: Log) -> tuple[TableName, str] | None:
    for encoder, table, gap in sinks:
        try:
            return table, gap + encoder(log.topics, log.data)
        except MisfitError:
            continue
    return None


class _Place:
    """Where the loop stands: the block's and the transaction's parts of a row, as text."""

    __slots__ = (
        "_timestamps",
        "block_hash",
        "block_text",
        "index",
        "number",
        "ordinals",
        "tx_hash",
        "tx_text",
    )

    def __init__(self, timestamps: Mapping[str, int]) -> None:
        self._timestamps = timestamps
        self.block_hash = self.block_text = self.tx_hash = self.tx_text = ""
        self.number = self.index = -1
        self.ordinals: dict[tuple[int, str], int] = {}

    def move_to(self, log: Log) -> None:
        """Raises ``ValueError`` if the log is not behind the last one."""
        if log.block_hash != self.block_hash:
            self._enter_block(log)
        if log.transaction_hash != self.tx_hash:
            self.tx_hash = log.transaction_hash
            tx_index = from_quantity(log.transaction_index, NUMBER_BITS)
            self.tx_text = f"\t\\\\x{self.tx_hash[2:]}\t{tx_index}\t"
            self.ordinals.clear()
        index = int(log.log_index, 16)
        if index <= self.index:
            raise ValueError(f"logs of block {self.number} are out of order, or one came twice")
        self.index = index

    def ordinal(self, source_id: int, address: str) -> int:
        """How many logs of this address in this transaction the source had before; counts one more."""
        key = (source_id, address)
        found = self.ordinals.get(key, 0)
        self.ordinals[key] = found + 1
        return found

    def _enter_block(self, log: Log) -> None:
        number = from_quantity(log.block_number, NUMBER_BITS)
        if number <= self.number:
            raise ValueError(f"block {number} comes after block {self.number}")
        # The header's word counts: some nodes put a zero into logs, or nothing.
        timestamp_s = self._timestamps.get(log.block_hash)
        if timestamp_s is None:
            if not tells_time(log):
                raise ValueError(f"the time of block {number} is not known")
            timestamp_s = from_quantity(log.block_timestamp, NUMBER_BITS)
        self.block_hash, self.number, self.index = log.block_hash, number, -1
        self.block_text = f"{number}\t\\\\x{log.block_hash[2:]}\t{timestamp_s}\t"
        self.tx_hash = ""


class Recorder:
    """Knows which logs concern which of ``sources``, all of one chain.

    ``children`` gives, for each source with a factory, its addresses with the block of their birth; it may
    grow while the recorder is used.
    """

    def __init__(
        self, sources: Sequence[Source], children: Mapping[int, Mapping[str, int]] | None = None
    ) -> None:
        self.sources = tuple(sources)
        self._chain_id = sources[0].contract.chain_id if sources else 0
        self._by_address: dict[str, tuple[_Target, ...]] = {}
        self._everywhere: tuple[_Target, ...] = ()
        for source in sources:
            target = _compile(source, (children or {}).get(source.source_id))
            if not source.contract.addresses:
                self._everywhere = (*self._everywhere, target)
            for address in map(to_data, source.contract.addresses):
                self._by_address[address] = (*self._by_address.get(address, ()), target)

    def record(self, logs: Iterable[Log], timestamps: Mapping[str, int]) -> Rows:
        """The rows of ``logs``, which are in the order of the chain.

        ``timestamps`` are seconds by the text of a block's hash, for logs that do not tell it themselves.
        Raises ``ValueError`` if a log is not what the protocol says, and if two share one place or are out of
        order.
        """
        rows = Rows()
        place = _Place(timestamps)
        for log in logs:
            place.move_to(log)
            for target in self._targets(log.address):
                if place.number >= target.start_block and (
                    target.born is None
                    or place.number >= target.born.get(log.address, place.number + 1)
                ):
                    self._record(rows, target, log, place)
        return rows

    def _targets(self, address: str) -> tuple[_Target, ...]:
        found = self._by_address.get(address)
        if found is None:
            found = self._by_address.get(address.lower(), ())
        return found + self._everywhere if self._everywhere else found

    def _record(self, rows: Rows, target: _Target, log: Log, place: _Place) -> None:
        reason = None
        try:
            encoded = target.encode(log)
        except MisfitError as error:
            encoded, reason = None, str(error)
        if encoded is None and reason is None:
            if not target.keeps_raw:
                return
            reason = f"the ABI of {target.name} has no event that it fits"
        address = log.address
        ordinal = place.ordinal(target.source_id, address)
        if encoded is not None:
            table, text = encoded
            rows.of(table).append(
                f"{place.block_text}{place.index}{place.tx_text}\\\\x{address[2:]}\t{ordinal}\tt{text}\n"
            )
            rows.events += 1
        if target.keeps_transactions:
            touched = rows.touched.setdefault((target.source_id, place.block_hash), {})
            touched[place.tx_hash] = None
        if reason is not None or target.keeps_raw:
            self._keep_raw(rows, target, log, place, (ordinal, reason))

    def _keep_raw(
        self,
        rows: Rows,
        target: _Target,
        log: Log,
        place: _Place,
        outcome: tuple[int, str | None],
    ) -> None:
        ordinal, reason = outcome
        rows.undecoded += reason is not None
        topics = ",".join(f'"\\\\\\\\x{topic[2:]}"' for topic in log.topics)
        # Read strictly: unlike an event's, these bytes were looked at by no encoder.
        data = from_data(log.data).hex()
        rows.of(logs_of(target.source_id)).append(
            f"{self._chain_id}\t{target.source_id}\t{place.number}\t\\\\x{log.block_hash[2:]}\t{place.index}"
            f"{place.tx_text}{ordinal}\t\\\\x{log.address[2:]}\t{{{topics}}}\t\\\\x{data}\t"
            f"{NULL if reason is None else _plain(reason)}\tt\n"
        )


def tells_time(log: Log) -> bool:
    """Whether the node put the block's time into the log."""
    return log.block_timestamp is not None and log.block_timestamp != "0x0"


def _compile(source: Source, born: Mapping[str, int] | None) -> _Target:
    if source.start_block is None:
        raise ValueError(f"the start of source {source.name} is not known yet")
    sinks: dict[str, tuple[Sink, ...]] = {}
    anonymous: list[Sink] = []
    for event in source.contract.events:
        table = TableName("event", source.table(event), event_table(event).column_names)
        sink = (compile_encoder(event), table, "\t" if event.columns else "")
        if event.topic0 is None:
            anonymous.append(sink)
        else:
            topic = to_data(event.topic0)
            sinks[topic] = (*sinks.get(topic, ()), sink)
    options = source.contract.options
    return _Target(
        source_id=source.source_id,
        name=source.name,
        sinks=sinks,
        anonymous=tuple(anonymous),
        start_block=source.start_block,
        born=({} if born is None else born) if source.contract.factory else None,
        keeps_raw=options.raw,
        keeps_transactions=options.transactions or options.receipts,
    )


def _plain(reason: str) -> str:
    """A reason as text that COPY takes as it stands."""
    line = " ".join(reason.replace("\\", "/").split())
    return "".join(each if " " <= each <= "~" else "?" for each in line)[:MAX_REASON] or "?"
