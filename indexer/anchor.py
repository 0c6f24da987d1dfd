"""The newest of final blocks, by their headers, down from the final one: a range is held against them.

Behind one address there may be several nodes that are not of one mind. One that is behind answers a range with
what it has, and does not say that it lacks the end; its own newest block may even be one that was orphaned. Who
asks such an address before and after about its head is answered by another node. So ranges that reach up to
what is final are compared where that shows: in the newest blocks, whose hashes follow from the final block's.
"""

import asyncio
from typing import Final

from indexer import proof
from indexer.block import BlockRef, Header
from indexer.nodes import Nodes
from indexer.spans import Span

# A node that lags further behind what is final than this is not noticed. Each costs one call, once a range; where
# calls are rationed, as many as go into a part of a second.
NEWEST_BLOCKS: Final = 32
FEWEST_BLOCKS: Final = 8
RATIONED_S: Final = 0.4


class Anchor:
    """For spans of ``span``, at or below ``final``. Headers are read when they are first needed, once."""

    def __init__(self, providers: Nodes, span: Span, final: BlockRef | None) -> None:
        self._providers = providers
        self.final = final
        self._lowest = span.first
        self._headers: tuple[Header, ...] = ()
        self._reading = asyncio.Lock()

    async def headers(self, span: Span) -> tuple[Header, ...]:
        """Those of the newest blocks that are in ``span``, lowest first, up to its end; linked to our final block.

        Raises Retryable errors: :class:`HeadersUnlinked` where a node's chain does not lead up to it.
        """
        if self.final is None or span.last <= self.final.number - NEWEST_BLOCKS:
            return ()
        async with self._reading:
            if not self._headers:
                self._headers = await self._read(self.final)
        return tuple(one for one in self._headers if span.first <= one.number <= span.last)

    async def _read(self, final: BlockRef) -> tuple[Header, ...]:
        provider = self._providers.best()
        first = max(self._lowest, final.number + 1 - newest_blocks(provider.requests_per_s))
        with provider.relied_on():
            headers = await provider.rpc.headers(range(first, final.number + 1))
            proof.headers_linked(headers, None, final.hash)
        return tuple(headers)


def newest_blocks(requests_per_s: float | None) -> int:
    """How many are held against the final block, by the rate that is kept; None if there is none. Pure."""
    if requests_per_s is None:
        return NEWEST_BLOCKS
    return max(FEWEST_BLOCKS, min(NEWEST_BLOCKS, int(requests_per_s * RATIONED_S)))
