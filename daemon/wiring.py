"""Puts the index together: for each chain its providers, its heads, and the loops that read it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import asyncpg
from redis.asyncio import Redis

from daemon.contracts import contracts_of
from daemon.errors import of_chain
from daemon.facts import NodeFacts
from daemon.providers import providers_of
from daemon.sections import Chain
from daemon.settings import Settings
from daemon.supervisor import Loop
from indexer.audit_log import Alarm
from indexer.auditor import Auditor, AuditorSettings
from indexer.auditor import role as audit_role
from indexer.backfill import Backfill
from indexer.contract import Contract
from indexer.follower import Follower, FollowerSettings, role
from indexer.heads import Heads
from indexer.lease import Fence
from indexer.providers import Providers
from indexer.retention import RetentionSettings
from indexer.stream.relay import Relay, RelaySettings
from indexer.stream.relay import role as relay_role
from indexer.stream.trim import StreamLimits
from indexer.upkeep import Upkeep

UPKEEP_S: Final = 2.0
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class FollowedChain:
    """A chain with its connections, which are opened and closed by whoever has it.

    ``money``: whether it is the bridge's, so that what goes wrong on it stops the money.
    """

    name: str
    settings: Chain
    quorum: int
    money: bool
    contracts: tuple[Contract, ...] = field(repr=False)
    providers: Providers = field(repr=False)
    heads: Heads | None = field(repr=False)

    def facts(self) -> NodeFacts:
        """How its nodes fare now."""
        providers = tuple(
            replace(one, last_failure=of_chain(one.last_failure, self.name))
            if one.last_failure
            else one
            for one in self.providers.facts()
        )
        return NodeFacts(providers, None if self.heads is None else self.heads.facts())


def chains_of(settings: Settings) -> list[FollowedChain]:
    """Every chain of the settings, not yet connected to."""
    contracts = contracts_of(settings.chains, settings.contracts, settings.token)
    bridge = settings.bridge
    return [
        _chain(
            name,
            chain,
            [contract for contract in contracts if contract.chain_id == chain.id],
            quorum=settings.quorum(name),
            money=bridge is not None and bridge.chain_name == name,
        )
        for name, chain in settings.chains.items()
    ]


def _chain(
    name: str, chain: Chain, contracts: Sequence[Contract], *, quorum: int, money: bool
) -> FollowedChain:
    proven = any(contract.options.verify == "full" for contract in contracts)
    providers = Providers(providers_of(chain), verify_headers=proven)
    with_socket = [one for one in providers.all if one.settings.ws_url]
    return FollowedChain(
        name=name,
        settings=chain,
        quorum=quorum,
        money=money,
        contracts=tuple(contracts),
        providers=providers,
        heads=Heads(with_socket) if with_socket else None,
    )


def index_loops(
    pool: asyncpg.Pool,
    chain: FollowedChain,
    redis: Redis | None = None,
    limits: StreamLimits | None = None,
) -> list[Loop]:
    """The loops of one chain; they share a lease, so that one daemon alone writes it. With ``redis`` the feed's
    stream is written too, within ``limits`` and under a lease of its own."""
    settings = chain.settings
    committed = asyncio.Event()
    follower = Follower(
        pool,
        chain.providers,
        chain.contracts,
        FollowerSettings(
            chain_id=settings.id,
            finality_depth_blocks=settings.finality_depth_blocks,
            quorum=chain.quorum,
            poll_interval_s=settings.poll_interval_s,
        ),
        chain.heads,
    )
    backfill = Backfill(pool, chain.providers, chain.contracts, settings.id, follower.wake)
    upkeep = Upkeep(pool, chain.contracts, settings.id, _retention(settings.keep_days))

    async def follow(fence: Fence) -> bool:
        if follower.wake.is_set():
            # What has caught up may be new since the follower last read which sources there are.
            await follower.forget()
        result = await follower.step(fence)
        if result.kind != "unchanged":
            committed.set()
        return result.more

    loops = [
        Loop(
            name=f"follower:{chain.name}",
            role=role(settings.id),
            step=follow,
            idle_s=settings.poll_interval_s,
            open=follower.open,
            rest=follower.rest,
            close=follower.forget,
            halts_money=chain.money,
            chain=chain.name,
            all_fenced=True,
        ),
        Loop(
            name=f"backfill:{chain.name}",
            role=role(settings.id),
            step=backfill.step,
            idle_s=settings.poll_interval_s,
            close=backfill.close,
            halts_money=chain.money,
            chain=chain.name,
            all_fenced=True,
        ),
        Loop(
            name=f"upkeep:{chain.name}",
            role=role(settings.id),
            step=upkeep.step,
            idle_s=UPKEEP_S,
            halts_money=chain.money,
            chain=chain.name,
            all_fenced=True,
        ),
    ]
    if redis is not None:
        relay = Relay(
            pool,
            redis,
            settings.id,
            RelaySettings(limits=limits or StreamLimits()),
            wake=committed,
        )
        loops.append(_relay_loop(relay, chain))
    return loops


def _retention(keep_days: int | None) -> RetentionSettings | None:
    return None if keep_days is None else RetentionSettings(keep_days * DAY_S)


def _relay_loop(relay: Relay, chain: FollowedChain) -> Loop:
    """Redis holds nothing that may not be lost, so nothing else stops without it."""
    return Loop(
        name=f"relay:{chain.name}",
        role=relay_role(chain.settings.id),
        step=relay.step,
        idle_s=chain.settings.poll_interval_s,
        rest=relay.rest,
        halts_money=False,
        needed=False,
        chain=chain.name,
        all_fenced=True,
    )


def audit_loops(pool: asyncpg.Pool, chain: FollowedChain, alarm: Alarm) -> list[Loop]:
    """The one that audits a chain, under a lease of its own; none where it is switched off. It only looks, so
    nothing else stops without it."""
    if not chain.settings.audit_blocks_per_hour:
        return []
    settings = AuditorSettings(chain.settings.id, chain.settings.audit_blocks_per_hour)
    auditor = Auditor(pool, chain.providers, chain.contracts, settings, alarm=alarm)
    auditing = Loop(
        name=f"auditor:{chain.name}",
        role=audit_role(chain.settings.id),
        step=auditor.step,
        idle_s=chain.settings.poll_interval_s,
        rest=auditor.rest,
        halts_money=False,
        needed=False,
        chain=chain.name,
        all_fenced=True,
    )
    return [auditing]
