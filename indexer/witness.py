"""One provider of a chain, asked alone, whatever is thought of it: for a second opinion."""

from collections.abc import Sequence

from indexer.answers import RangeAnswer
from indexer.block import BlockRef
from indexer.errors import RangeRefused
from indexer.provider import Provider


class Witness:
    """A provider as the :class:`indexer.nodes.Nodes` that a range is read from. It is opened and closed by
    whoever has it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def best(self) -> Provider:
        return self._provider

    async def range_logs(
        self,
        from_block: int,
        to_block: int,
        addresses: Sequence[bytes] | None,
        topics0: Sequence[bytes] | None,
        final: BlockRef | None = None,
    ) -> RangeAnswer:
        """Raises its failure, nobody else being asked; what it has above its head it leaves out without a word,
        so ``final`` should be given."""
        try:
            answer = await self._provider.rpc.logs_in_range(
                from_block, to_block, addresses, topics0
            )
        except RangeRefused as refused:
            self._provider.learn(refused, from_block, to_block)
            raise
        if final is not None:
            await self._provider.require_final(final)
        return answer

    def span_blocks(self) -> int | None:
        return self._provider.max_blocks
