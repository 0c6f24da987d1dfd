"""What a node's answers hold, and whether they fit the question. Pure; ``ValueError`` says why it does not.

Logs of a range are the hot path (up to tens of thousands an answer), so they are checked by their distinct
texts. That every text is of printable ASCII characters without a backslash is checked on the answer's bytes, so
none can break out of a row that is written as text; whether ``data`` and topics are hexadecimal is seen by
whoever makes bytes of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from indexer import limits, wire
from indexer.block import Header
from indexer.block_hash import block_hash as computed_hash
from indexer.errors import HeaderForged, NodeBehind, RangeRefused, RpcError, RpcTimeout, RpcTooLong
from indexer.hexadecimal import from_data, from_quantity, shown, to_data

LogFilter: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Tags:
    """The node's newest header, and those that it calls safe and finalized; None where it names none."""

    latest: Header
    safe: Header | None
    finalized: Header | None


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """Logs in the order of the node's answer, and how long that answer was."""

    logs: list[wire.Log]
    size_bytes: int


def log_filter(
    addresses: Sequence[bytes] | None, topics0: Sequence[bytes] | None
) -> dict[str, object]:
    """The part of an eth_getLogs query that says which logs; None asks for any. Raises ``ValueError`` for an
    empty list, which nodes take for any as well."""
    if (addresses is not None and not addresses) or (topics0 is not None and not topics0):
        raise ValueError("a list of no addresses or no topics would ask for all logs")
    query: dict[str, object] = {}
    if addresses is not None:
        query["address"] = [to_data(address) for address in addresses]
    if topics0 is not None:
        query["topics"] = [[to_data(topic) for topic in topics0]]
    return query


def require_plain(body: bytes | bytearray) -> None:
    """An answer whose texts are numbers, hashes and bytes needs no escapes and nothing beyond ASCII."""
    if b"\\" in body or not body.isascii():
        raise ValueError("it has characters that no hexadecimal text has")


def header(
    question: int | str | bytes, answer: wire.Block | None, endpoint: str, *, verify: bool
) -> Header | None:
    """The header of an answer to a question by number, hash or tag. With ``verify`` its hash is computed
    from its fields; raises :class:`HeaderForged` if it is another."""
    if answer is None:
        return None
    found = answer.header()
    if isinstance(question, bytes) and found.hash != question:
        raise ValueError(f"asked for {to_data(question)}, it has another hash")
    if isinstance(question, int) and found.number != question:
        raise ValueError(f"asked for {question}, it is {found.number}")
    if verify:
        _require_honest(found, answer, endpoint)
    return found


def _require_honest(found: Header, answer: wire.Block, endpoint: str) -> None:
    computed = computed_hash(answer)
    if computed != found.hash:
        raise HeaderForged(
            number=found.number,
            endpoint=endpoint,
            claimed=to_data(found.hash),
            computed=to_data(computed),
        )


def require_range(
    logs: Sequence[wire.Log], query: LogFilter, from_block: int, to_block: int
) -> None:
    """The logs are of blocks in the range, one block for each number, and pass the filter."""
    numbers = {log.block_number for log in logs}
    for text in numbers:
        if not from_block <= from_quantity(text, wire.NUMBER_BITS) <= to_block:
            raise ValueError(f"asked for {from_block} to {to_block}, a log is of {text}")
    if len({log.block_hash for log in logs}) != len(numbers):
        raise ValueError("two logs of one block number are of different blocks")
    _require_filter(logs, query)


def require_block(logs: Sequence[wire.Log], query: LogFilter, block_hash: str) -> None:
    """The logs are of one block, each once, of hexadecimal texts, and pass the filter."""
    if any(log.block_hash != block_hash for log in logs):
        raise ValueError(f"asked for {block_hash}, a log is of another block")
    if len({log.block_number for log in logs}) > 1:
        raise ValueError("two logs of one block have different block numbers")
    if len({from_quantity(log.log_index, wire.NUMBER_BITS) for log in logs}) != len(logs):
        raise ValueError("two logs of one block have the same index")
    _require_filter(logs, query)
    for log in logs:
        from_data(log.address, 20)
        from_data(log.data)
        from_data(log.transaction_hash, 32)
        for topic in log.topics:
            from_data(topic, 32)


def _require_filter(logs: Sequence[wire.Log], query: LogFilter) -> None:
    addresses, topics = query.get("address"), query.get("topics")
    if isinstance(addresses, list):
        for address in {log.address for log in logs}.difference(addresses):
            raise ValueError(f"a log is of {shown(address)}, which was not asked for")
    if isinstance(topics, list):
        for topic in {log.topics[0] if log.topics else None for log in logs}.difference(topics[0]):
            raise ValueError(f"a log's first topic is {shown(topic)}, which was not asked for")


def require_receipts(receipts: Sequence[wire.Receipt], block_hash: str) -> None:
    """The receipts are of one block, in order and without a gap, and so are their logs."""
    for index, receipt in enumerate(receipts):
        if receipt.block_hash != block_hash:
            raise ValueError(f"asked for {block_hash}, a receipt is of another block")
        _require_place(index, receipt.transaction_index)
        if any(log.transaction_hash != receipt.transaction_hash for log in receipt.logs):
            raise ValueError(f"a log in receipt {index} is of another transaction")
    require_block([log for receipt in receipts for log in receipt.logs], {}, block_hash)


def require_transactions(transactions: Sequence[wire.Transaction]) -> None:
    """The transactions are in order and without a gap."""
    for index, transaction in enumerate(transactions):
        _require_place(index, transaction.transaction_index)


def _require_place(index: int, text: str) -> None:
    if from_quantity(text, wire.NUMBER_BITS) != index:
        raise ValueError(f"at place {index} stands transaction index {text}")


def range_error(
    error: RpcError | RpcTimeout | RpcTooLong, endpoint: str, from_block: int, to_block: int
) -> RangeRefused | NodeBehind | None:
    """What the failure of a range query means for whoever chose the range; None: nothing."""
    verdict = error.verdict if isinstance(error, RpcError) else limits.TooManyResults()
    if isinstance(verdict, limits.BehindHead | limits.UnknownBlock):
        return NodeBehind(endpoint=endpoint, number=to_block)
    if not isinstance(verdict, limits.RangeTooWide | limits.TooManyResults):
        return None
    blocks = to_block - from_block + 1
    too_wide = isinstance(verdict, limits.RangeTooWide)
    most = verdict.max_blocks if isinstance(verdict, limits.RangeTooWide) else None
    return RangeRefused(
        endpoint=endpoint,
        from_block=from_block,
        to_block=to_block,
        reason=error.message if isinstance(error, RpcError) else str(error),
        too_wide=too_wide,
        # Advice that would lead to the same question again is none; some nodes give such.
        max_blocks=most if most is not None and most < blocks else None,
        suggested=_useful(verdict.suggested, from_block, to_block),
    )


def _useful(
    suggested: tuple[int, int] | None, from_block: int, to_block: int
) -> tuple[int, int] | None:
    if suggested is None:
        return None
    first, last = suggested
    inside = from_block <= first <= last <= to_block
    return suggested if inside and last - first < to_block - from_block else None
