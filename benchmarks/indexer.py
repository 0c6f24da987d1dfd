"""The indexer without the bridge, as one process: ``benchmarks/peer``.

It migrates the database of ``DATABASE_URL``, whose role must be its owner, and follows
``Transfer(address,address,uint256)`` of the contract ``PEERS_ADDRESS`` on ``PEERS_RPC`` (with ``PEERS_WS`` for
heads, ``PEERS_CHAIN_ID``, and ``PEERS_FINALITY`` as a depth in blocks where the node's tag is not wanted) into
``v1.token_transfer`` until SIGTERM. ``LANDBRIDGE_PEER_VERIFY`` is a way to verify (none, bloom, full),
``LANDBRIDGE_PEER_RATE`` the requests a second that the provider allows, ``LANDBRIDGE_PEER_REDIS`` a Redis for the
feed's stream. It writes as the role
``landbridge_daemon``, which owns nothing.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import cast

import asyncpg
import uvloop

from daemon import migrations
from daemon.supervisor import Loop, Supervisor
from indexer import registry
from indexer.abi import Abi
from indexer.backfill import Backfill
from indexer.contract import Contract, Options, Verify
from indexer.follower import Follower, FollowerSettings, role
from indexer.heads import Heads
from indexer.lease import Fence
from indexer.pool import open_pool
from indexer.provider import ProviderSettings
from indexer.providers import Providers
from indexer.signature import parse

TRANSFER = "Transfer(address indexed from, address indexed to, uint256 value)"
MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
LEASE_TTL_S = 6.0
REDIS_TIMEOUT_S = 2.0


def contract() -> Contract:
    """What is followed, by the environment."""
    return Contract.from_abi(
        "token",
        int(os.environ["PEERS_CHAIN_ID"]),
        cast(Abi, [parse(TRANSFER)]),
        (bytes.fromhex(os.environ["PEERS_ADDRESS"].removeprefix("0x")),),
        options=Options(verify=cast(Verify, os.environ.get("LANDBRIDGE_PEER_VERIFY", "none"))),
    )


async def run() -> None:
    token, url = contract(), os.environ["DATABASE_URL"]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await migrations.migrate(url, MIGRATIONS)
    owner = await asyncpg.connect(url)
    await registry.register(owner, [token])
    await owner.close()
    node = ProviderSettings(
        name="peers",
        operator="peers",
        http_url=os.environ["PEERS_RPC"],
        ws_url=os.environ.get("PEERS_WS"),
        requests_per_s=float(rate) if (rate := os.environ.get("LANDBRIDGE_PEER_RATE")) else None,
    )
    pool = await open_pool(
        url,
        min_size=2,
        max_size=6,
        timeout_s=10,
        command_timeout_s=60,
        role="landbridge_daemon",
        application_name="landbridge",
    )
    async with (
        pool,
        Providers([node], verify_headers=token.options.verify == "full") as providers,
    ):
        await follow(pool, providers, token, stop)


async def follow(
    pool: asyncpg.Pool, providers: Providers, token: Contract, stop: asyncio.Event
) -> None:
    """Until ``stop``."""
    depth = os.environ.get("PEERS_FINALITY")
    settings = FollowerSettings(
        token.chain_id, finality_depth_blocks=int(depth) if depth else None, poll_interval_s=0.1
    )
    heads = Heads(providers.all) if os.environ.get("PEERS_WS") else None
    follower = Follower(pool, providers, [token], settings, heads)
    backfill = Backfill(pool, providers, [token], token.chain_id, follower.wake)

    committed = asyncio.Event()

    async def step(fence: Fence) -> bool:
        result = await follower.step(fence)
        if result.kind != "unchanged":
            committed.set()
        return result.more

    lease = role(token.chain_id)
    loops = [
        Loop("follower", lease, step, 0.1, rest=follower.rest, all_fenced=True),
        Loop("backfill", lease, backfill.step, 0.05, all_fenced=True),
    ]
    redis_url = os.environ.get("LANDBRIDGE_PEER_REDIS")
    if redis_url:
        loops.append(relay_loop(pool, redis_url, token.chain_id, committed))
    supervisor = Supervisor(pool, f"peer:{os.getpid()}", LEASE_TTL_S, loops)
    running = asyncio.create_task(supervisor.run())
    watching = asyncio.create_task(heads.run()) if heads else None
    await asyncio.wait(
        [running, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED
    )
    supervisor.stop()
    await running
    if watching:
        watching.cancel()
    await follower.forget()
    await backfill.close()


def relay_loop(pool: asyncpg.Pool, redis_url: str, chain_id: int, committed: asyncio.Event) -> Loop:
    """The feed's stream. Imported here, since who measures without Redis does not wait for its client."""
    from indexer.stream.redis_stream import client_of
    from indexer.stream.relay import Relay
    from indexer.stream.relay import role as relay_role

    relay = Relay(pool, client_of(redis_url, REDIS_TIMEOUT_S), chain_id, wake=committed)
    return Loop("relay", relay_role(chain_id), relay.step, 0.05, rest=relay.rest, all_fenced=True)


if __name__ == "__main__":
    uvloop.run(run())
