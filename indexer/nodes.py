"""Whom a range of final blocks is read from: all providers of a chain, or one alone."""

from collections.abc import Sequence
from typing import Protocol

from indexer.answers import RangeAnswer
from indexer.block import BlockRef
from indexer.provider import Provider


class Nodes(Protocol):
    """What reading a range asks for; :class:`indexer.providers.Providers` has it, and so has
    :class:`indexer.witness.Witness`."""

    def best(self) -> Provider:
        """For questions that go to one provider: headers, receipts."""

    async def range_logs(
        self,
        from_block: int,
        to_block: int,
        addresses: Sequence[bytes] | None,
        topics0: Sequence[bytes] | None,
        final: BlockRef | None = None,
    ) -> RangeAnswer:
        """Logs of a final range, from a chain that has ``final``. Raises Retryable errors."""

    def span_blocks(self) -> int | None:
        """Most blocks that are worth asking for at once now; None while nothing is known."""
