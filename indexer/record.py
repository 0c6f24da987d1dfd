"""A block as it is stored: its header, and the logs of our contracts, decoded. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexer.abi import DecodeError, Event
from indexer.block import Header, Log
from indexer.contract import Contract
from indexer.solidity import Value


@dataclass(frozen=True, slots=True)
class Decoded:
    """The values of a log, in the order of its event's columns."""

    event: Event
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """``ordinal`` counts the logs of this address in this transaction, from 0: with the transaction's
    hash it names the log wherever the transaction is mined again."""

    log: Log
    ordinal: int
    outcome: Decoded | DecodeError


@dataclass(frozen=True, slots=True)
class BlockRecord:
    header: Header
    logs: tuple[LogRecord, ...]


def block_record(
    header: Header, logs: Sequence[Log], contracts: Mapping[bytes, Contract]
) -> BlockRecord:
    """Decode the logs of a block, all of which are of ``contracts`` (by address)."""
    counted: dict[tuple[bytes, bytes], int] = {}
    records = []
    for log in sorted(logs, key=lambda one: one.log_index):
        ordinal = counted.get((log.tx_hash, log.address), 0)
        counted[log.tx_hash, log.address] = ordinal + 1
        records.append(LogRecord(log, ordinal, _decode(log, contracts[log.address])))
    return BlockRecord(header, tuple(records))


def _decode(log: Log, contract: Contract) -> Decoded | DecodeError:
    event = contract.by_topic.get(log.topics[0]) if log.topics else None
    if event is None:
        return DecodeError(f"the ABI of {contract.name} has no event with its topic")
    values = event.decode(log.topics, log.data)
    return values if isinstance(values, DecodeError) else Decoded(event, values)
