"""What a step asks the node: its finality, its newest header, and whatever the judge needs to see."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from indexer import reorg
from indexer.block import BlockRef, Header
from indexer.errors import BlockVanished, RpcError
from indexer.finality import NodeFinality
from indexer.hexadecimal import to_data
from indexer.reorg import Branch, Extend, Gap, NeedAncestor, Verdict, Window
from indexer.rpc import Rpc

T = TypeVar("T")


class Inquiry:
    """Asks one node. ``finality_depth_blocks`` None means that the node's tags are used."""

    def __init__(self, rpc: Rpc, chunk_blocks: int, finality_depth_blocks: int | None) -> None:
        self._rpc = rpc
        self._chunk_blocks = chunk_blocks
        self._depth_blocks = finality_depth_blocks

    async def finality(self) -> NodeFinality:
        """To be asked before the headers: see ``indexer.finality``."""
        if self._depth_blocks is not None:
            return NodeFinality(depth_blocks=self._depth_blocks)
        finalized, safe = await together([self._tagged("finalized"), self._tagged("safe")])
        return NodeFinality(finalized, safe)

    async def newest(self) -> Header:
        header = await self._rpc.header("latest")
        if header is None:
            raise BlockVanished(block="latest")
        return header

    async def judge(self, window: Window, newest: Header) -> Verdict:
        """Ask the judge about the node's newest header, and fetch what it asks for.

        The answer is neither ``Gap`` nor ``NeedAncestor``; ``Extend`` has at most one chunk.
        """
        verdict = reorg.step(window, newest)
        if isinstance(verdict, Gap):
            chunk = await self._chunk(verdict.next_number, newest)
            verdict = reorg.step(window, chunk[0])
            if isinstance(verdict, Extend):
                return Extend(chunk)
        while isinstance(verdict, NeedAncestor):
            ancestor = await self._known(verdict.parent.hash)
            verdict = reorg.step(window, ancestor, verdict.branch)
        return verdict

    async def _chunk(self, first: int, newest: Header) -> Branch:
        """Headers from ``first`` on, as far as each is the parent of the next: the node's chain may change
        while they are read."""
        last = min(newest.number, first + self._chunk_blocks - 1)
        headers = await together([self._known(number) for number in range(first, last + 1)])
        linked = headers[:1]
        for header in headers[1:]:
            if header.parent_hash != linked[-1].hash:
                break
            linked.append(header)
        return tuple(linked)

    async def _known(self, block: int | bytes) -> Header:
        header = await self._rpc.header(block)
        if header is None:
            raise BlockVanished(block=block if isinstance(block, int) else to_data(block))
        return header

    async def _tagged(self, tag: str) -> BlockRef | None:
        """None if the node has no such block yet, or does not know the tag: both are refusals."""
        try:
            header = await self._rpc.header(tag)
        except RpcError:
            return None
        return None if header is None else header.ref


async def together(calls: Sequence[Awaitable[T]]) -> list[T]:
    """All answers in order, or the first failure once every call has ended."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    answers = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers
