"""The logs of our contracts in one block, complete as far as one node can show it.

A clear bloom proves that there are none, so nothing is asked. A set bloom proves nothing: when the node
then returns no logs, they are read from the block's receipts, which are believed only if their bloom is
the header's. Nothing is ever stored as "no events" on the word of an empty answer.
"""

from collections.abc import Sequence

from indexer import bloom
from indexer.block import Header, Log
from indexer.errors import BlockVanished, LogsInconsistent, LogsMissing, RpcError
from indexer.hexadecimal import to_data
from indexer.rpc import Rpc


class LogSource:
    """Reads logs of ``addresses`` from one node, the one that served the headers."""

    def __init__(self, rpc: Rpc, addresses: Sequence[bytes]) -> None:
        self._rpc = rpc
        self._addresses = tuple(addresses)
        self._masks = tuple(bloom.mask(address) for address in self._addresses)

    async def logs(self, header: Header) -> list[Log]:
        """In the order of the block. Raises a Retryable error when they cannot be trusted."""
        if not bloom.may_contain(header.logs_bloom, self._masks):
            return []
        logs = await self._rpc.logs(header.hash, self._addresses)
        if not logs:
            logs = await self._from_receipts(header)
        self._require_consistent(header, logs)
        return logs

    async def _from_receipts(self, header: Header) -> list[Log]:
        try:
            everything = await self._rpc.all_logs(header.hash)
        except RpcError as error:
            raise LogsMissing(number=header.number, hash=to_data(header.hash)) from error
        if everything is None:
            raise BlockVanished(block=to_data(header.hash))
        if bloom.of_logs(everything) != header.logs_bloom:
            raise LogsMissing(number=header.number, hash=to_data(header.hash))
        return [log for log in everything if log.address in self._addresses]

    def _require_consistent(self, header: Header, logs: Sequence[Log]) -> None:
        """The answer is about this block and these contracts, each log once and in the bloom."""
        reason = ""
        if any(log.block_hash != header.hash or log.block_number != header.number for log in logs):
            reason = "a log is of another block"
        elif any(log.address not in self._addresses for log in logs):
            reason = "a log is of another contract"
        elif len({log.log_index for log in logs}) != len(logs):
            reason = "two logs have one index"
        elif int.from_bytes(bloom.of_logs(logs), "big") & ~int.from_bytes(header.logs_bloom, "big"):
            reason = "a log is not in the block's bloom"
        if reason:
            raise LogsInconsistent(number=header.number, hash=to_data(header.hash), reason=reason)
