"""Proofs that what a node says about a block is all, and is so. Pure; what fails is Retryable, and says why.

The chain of reasons, from the hash that we follow to an event:

- A header whose fields hash to that hash is the block's (:mod:`indexer.block_hash`). Every other check rests on
  this one: without it a node may show any receipts root with receipts to match.
- Receipts whose root is the header's are the block's (:mod:`indexer.receipts`): no log is lost, invented or
  altered, none stands elsewhere. They commit to address, topics, data and order, and to nothing else of a log.
- So a log's block, index and transaction index follow from where it stands, and what the node wrote for them
  has to agree. The transaction's hash is in no receipt: it is the node's word, held to be one and the same
  within a receipt and another in each. Only the transactions themselves could prove it.
- A receipt's bloom is under the root and the header's bloom under the hash, so on a chain that keeps Ethereum's
  rules neither check adds anything. They hold the chain to the rule that blooms are made of the logs and nothing
  is left out: only then does a clear bit prove an absence, and some chains leave their blooms empty.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple, NoReturn

import msgspec

from indexer import bloom
from indexer.block import Header
from indexer.errors import HeadersUnlinked, ReceiptsForged
from indexer.hexadecimal import from_data, from_quantity, shown, to_data
from indexer.receipts import receipts_root
from indexer.wire import NUMBER_BITS, Log, Receipt


class Place(NamedTuple):
    """Where a log stands in the chain."""

    block_number: int
    log_index: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What an answer has otherwise than the proven logs. Each list ascends."""

    lost: Sequence[Place]
    invented: Sequence[Place]
    altered: Sequence[Place]

    @property
    def is_empty(self) -> bool:
        return not (self.lost or self.invented or self.altered)


def verified_logs(header: Header, receipts: Sequence[Receipt]) -> list[Log]:
    """All logs of the block, in their order, proven by its header, whose hash must have been computed.

    A timestamp that a log tells otherwise than the header is the header's in the result: it is proven by
    nothing, and there are nodes that write 0. Raises :class:`ReceiptsForged` with the check that failed.
    """
    _require_root(header, receipts)
    blooms = reduce(or_, (bloom.of_text(receipt.logs_bloom) for receipt in receipts), 0)
    if blooms != int.from_bytes(header.logs_bloom, "big"):
        _refuse(header, "its logsBloom is not the bloom of its receipts")
    _require_transactions(header, receipts)
    return _placed(header, receipts)


def headers_linked(
    headers: Sequence[Header], parent_hash: bytes | None = None, end_hash: bytes | None = None
) -> None:
    """Hold headers, lowest first, to be one chain: numbers without gap, each the parent of the next.

    ``parent_hash`` is the block's below the first, ``end_hash`` the last header's own; None where it is not
    known. Raises :class:`HeadersUnlinked` at the first break, and if there are no headers where hashes differ.
    """
    above = parent_hash
    for place, header in enumerate(headers):
        expected = headers[0].number + place
        if header.number != expected:
            raise HeadersUnlinked(number=expected, reason=f"block {header.number} stands there")
        if above is not None and header.parent_hash != above:
            reason = (
                f"its parent is {to_data(header.parent_hash)}, below it stands {to_data(above)}"
            )
            raise HeadersUnlinked(number=expected, reason=reason)
        above = header.hash
    if end_hash is not None and above != end_hash:
        number = headers[-1].number if headers else "none"
        found = "no header" if above is None else to_data(above)
        raise HeadersUnlinked(number=number, reason=f"it is {found}, expected {to_data(end_hash)}")


def absent(
    header: Header, address_masks: Iterable[int] | None, topic_masks: Iterable[int] | None
) -> bool:
    """Whether the block certainly has no log of any of the addresses with any of the topics; None is any.

    False says nothing. The masks are :func:`indexer.bloom.mask`'s.
    """
    return not (
        (address_masks is None or bloom.may_contain(header.logs_bloom, address_masks))
        and (topic_masks is None or bloom.may_contain(header.logs_bloom, topic_masks))
    )


def missing(answered: Iterable[Log], verified: Iterable[Log]) -> Difference:
    """What an answer to eth_getLogs has otherwise than the proven logs that the question asks for.

    A log that is answered twice is invented once. Raises ``ValueError`` if a place is not a number.
    """
    proven = {_place(log): log for log in verified}
    seen: set[Place] = set()
    invented, altered = [], []
    for log in answered:
        place = _place(log)
        if place in seen or place not in proven:
            invented.append(place)
        elif _identity(log) != _identity(proven[place]):
            altered.append(place)
        seen.add(place)
    return Difference(sorted(proven.keys() - seen), sorted(invented), sorted(altered))


def _require_root(header: Header, receipts: Sequence[Receipt]) -> None:
    if header.receipts_root is None:
        _refuse(header, "the header was given without its receiptsRoot")
    try:
        root = receipts_root(receipts)
    except ValueError as error:
        _refuse(header, str(error))
    if root != header.receipts_root:
        ours, theirs = to_data(root), to_data(header.receipts_root)
        _refuse(header, f"the root of {len(receipts)} receipts is {ours}, the header's is {theirs}")


def _require_transactions(header: Header, receipts: Sequence[Receipt]) -> None:
    hashes = set()
    for position, receipt in enumerate(receipts):
        if not _is_number(receipt.transaction_index, position):
            index = shown(receipt.transaction_index)
            _refuse(header, f"receipt {position} has transaction index {index}")
        if not _is_data(receipt.block_hash, header.hash):
            _refuse(header, f"receipt {position} is of block {shown(receipt.block_hash)}")
        try:
            hashes.add(from_data(receipt.transaction_hash, 32))
        except ValueError as error:
            _refuse(header, f"receipt {position} has no transaction's hash: {error}")
    if len(hashes) != len(receipts):
        _refuse(header, "two receipts are of one transaction")


def _placed(header: Header, receipts: Sequence[Receipt]) -> list[Log]:
    """The logs, each where it says it stands. Texts are compared first as they are: that is nearly always
    enough, and there are many."""
    block_hash, number, time = to_data(header.hash), hex(header.number), hex(header.timestamp_s)
    logs: list[Log] = []
    for receipt in receipts:
        tx_hash, tx_index = receipt.transaction_hash, receipt.transaction_index
        for log in receipt.logs:
            if (
                log.block_hash != block_hash
                or log.block_number != number
                or log.transaction_hash != tx_hash
                or log.transaction_index != tx_index
                or log.log_index != hex(len(logs))
            ):
                log = _at_its_place(header, receipt, log, len(logs))
            if log.block_timestamp is not None and log.block_timestamp != time:
                log = msgspec.structs.replace(log, block_timestamp=time)
            logs.append(log)
    return logs


def _at_its_place(header: Header, receipt: Receipt, log: Log, index: int) -> Log:
    """The log whose place is spelled as everybody else spells it; refuses one that says another place."""
    for name, agrees in (
        ("blockHash", _is_data(log.block_hash, header.hash)),
        ("blockNumber", _is_number(log.block_number, header.number)),
        ("transactionHash", log.transaction_hash.lower() == receipt.transaction_hash.lower()),
        ("transactionIndex", _same_number(log.transaction_index, receipt.transaction_index)),
        ("logIndex", _is_number(log.log_index, index)),
    ):
        if not agrees:
            _refuse(header, f"log {index} has a {name} that is not its place's")
    return msgspec.structs.replace(
        log,
        block_hash=to_data(header.hash),
        block_number=hex(header.number),
        transaction_hash=receipt.transaction_hash,
        transaction_index=receipt.transaction_index,
        log_index=hex(index),
    )


def _is_number(text: str, value: int) -> bool:
    try:
        return from_quantity(text, NUMBER_BITS) == value
    except ValueError:
        return False


def _same_number(text: str, other: str) -> bool:
    return _is_number(text, from_quantity(other, NUMBER_BITS))


def _is_data(text: str, value: bytes) -> bool:
    return text.lower() == to_data(value)


def _place(log: Log) -> Place:
    number = from_quantity(log.block_number, NUMBER_BITS)
    return Place(number, from_quantity(log.log_index, NUMBER_BITS))


def _identity(log: Log) -> tuple[object, ...]:
    """What a log is, whatever the case of its digits."""
    return (
        log.address.lower(),
        tuple(topic.lower() for topic in log.topics),
        log.data.lower(),
        log.block_hash.lower(),
        log.transaction_hash.lower(),
        from_quantity(log.transaction_index, NUMBER_BITS),
    )


def _refuse(header: Header, reason: str) -> NoReturn:
    raise ReceiptsForged(number=header.number, hash=to_data(header.hash), reason=reason)
