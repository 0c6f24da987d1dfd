"""A stand-in for :class:`indexer.heads.Heads`, which listens to sockets: headers come when the simulation says so.

They come late, twice, in any order and from any provider; each is read by the provider's own client, as there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import msgspec

from indexer import heads, wire
from indexer.errors import IndexerError
from indexer.heads import HeadsFacts, SeenHead
from indexer.provider import Provider
from tests.simulation.tree import Block

BLOCK = msgspec.json.Decoder(wire.Block)


class PushedHeads:
    """Has what the follower uses of the real one."""

    def __init__(self) -> None:
        self._buffer: deque[SeenHead] = deque(maxlen=heads.MAX_BUFFERED)
        self._wake = asyncio.Event()
        self.connected = False

    def come(self, provider: Provider, block: Block) -> None:
        """A header that a provider pushes now."""
        if provider.is_right is not True or provider.standing.is_shut:
            return
        try:
            header = provider.rpc.pushed_header(BLOCK.decode(block.header_json))
        except IndexerError:
            return
        self._buffer.append(SeenHead(header, provider))
        self._wake.set()

    def take(self) -> list[SeenHead]:
        taken = list(self._buffer)
        self._buffer.clear()
        self._wake.clear()
        return taken

    async def wait(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def facts(self) -> HeadsFacts:
        return HeadsFacts(
            connected=self.connected,
            mute=False,
            provider=None,
            last_head_age_s=None,
            block_time_s=1.0,
            heads_total=0,
            reconnects=0,
            last_failure=None,
        )

    def as_heads(self) -> heads.Heads:
        return cast(heads.Heads, self)
