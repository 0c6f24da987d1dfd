"""The logs of one block above finality, complete as far as they can be shown to be.

A clear bloom proves that there are none, so nothing is asked. A set bloom proves nothing: when the node
then returns no logs, they are read from the block's receipts, which are believed only if their bloom is
the header's. Nothing is ever stored as "no events" on the word of an empty answer. Where a contract is
verified in full, the receipts are read at once and their root must be the header's.
"""

from collections.abc import Sequence

from indexer import bloom, proof
from indexer.block import Header
from indexer.errors import BlockVanished, LogsInconsistent, LogsMissing, RpcError
from indexer.hexadecimal import to_data
from indexer.query import LogQuery
from indexer.rpc import Rpc
from indexer.wire import Log, Receipt


async def logs_of(rpc: Rpc, header: Header, query: LogQuery, *, proven: bool) -> list[Log]:
    """In the order of the block, from the node that served the header.

    Raises a Retryable error when they cannot be trusted.
    """
    if not query.may_match(header.logs_bloom):
        return []
    if proven:
        return asked(
            query, proof.verified_logs(header, await receipts_of(rpc, header, to_be_proved=True))
        )
    logs = await rpc.logs_of_block(header.hash, query.addresses, query.topics)
    if not logs:
        logs = asked(query, await logs_from_receipts(rpc, header))
    _require_consistent(header, query, logs)
    return logs


async def logs_from_receipts(rpc: Rpc, header: Header) -> list[Log]:
    """All logs of a block by its receipts, whose bloom must be the header's; raises :class:`LogsMissing`."""
    try:
        receipts = await receipts_of(rpc, header)
    except RpcError as error:
        raise LogsMissing(number=header.number, hash=to_data(header.hash)) from error
    logs = [log for receipt in receipts for log in receipt.logs]
    if bloom.of_logs(logs) != header.logs_bloom:
        raise LogsMissing(number=header.number, hash=to_data(header.hash))
    return logs


async def receipts_of(rpc: Rpc, header: Header, *, to_be_proved: bool = False) -> Sequence[Receipt]:
    """Raises :class:`BlockVanished` if the node does not know the block."""
    receipts = await rpc.receipts(header.hash, to_be_proved=to_be_proved)
    if receipts is None:
        raise BlockVanished(block=to_data(header.hash))
    return receipts


def asked(query: LogQuery, logs: Sequence[Log]) -> list[Log]:
    """Those that the query asks for, of all logs of a block."""
    return [log for log in logs if query.matches(log.address, log.topics)]


def _require_consistent(header: Header, query: LogQuery, logs: Sequence[Log]) -> None:
    """The answer is about this block and this question, each log once and in the bloom."""
    block_hash = to_data(header.hash)
    reason = ""
    if any(
        log.block_hash != block_hash or int(log.block_number, 16) != header.number for log in logs
    ):
        reason = "a log is of another block"
    elif not all(query.matches(log.address, log.topics) for log in logs):
        reason = "a log is of another contract or event"
    elif len({log.log_index for log in logs}) != len(logs):
        reason = "two logs have one index"
    elif int.from_bytes(bloom.of_logs(logs), "big") & ~int.from_bytes(header.logs_bloom, "big"):
        reason = "a log is not in the block's bloom"
    if reason:
        raise LogsInconsistent(number=header.number, hash=block_hash, reason=reason)
