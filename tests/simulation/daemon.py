"""One daemon of a simulation: the production's follower, backfill and upkeep over simulated nodes.

Its loops do what the supervisor's do: step, rest, begin again after a failure, give way when the lease is gone.
An error that nobody foresaw is a finding; so is a Fatal one, unless the simulation has given cause for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import cast

import asyncpg

from indexer import lease
from indexer.backfill import Backfill
from indexer.contract import Contract
from indexer.errors import DeepReorg, LeaseLost, Retryable
from indexer.follower import Follower, FollowerSettings, role
from indexer.lease import Fence
from indexer.provider import ProviderSettings
from indexer.providers import Providers
from indexer.retention import RetentionSettings
from indexer.upkeep import Upkeep
from tests.simulation import content, session
from tests.simulation.heads import PushedHeads
from tests.simulation.node import Node
from tests.simulation.pool import Killed, Pool

TTL_S = 3600.0
PAUSE_S = 0.5
FILL_IDLE_S = 3.0
UPKEEP_IDLE_S = 6.0
LEASE_EVERY_S = 3.0
ROLE = role(content.CHAIN_ID)


class Daemon:
    """``tell`` is given each failure that is no finding; ``found`` each one that is. ``may_alarm``: whether there
    is cause for a DeepReorg. ``lapse`` lets the lease run out."""

    def __init__(
        self,
        name: str,
        pool: Pool,
        nodes: Sequence[Node],
        contracts: tuple[Contract, ...],
        settings: FollowerSettings,
        *,
        verify_headers: bool,
        with_heads: bool,
        retention: RetentionSettings | None,
        tell: Callable[[str], None],
        found: Callable[[BaseException], None],
        may_alarm: Callable[[], bool],
        lapse: Callable[[], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.pool = pool
        self.nodes = tuple(nodes)
        self.contracts = contracts
        self.providers = Providers(
            [
                ProviderSettings(
                    name=node.name, operator=f"operator of {node.name}", http_url="sim://node"
                )
                for node in nodes
            ],
            verify_headers=verify_headers,
            clock=loop.time,
        )
        for provider, node in zip(self.providers.all, nodes, strict=True):
            session.connect(provider, node)
        self.heads = PushedHeads() if with_heads else None
        asyncpg_pool = cast(asyncpg.Pool, pool)
        self.follower = Follower(
            asyncpg_pool,
            self.providers,
            contracts,
            settings,
            None if self.heads is None else self.heads.as_heads(),
        )
        self.backfill = Backfill(asyncpg_pool, self.providers, contracts, content.CHAIN_ID)
        self.upkeep = Upkeep(asyncpg_pool, contracts, content.CHAIN_ID, retention)
        self.steps = 0
        self.alarms = 0
        self.dead = asyncio.Event()
        self._tell = tell
        self._found = found
        self._may_alarm = may_alarm
        self._lapse = lapse
        self._fence: Fence | None = None
        self._acquiring = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.providers.__aenter__()
        for work in (self._follow, self._fill, self._keep_up):
            self._tasks.append(asyncio.create_task(self._forever(work)))

    async def stop(self, *, kill: bool) -> None:
        """A kill leaves nothing the time for a last word."""
        self.pool.is_killed |= kill
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.providers.close()

    async def _forever(self, work: Callable[[Fence], Awaitable[None]]) -> None:
        fence: Fence | None = None
        while True:
            try:
                fence = await self._held()
                await work(fence)
            except LeaseLost:
                self._tell(f"{self.name}: lease lost")
                if self._fence == fence:
                    self._fence = None
            except Retryable as error:
                self._tell(f"{self.name}: {type(error).__name__}: {error}")
            except DeepReorg as error:
                self.alarms += 1
                self._tell(f"{self.name}: {type(error).__name__}")
                if not self._may_alarm():
                    self._found(error)
                    raise
            except asyncio.CancelledError:
                raise
            except Killed:
                self.dead.set()
                raise
            except BaseException as error:
                self._found(error)
                raise
            await asyncio.sleep(PAUSE_S)

    async def _held(self) -> Fence:
        """Wait until the lease is ours; the loops wait for it together."""
        async with self._acquiring:
            while self._fence is None:
                try:
                    async with self.pool.acquire() as connection:
                        self._fence = await lease.acquire(
                            cast(asyncpg.Connection, connection), ROLE, self.name, TTL_S
                        )
                except Retryable:
                    # Perhaps it is ours, and nobody knows: it would run out.
                    self._lapse()
                if self._fence is None:
                    await asyncio.sleep(LEASE_EVERY_S)
            return self._fence

    async def _follow(self, fence: Fence) -> None:
        try:
            await self.follower.open(fence)
            while True:
                result = await self.follower.step(fence)
                self.steps += 1
                await (asyncio.sleep(0) if result.more else self.follower.rest())
        finally:
            await self.follower.forget()

    async def _fill(self, fence: Fence) -> None:
        worked = False
        try:
            while True:
                before, worked = worked, await self.backfill.step(fence)
                if before and not worked:
                    self.follower.wake.set()
                await asyncio.sleep(0 if worked else FILL_IDLE_S)
        finally:
            await self.backfill.close()

    async def _keep_up(self, fence: Fence) -> None:
        while True:
            is_more = await self.upkeep.step(fence)
            await asyncio.sleep(0 if is_more else UPKEEP_IDLE_S)


def chance(name: str, seed: int) -> Random:
    """A source of chance of its own for each part, so that one part's use does not change another's."""
    return Random(f"{seed}/{name}")
