"""What a step asks its node: the newest header, and whatever the judge needs to see."""

from indexer import reorg
from indexer.block import BlockRef, Header
from indexer.errors import BlockVanished
from indexer.hexadecimal import to_data
from indexer.reorg import Branch, Extend, Gap, NeedAncestor, Verdict, Window
from indexer.rpc import Rpc


class Inquiry:
    """Asks whichever node a step has chosen; of more than ``chunk_blocks`` new blocks, the first."""

    def __init__(self, chunk_blocks: int) -> None:
        self._chunk_blocks = chunk_blocks

    async def at_depth(self, rpc: Rpc, newest: Header, depth_blocks: int) -> BlockRef | None:
        """The block so far below the newest one; None if the chain is not that long."""
        if newest.number < depth_blocks:
            return None
        return (await self._known(rpc, newest.number - depth_blocks)).ref

    async def judge(self, rpc: Rpc, window: Window, newest: Header) -> Verdict:
        """Ask the judge about the node's newest header, and fetch what it asks for.

        The answer is neither ``Gap`` nor ``NeedAncestor``; ``Extend`` has at most one chunk.
        """
        verdict = reorg.step(window, newest)
        if isinstance(verdict, Gap):
            chunk = await self._chunk(rpc, verdict.next_number, newest)
            verdict = reorg.step(window, chunk[0])
            if isinstance(verdict, Extend):
                return Extend(chunk)
        while isinstance(verdict, NeedAncestor):
            ancestor = await self._known(rpc, verdict.parent.hash)
            verdict = reorg.step(window, ancestor, verdict.branch)
        return verdict

    async def _chunk(self, rpc: Rpc, first: int, newest: Header) -> Branch:
        """Headers from ``first`` on, as far as each is the parent of the next: the node's chain may change
        while they are read."""
        last = min(newest.number, first + self._chunk_blocks - 1)
        headers = await rpc.headers(range(first, last + 1))
        linked = headers[:1]
        for header in headers[1:]:
            if header.parent_hash != linked[-1].hash:
                break
            linked.append(header)
        return tuple(linked)

    async def _known(self, rpc: Rpc, block: int | bytes) -> Header:
        header = await rpc.header(block)
        if header is None:
            raise BlockVanished(block=block if isinstance(block, int) else to_data(block))
        return header
