"""The providers of one chain: which one a live step uses, which ones a backfill spreads over, what they call final.

As long as they are open, each is watched: its head is read if nobody else asks for it, a shut one is probed, and
one that was out of reach at the start must prove to be of the right chain before it is used. One that is far
behind the others, was asked too much, or was found wanting, is used only if there is no better one.
"""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from indexer import choice, claims
from indexer.answers import RangeAnswer
from indexer.block import BlockRef, Header
from indexer.budget import Clock, Sleep
from indexer.choice import Candidate, Preference
from indexer.errors import (
    NodeBehind,
    NoProvider,
    RangeRefused,
    Retryable,
    WrongGenesis,
)
from indexer.finality import NodeFinality
from indexer.hexadecimal import to_data
from indexer.provider import Provider, ProviderFacts, ProviderSettings
from indexer.rpc import GET_LOGS
from indexer.watch import Chain, Watch, behind

# So far below the others a head is behind.
LAG_BLOCKS: Final = 10
# One that must not be asked for longer than this is passed over if another one is at hand.
LONG_COOLING_S: Final = 2.0


class Providers:
    """``async with Providers(settings) as providers:`` opens and closes them, and watches them meanwhile."""

    def __init__(
        self,
        settings: Sequence[ProviderSettings],
        *,
        verify_headers: bool = False,
        lag_blocks: int = LAG_BLOCKS,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if not settings:
            raise ValueError("there must be at least one provider")
        if len({one.name for one in settings}) != len(settings):
            raise ValueError("providers must have different names")
        self._providers = tuple(
            Provider(one, verify_headers=verify_headers, clock=clock, sleep=sleep)
            for one in settings
        )
        self._lag_blocks = lag_blocks
        self._clock = clock
        self._sleep = sleep
        self._preference = Preference()
        self._chain: Chain | None = None
        self._watches: list[asyncio.Task[None]] = []

    @property
    def all(self) -> tuple[Provider, ...]:
        """In the order of the configuration."""
        return self._providers

    async def __aenter__(self) -> Self:
        for one in self._providers:
            watch = Watch(one, lambda: self._chain, clock=self._clock, sleep=self._sleep)
            self._watches.append(asyncio.create_task(watch.run(), name=f"watch {one.name}"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._watches = []
        for one in self._providers:
            await one.close()

    def best(self) -> Provider:
        """For one live step: all its calls go to this one. Raises :class:`NoProvider`.

        The first one that is not much worse than the best; another one is taken at once if it fails, and the
        better one again when it has been the better one for a while.
        """
        good = self._good()
        for group in (good, self._usable()):
            scores = [one.standing.score if one in group else None for one in self._providers]
            index = self._preference.choose(scores, self._clock())
            if index is not None:
                return self._providers[index]
        probe = self._due_for_probe()
        if probe is None:
            raise self._none_usable()
        return probe

    def other_than(self, provider: Provider) -> Provider | None:
        """A second opinion: a good provider of another operator if there is one, else another one, else None."""
        others = [one for one in self._good() if one is not provider]
        foreign = [one for one in others if one.operator != provider.operator]
        return next(iter(foreign or others), None)

    async def range_logs(
        self,
        from_block: int,
        to_block: int,
        addresses: Sequence[bytes] | None,
        topics0: Sequence[bytes] | None,
        final: BlockRef | None = None,
    ) -> RangeAnswer:
        """Logs of a final range, from whichever provider is least busy; others are tried when one fails.

        A provider whose chain ends below ``to_block`` is not asked: nodes answer what they have, without a word.
        Nor is one believed whose chain, once it has answered, does not have ``final``, our final block above.
        Raises :class:`RangeRefused` (``max_blocks``, ``suggested``) for the caller to split,
        :class:`NoProvider`, or the last provider's failure.
        """
        blocks = to_block - from_block + 1
        tried: list[Provider] = []
        failure: Retryable | None = None
        while (provider := self._for_range(blocks, tried)) is not None:
            tried.append(provider)
            try:
                await _require_reach(provider, to_block)
                answer = await provider.rpc.logs_in_range(from_block, to_block, addresses, topics0)
                if final is not None:
                    await provider.require_final(final)
                return answer
            except RangeRefused as refused:
                provider.learn(refused, from_block, to_block)
                failure = refused
                if not refused.too_wide:
                    raise
            except Retryable as error:
                failure = error
        raise failure or self._too_narrow(from_block, to_block) or self._none_usable()

    def span_blocks(self) -> int | None:
        """Most blocks that are worth asking for at once now; None while nothing is known."""
        return choice.span_blocks([one.max_blocks for one in self._good() or self._usable()])

    async def require_chain(self, chain_id: int, genesis_hash: bytes | None = None) -> bytes:
        """The hash of block 0. Asks every provider: a wrong one is Fatal; one that is out of reach is only
        marked down, as long as another one answers rightly. Raises the failure, or :class:`NoProvider`."""
        found = await asyncio.gather(
            *(one.rpc.require_chain(chain_id, genesis_hash) for one in self._providers),
            return_exceptions=True,
        )
        right = genesis_hash
        for one, genesis in zip(self._providers, found, strict=True):
            one.is_right = None
            if isinstance(genesis, Retryable):
                continue
            if isinstance(genesis, BaseException):
                raise genesis
            if right is not None and genesis != right:
                raise WrongGenesis(
                    endpoint=one.rpc.endpoint, expected=to_data(right), found=to_data(genesis)
                )
            right = genesis
            one.is_right = True
        if right is None or not any(one.is_right for one in self._providers):
            raise self._all_failed(found)
        self._chain = Chain(chain_id, right)
        return right

    async def finality(
        self, quorum: int, depth_blocks: int | None = None, provider: Provider | None = None
    ) -> NodeFinality:
        """The highest block that ``quorum`` distinct operators call finalized, with one hash; None in its place
        while there is none. ``depth_blocks``: what lies so far below a provider's head counts as its finalized.

        With a quorum of 1 it is what ``provider`` (the best one, if none is given) says alone, and with
        ``depth_blocks`` nothing is asked at all. Raises :class:`FinalityDisputed`, :class:`NoProvider`.
        """
        if quorum == 1:
            return await claims.finality_of(provider or self.best(), depth_blocks)
        return await claims.agreed_finality(self._usable(), quorum, depth_blocks)

    async def look(
        self, provider: Provider, quorum: int, depth_blocks: int | None = None
    ) -> tuple[NodeFinality, Header]:
        """What is final, and then the newest header of ``provider``: with a quorum of 1, in one request.

        Raises as :meth:`finality` does.
        """
        if quorum > 1 or depth_blocks is not None:
            node = await self.finality(quorum, depth_blocks, provider)
            return node, await claims.newest(provider)
        return await claims.look(provider)

    async def agree(self, quorum: int, block: BlockRef) -> bool:
        """Whether ``quorum`` distinct operators have this block at its height; asks nobody for a quorum of 1."""
        return quorum == 1 or await claims.agree(self._usable(), quorum, block)

    async def contradict(self, provider: Provider, block: BlockRef) -> bool:
        """Whether another one has this block, which ``provider`` has not."""
        others = [one for one in self._usable() if one is not provider]
        return await claims.agree(others, 1, block)

    def facts(self) -> list[ProviderFacts]:
        """Of each provider, in the order of the configuration."""
        for one in self._providers:
            self._compare(one)
        return [one.facts() for one in self._providers]

    def _usable(self) -> list[Provider]:
        """Neither shut nor of an unknown or wrong chain."""
        return [
            one for one in self._providers if not one.standing.is_shut and self._may_be_right(one)
        ]

    def _may_be_right(self, provider: Provider) -> bool:
        """Once the chain is known, a provider must have shown that it follows it."""
        if provider.is_right is None:
            return self._chain is None
        return provider.is_right

    def _good(self) -> list[Provider]:
        """Those that are neither behind the others nor doubted, nor to be left alone for a while."""
        usable = self._usable()
        for one in usable:
            self._compare(one)
        return [
            one
            for one in usable
            if not one.standing.behind and not one.is_doubted and one.cooling_s <= LONG_COOLING_S
        ]

    def _compare(self, provider: Provider) -> None:
        others = [one for one in self._usable() if one is not provider]
        provider.standing.behind = behind(provider, others, self._lag_blocks)

    def _due_for_probe(self) -> Provider | None:
        """When none is usable, the first whose rest is over is tried; nobody else tries it meanwhile."""
        now_s = self._clock()
        for one in self._providers:
            if self._may_be_right(one) and one.standing.probe_due(now_s):
                one.standing.probing(now_s)
                return one
        return None

    def _for_range(self, blocks: int, tried: Sequence[Provider]) -> Provider | None:
        """The next one to ask for a range of so many blocks."""
        usable = self._good() or self._usable()
        able = [
            one
            for one in usable
            if one not in tried
            and not one.lacks(GET_LOGS)
            and (one.max_blocks is None or one.max_blocks >= blocks)
        ]
        if able:
            return able[
                choice.freest(
                    [
                        Candidate(index, one.load, one.standing.score)
                        for index, one in enumerate(able)
                    ]
                )
            ]
        return None if usable or tried else self._due_for_probe()

    def _too_narrow(self, from_block: int, to_block: int) -> RangeRefused | None:
        """Nobody was asked, as each one that could be is known to refuse so many blocks."""
        narrow = [(one.max_blocks, one) for one in self._usable() if one.max_blocks is not None]
        if not narrow:
            return None
        most, widest = max(narrow, key=lambda each: each[0])
        return RangeRefused(
            endpoint=widest.rpc.endpoint,
            from_block=from_block,
            to_block=to_block,
            reason=f"it takes {most} blocks at most",
            too_wide=True,
            max_blocks=most,
        )

    def _none_usable(self) -> NoProvider:
        reasons = "; ".join(
            f"{one.name}: {one.standing.last_failure or 'not known to follow the right chain'}"
            for one in self._providers
        )
        return NoProvider(reasons=reasons)

    def _all_failed(self, found: Sequence[bytes | BaseException]) -> Retryable:
        if len(found) == 1 and isinstance(found[0], Retryable):
            return found[0]
        return self._none_usable()


async def _require_reach(provider: Provider, to_block: int) -> None:
    known = provider.rpc.newest_number
    if known is not None and known >= to_block:
        return
    if await provider.rpc.block_number() < to_block:
        raise NodeBehind(endpoint=provider.rpc.endpoint, number=to_block)
