"""Looks after one provider while it is open: its head, its recovery, and that it follows the right chain."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from indexer.budget import Clock, Sleep
from indexer.errors import Fatal, Retryable
from indexer.provider import Provider

log = structlog.get_logger()

# How often a provider is looked at; its head is asked for if nobody else did since.
LOOK_S: Final = 1.0
STALE_HEAD_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Chain:
    """The one that providers must follow."""

    chain_id: int
    genesis_hash: bytes


class Watch:
    """``expected`` tells which chain it must follow, or None as long as that is not known."""

    def __init__(
        self,
        provider: Provider,
        expected: Callable[[], Chain | None],
        *,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._provider = provider
        self._expected = expected
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Until it is cancelled; whatever else happens, it goes on."""
        while True:
            await self._sleep(LOOK_S)
            try:
                await self.look()
            except Retryable:
                # Its standing has been told by the request itself.
                continue
            except Exception:
                log.exception("provider_watch_failed", provider=self._provider.name)

    async def look(self) -> None:
        """Ask what is to be asked now. Raises what the provider's answer means."""
        provider, now_s = self._provider, self._clock()
        if provider.is_right is False:
            return
        if provider.standing.is_shut:
            if not provider.standing.probe_due(now_s):
                return
            provider.standing.probing(now_s)
        expected = self._expected()
        if provider.is_right is None and expected is not None:
            await self._identify(expected)
        elif provider.standing.is_shut or self._head_is_stale(now_s):
            await provider.rpc.block_number()

    async def _identify(self, expected: Chain) -> None:
        try:
            await self._provider.rpc.require_chain(expected.chain_id, expected.genesis_hash)
        except Fatal as error:
            self._provider.is_right = False
            log.error("provider_is_wrong", provider=self._provider.name, reason=str(error))
            return
        self._provider.is_right = True
        log.info("provider_is_right", provider=self._provider.name)

    def _head_is_stale(self, now_s: float) -> bool:
        at_s = self._provider.rpc.newest_at_s
        return at_s is None or now_s - at_s >= STALE_HEAD_S


def behind(provider: Provider, others: list[Provider], lag_blocks: int) -> bool:
    """Whether a provider's head was far below what others had told before it told.

    With two others or more, what only one of them tells is not believed.
    """
    number, at_s = provider.rpc.newest_number, provider.rpc.newest_at_s
    if number is None or at_s is None:
        return False
    before = sorted(
        other.rpc.newest_number
        for other in others
        if other.rpc.newest_number is not None
        and other.rpc.newest_at_s is not None
        and other.rpc.newest_at_s <= at_s
    )
    # The highest head of two others at least, if there are two.
    needed = min(2, len(others))
    return len(before) >= needed > 0 and number < before[-needed] - lag_blocks
