"""Reads blocks above finality, one by one, as the rows of the sources that follow the head."""

from collections.abc import Sequence

from indexer import transactions
from indexer.batch import together
from indexer.block import Header
from indexer.block_logs import logs_of
from indexer.change import Block
from indexer.children import Children
from indexer.errors import LogsMalformed
from indexer.hexadecimal import to_data
from indexer.query import LogQuery
from indexer.recorder import Recorder
from indexer.rpc import Rpc
from indexer.source import Source
from indexer.wire import Log


class BlockReader:
    """For ``sources``; ``children`` are theirs and grow with what is read."""

    def __init__(self, sources: Sequence[Source], children: Children) -> None:
        self._sources = tuple(sources)
        self._children = children
        self._recorder = Recorder(sources, children.born)
        self._query = LogQuery.of(sources, children.born)
        self._proven = any(one.contract.options.verify == "full" for one in sources)

    async def read(self, rpc: Rpc, headers: Sequence[Header]) -> list[Block]:
        """``headers`` follow one another. Raises Retryable errors; then nothing was read."""
        logs = await self._all(rpc, headers)
        blocks = []
        for place, header in enumerate(headers):
            while self._children.learn(logs[place]):
                # A child may act in the very block of its birth, and nobody asked for it yet.
                self._query = LogQuery.of(self._sources, self._children.born)
                logs[place:] = await self._all(rpc, headers[place:])
            blocks.append(self._record(header, logs[place]))
        for block in blocks:
            if block.rows.touched:
                await transactions.add(rpc, self._sources, block.rows, {})
        return blocks

    def forget_above(self, number: int) -> None:
        """Our blocks above a height are orphaned, and the children born in them with it."""
        self._children.forget_above(number)
        # Each source's dictionary of children is a new one now.
        self._recorder = Recorder(self._sources, self._children.born)
        self._query = LogQuery.of(self._sources, self._children.born)

    async def _all(self, rpc: Rpc, headers: Sequence[Header]) -> list[list[Log]]:
        async def of(header: Header) -> list[Log]:
            return await logs_of(rpc, header, self._query, proven=self._proven)

        return await together(of, headers)

    def _record(self, header: Header, logs: Sequence[Log]) -> Block:
        times = {to_data(header.hash): header.timestamp_s}
        try:
            return Block(header, self._recorder.record(logs, times))
        except ValueError as error:
            raise LogsMalformed(reason=str(error)) from error
