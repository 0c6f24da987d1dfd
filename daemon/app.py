"""The running daemon: ordered start, HTTP, loops, ordered shutdown."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import asyncpg
import structlog
from aiohttp import web
from redis.asyncio import Redis

from bridge.bank.rest import RestBank
from bridge.custody.log import CustodyLog
from bridge.node import Node
from daemon import migrations
from daemon.api.app import make_app
from daemon.audit_alarm import alarm_of
from daemon.bridge_wiring import (
    BestRpc,
    BridgeParts,
    OpenSigner,
    bank_settings,
    bridge_loops,
    sending_peers,
    token_of,
)
from daemon.cache import StatusCache, database_identity
from daemon.check import check_token, refuse_wrong_chains
from daemon.database_check import check_database, check_schema, speaking_of_database
from daemon.errors import StartError
from daemon.facts import ProcessFacts, holder_name
from daemon.sections import Api
from daemon.settings import Settings
from daemon.signers import open_signer
from daemon.supervisor import Loop, Supervisor
from daemon.waiting import wait_for
from daemon.wiring import FollowedChain, audit_loops, chains_of, index_loops
from indexer.pool import Pool, open_pool
from indexer.stream.redis_stream import client_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the daemon is connected to while it runs; ``bridge`` is None where there is only an index, ``redis``
    where the feed has no stream."""

    settings: Settings
    pool: asyncpg.Pool
    chains: tuple[FollowedChain, ...]
    bridge: BridgeParts | None
    redis: Redis | None


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises :class:`daemon.errors.StartError` if it cannot begin."""
    stop = stop_on_signals()
    async with opened(settings, stop) as parts:
        if parts is None:
            return
        loops = [*loops_of(parts), *auditors_of(parts)]
        supervisor = Supervisor(parts.pool, holder_name(), settings.daemon.lease_ttl_s, loops)
        async with _serving(parts, supervisor):
            await until(stop, supervisor)
    log.info("stopped")


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    return stop


def loops_of(parts: Parts) -> list[Loop]:
    """Those of the chains, and those of the bridge if it is set up."""
    limits = None if parts.settings.redis is None else parts.settings.redis.limits
    loops = [
        loop
        for chain in parts.chains
        for loop in index_loops(parts.pool, chain, parts.redis, limits)
    ]
    if parts.bridge is not None:
        (chain,) = (one for one in parts.chains if one.name == parts.bridge.settings.chain_name)
        node = Node(BestRpc(chain.providers), sending_peers(chain.providers))
        loops += bridge_loops(parts.pool, parts.bridge, node, parts.settings)
    return loops


def auditors_of(parts: Parts) -> list[Loop]:
    """Those that read the chains again; what they find of the bridge's token halts its money."""
    alarm = alarm_of(None if parts.bridge is None else parts.bridge.token)
    return [loop for chain in parts.chains for loop in audit_loops(parts.pool, chain, alarm)]


@asynccontextmanager
async def opened(
    settings: Settings, stop: asyncio.Event, *, index_only: bool = False
) -> AsyncIterator[Parts | None]:
    """Open everything in order, each checked before the next; None if a stop came first.

    The bridge's chain is waited for. The others are not: whatever is amiss with one, the rest goes on.
    With ``index_only``, the bridge and the stream are left out.
    """
    bridge = None if index_only else settings.bridge
    async with AsyncExitStack() as stack:
        signers: list[OpenSigner] = []
        signed = CustodyLog(settings.daemon.custody_log)
        for name, section in bridge.signers.items() if bridge is not None else ():
            custody = await wait_for(stop, partial(open_signer, name, section, signed))
            if custody is None:
                yield None
                return
            stack.push_async_callback(custody.close)
            signers.append(OpenSigner(name, await custody.identity(), custody))
        pool = await wait_for(stop, lambda: connect_pool(settings))
        if pool is None:
            yield None
            return
        stack.push_async_callback(_close_pool, pool)
        chains = tuple(chains_of(settings))
        for chain in chains:
            await stack.enter_async_context(chain.providers)
        await refuse_wrong_chains(chains)
        parts = None
        if bridge is not None:
            bank = await stack.enter_async_context(RestBank(bank_settings(bridge)))
            (own,) = (chain for chain in chains if chain.money)
            if await wait_for(stop, lambda: check_token(own, bridge)) is None:
                yield None
                return
            parts = BridgeParts(bridge, token_of(bridge), bank, tuple(signers), signed)
        if await wait_for(stop, lambda: check_database(settings, chains)) is None:
            yield None
            return
        await stack.enter_async_context(_listening_to(chains))
        redis = None if index_only else _redis(settings)
        if redis is not None:
            stack.push_async_callback(redis.aclose)
        yield Parts(settings, pool, chains, parts, redis)


def _redis(settings: Settings) -> Redis | None:
    """Not connected to before something is to be written there."""
    if settings.redis is None or not settings.redis.enabled or settings.redis.url is None:
        return None
    return client_of(settings.redis.url.get_secret_value())


async def connect_pool(settings: Settings) -> Pool:
    """The daemon's connections. A transaction left idle is ended well before a lease can be taken over."""
    idle_limit_ms = int(settings.daemon.lease_ttl_s * 1000 / 2)
    await check_schema(settings)
    with speaking_of_database(settings) as database:
        return await open_pool(
            database.url.get_secret_value(),
            min_size=2,
            max_size=database.pool_size,
            timeout_s=10,
            command_timeout_s=30,
            application_name="landbridge",
            idle_in_transaction_session_timeout=str(idle_limit_ms),
            lock_timeout="10000",
        )


async def until(stop: asyncio.Event, supervisor: Supervisor) -> None:
    """Run the loops until a stop; raises what ended them otherwise."""
    running = asyncio.create_task(supervisor.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    supervisor.stop()
    await running
    stopping.cancel()


@asynccontextmanager
async def _listening_to(chains: tuple[FollowedChain, ...]) -> AsyncIterator[None]:
    """Hear of new heads for as long as this lasts."""
    tasks = [
        asyncio.create_task(chain.heads.run(), name=f"heads {chain.name}")
        for chain in chains
        if chain.heads is not None
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _serving(parts: Parts, supervisor: Supervisor) -> AsyncIterator[None]:
    def facts() -> ProcessFacts:
        nodes = {chain.name: chain.facts() for chain in parts.chains}
        return ProcessFacts(holder_name(), tuple(supervisor.facts()), nodes)

    cache = await _cache(parts)
    app = make_app(parts.pool, parts.bridge, facts, parts.settings, cache, parts.redis)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await _listen(runner, parts.settings.api)
        log.info("listening", addresses=[f"http://{a[0]}:{a[1]}" for a in runner.addresses])
        yield
    finally:
        await runner.cleanup()


async def _cache(parts: Parts) -> StatusCache | None:
    """Shared by the daemons of one database whose settings have the same chains and the same token."""
    if parts.redis is None:
        return None
    with speaking_of_database(parts.settings):
        async with parts.pool.acquire() as connection:
            identity = await database_identity(connection)
    shown = parts.settings.model_dump_json(include={"chains", "token", "bank"})
    key = f"{identity}-{sha256(shown.encode()).hexdigest()[:16]}"
    return StatusCache(parts.redis, key, migrations.load()[-1].version)


async def _listen(runner: web.AppRunner, api: Api) -> None:
    try:
        await web.TCPSite(runner, api.host, api.port).start()
    except OSError as error:
        raise StartError(
            f"api.port: cannot listen at {api.host}:{api.port} ({error.strerror}); "
            "stop what listens there, or choose another api.host or api.port"
        ) from None


async def _close_pool(pool: asyncpg.Pool) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await pool.close()
            return
    pool.terminate()
