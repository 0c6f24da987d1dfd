"""What an entry of a stream says: a change of the feed, with its events, as a CloudEvent 1.0. Pure.

One row of the feed is one CloudEvent, or several parts of one where it has many events. An entry's id is made
of the row's seq and the part's number, so that Redis itself refuses an entry that it has already, or one that
comes too late. The same row always makes the same entries: nothing in them depends on when or by whom they
are made, and :data:`MAX_EVENTS` and :data:`MAX_BYTES` are no settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, Self

import msgspec

from indexer.hexadecimal import to_data

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 512 * 1024
"""Of an entry's text; a single event that is longer still has a part of its own."""

# What stands around the events is shorter than this.
ENVELOPE_BYTES: Final = 2 * 1024
EVENTS_BYTES: Final = MAX_BYTES - ENVELOPE_BYTES
# Of a row's seq in `sequence`, which is compared as text: as many as a bigint can have.
SEQUENCE_DIGITS: Final = 19

Op = Literal["apply", "retract", "finalize"]
Type = Literal[
    "landbridge.block.applied.v1",
    "landbridge.block.retracted.v1",
    "landbridge.blocks.finalized.v1",
    "landbridge.range.applied.v1",
]


class EntryId(NamedTuple):
    """Where an entry stands in its stream; entries are in the order of these."""

    seq: int
    part: int

    def __str__(self) -> str:
        return f"{self.seq}-{self.part}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ``ValueError``."""
        seq, _, part = text.partition("-")
        return cls(int(seq), int(part))


class EventKey(NamedTuple):
    """Where an event stands in a row of the feed; events are in the order of these.

    ``place`` counts the tables of the row's sources: where two of them follow one contract, a log has an event
    in each.
    """

    block_number: int
    log_index: int
    place: int


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the feed. ``source`` is the contract's name if the row speaks of one alone; hashes are 32 bytes,
    ``at`` is when it was written and knows its time zone."""

    chain_id: int
    seq: int
    op: Op
    source: str | None
    from_block: int
    to_block: int
    block_hash: bytes | None
    at: datetime

    @property
    def type(self) -> Type:
        match self.op:
            case "retract":
                return "landbridge.block.retracted.v1"
            case "finalize":
                return "landbridge.blocks.finalized.v1"
            case "apply":
                is_block = self.from_block == self.to_block and self.block_hash is not None
                return "landbridge.block.applied.v1" if is_block else "landbridge.range.applied.v1"

    @property
    def subject(self) -> str:
        """The block's hash, or the first and the last block of a range."""
        of_block = self.type in ("landbridge.block.applied.v1", "landbridge.block.retracted.v1")
        if of_block and self.block_hash is not None:
            return to_data(self.block_hash)
        return f"{self.from_block}-{self.to_block}"

    @property
    def time(self) -> str:
        """RFC 3339, in UTC."""
        return self.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Event(msgspec.Struct, frozen=True):
    """One event of a contract. Hashes and the address are 0x and hexadecimal digits, ``args`` a JSON object of
    its table's columns: numbers as decimal texts, bytes as 0x and hexadecimal digits."""

    contract: str
    event: str
    table: str
    block_number: int
    block_hash: str
    log_index: int
    tx_hash: str
    ordinal: int
    address: str
    args: msgspec.Raw


class _Data(msgspec.Struct, frozen=True):
    chain_id: int
    seq: int
    part: int
    last: bool
    op: Op
    from_block: int
    to_block: int
    block_hash: str | None
    source: str | None
    events: Sequence[msgspec.Raw]


class _CloudEvent(msgspec.Struct, frozen=True):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: Type
    subject: str
    time: str
    datacontenttype: Literal["application/json"]
    sequence: str
    data: _Data


class StoredKey(msgspec.Struct, frozen=True):
    """What tells an event of an entry from the others."""

    block_number: int
    log_index: int
    table: str


class _StoredData(msgspec.Struct, frozen=True):
    chain_id: int
    seq: int
    part: int
    last: bool
    events: list[StoredKey]


class Stored(msgspec.Struct, frozen=True):
    """As much of an entry as is read again."""

    type: str
    subject: str
    time: str
    data: _StoredData

    def is_of(self, change: Change) -> bool:
        """Whether it was made of this row; false for one of another database, or of another past."""
        data = self.data
        return (self.type, self.subject, self.time, data.chain_id, data.seq) == (
            change.type,
            change.subject,
            change.time,
            change.chain_id,
            change.seq,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry to be added. ``is_last``: the row has no further part; ``end`` is its last event, if any."""

    id: EntryId
    type: Type
    text: bytes
    is_last: bool
    end: EventKey | None


def fitting(items: Sequence[bytes]) -> int:
    """How many of the first of these encoded events go into one part: one at least, if there are any."""
    size_bytes = 0
    for count, item in enumerate(items[:MAX_EVENTS]):
        # With the comma behind it.
        size_bytes += len(item) + 1
        if size_bytes > EVENTS_BYTES and count:
            return count
    return min(len(items), MAX_EVENTS)


def encode_event(event: Event) -> bytes:
    """As JSON."""
    return _encoder.encode(event)


def entry(
    change: Change, part: int, items: Sequence[bytes], *, is_last: bool, end: EventKey | None
) -> Entry:
    """The entry of a part: ``items`` are its events as :func:`encode_event` wrote them, ``end`` the last of
    them."""
    identifier = EntryId(change.seq, part)
    event = _CloudEvent(
        specversion="1.0",
        id=f"{change.chain_id}:{change.seq}:{part}",
        source=f"/chains/{change.chain_id}",
        type=change.type,
        subject=change.subject,
        time=change.time,
        datacontenttype="application/json",
        sequence=f"{change.seq:0{SEQUENCE_DIGITS}}",
        data=_Data(
            chain_id=change.chain_id,
            seq=change.seq,
            part=part,
            last=is_last,
            op=change.op,
            from_block=change.from_block,
            to_block=change.to_block,
            block_hash=None if change.block_hash is None else to_data(change.block_hash),
            source=change.source,
            events=[msgspec.Raw(item) for item in items],
        ),
    )
    return Entry(identifier, change.type, _encoder.encode(event), is_last, end)


def parse(text: bytes) -> Stored:
    """Read an entry back. Raises ``ValueError`` if it is none of ours."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(str(error)) from None


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Stored)
