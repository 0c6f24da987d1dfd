"""The running daemon: ordered start, HTTP, loops, ordered shutdown."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import structlog
from aiohttp import web

from bridge.bank.rest import RestBank
from bridge.custody.keystore import KeystoreCustody
from daemon.api.app import make_app
from daemon.check import check_chain, check_database, speaking_of_database, wait_for
from daemon.errors import StartError
from daemon.settings import Api, Settings
from daemon.supervisor import Supervisor
from daemon.wiring import Parts, bank_settings, holder_name, make_loops, rpc_of, token_of

log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises :class:`daemon.errors.StartError` if it cannot begin."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    async with opened(settings, stop) as parts:
        if parts is None:
            return
        supervisor = Supervisor(
            parts.pool,
            holder_name(),
            settings.daemon.lease_ttl_s,
            make_loops(parts, await parts.custody.identity()),
        )
        async with _serving(parts, supervisor):
            await _until(stop, supervisor)
    log.info("stopped")


@asynccontextmanager
async def opened(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Parts | None]:
    """Open everything in order, each checked before the next; None if a stop came first."""
    async with AsyncExitStack() as stack:
        custody = await KeystoreCustody.open(settings.custody.keystore, settings.custody.password)
        pool = await wait_for(stop, lambda: connect_pool(settings))
        if pool is None:
            yield None
            return
        stack.push_async_callback(_close_pool, pool)
        rpc = await stack.enter_async_context(rpc_of(settings))
        bank = await stack.enter_async_context(RestBank(bank_settings(settings)))
        if await wait_for(stop, lambda: check_chain(rpc, settings)) is None:
            yield None
            return
        yield Parts(settings, pool, rpc, bank, custody, token_of(settings))


async def connect_pool(settings: Settings) -> asyncpg.Pool:
    """The daemon's connections. A transaction left idle is ended well before a lease can be taken over."""
    idle_limit_ms = int(settings.daemon.lease_ttl_s * 1000 / 2)
    await check_database(settings)
    with speaking_of_database(settings):
        pool: asyncpg.Pool = await asyncpg.create_pool(
            settings.database.url.get_secret_value(),
            min_size=2,
            max_size=settings.database.pool_size,
            command_timeout=30,
            timeout=10,
            server_settings={
                "application_name": "landbridge",
                "idle_in_transaction_session_timeout": str(idle_limit_ms),
                "lock_timeout": "10000",
            },
        )
    return pool


@asynccontextmanager
async def _serving(parts: Parts, supervisor: Supervisor) -> AsyncIterator[None]:
    app = make_app(parts.pool, parts.bank, parts.token, supervisor.facts, parts.settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await _listen(runner, parts.settings.api)
        log.info("listening", addresses=[f"http://{a[0]}:{a[1]}" for a in runner.addresses])
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, api: Api) -> None:
    try:
        await web.TCPSite(runner, api.host, api.port).start()
    except OSError as error:
        raise StartError(
            f"api.port: cannot listen at {api.host}:{api.port} ({error.strerror}); "
            "stop what listens there, or choose another api.host or api.port"
        ) from None


async def _until(stop: asyncio.Event, supervisor: Supervisor) -> None:
    running = asyncio.create_task(supervisor.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    supervisor.stop()
    await running
    stopping.cancel()


async def _close_pool(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), timeout=5)
    except TimeoutError:
        pool.terminate()
