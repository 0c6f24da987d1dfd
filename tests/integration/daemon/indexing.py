"""What tests of an index have in common: chains with contracts on them, and settings that name them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from daemon.embedded.anvil import Anvil
from tests.conftest import Database
from tests.integration.daemon.echo import MADE, TRANSFER, Echo, deploy
from tests.integration.daemon.running import HOST, Configuration, Daemon, Ended, Tree, eventually

BLOCK_TIME_S = 0.3
WAIT_S = 90.0
# Deep enough that what was mined before is final.
FINAL_BLOCKS = 6


@dataclass(frozen=True, slots=True)
class Site:
    """A chain with two contracts: ``maker`` also tells of others that it made."""

    name: str
    chain_id: int
    anvil: Anvil
    coin: Echo
    maker: Echo

    async def settle(self) -> None:
        """What was sent is final."""
        await self.anvil.mine(FINAL_BLOCKS)

    async def head(self) -> int:
        return int(await self.anvil.rpc("eth_blockNumber"), 16)


@asynccontextmanager
async def site(name: str, chain_id: int, **options: Any) -> AsyncIterator[Site]:
    """A chain of its own, with ten transfers that are final."""
    async with Anvil(chain_id=chain_id, **options) as anvil:
        found = Site(name, chain_id, anvil, await deploy(anvil), await deploy(anvil))
        for number in range(10):
            await found.coin.transfer(number)
            await anvil.mine()
        await found.settle()
        yield found


def chain_section(one: Site, **more: Any) -> dict[str, Any]:
    found = {"id": one.chain_id, "rpc_urls": [one.anvil.url], "poll_interval_s": 0.1}
    return {**found, **more}


def coin_section(one: Site, **more: Any) -> dict[str, Any]:
    return {"chain": one.name, "address": one.coin.address, "events": [TRANSFER], **more}


def tree_of(*sites: Site) -> Tree:
    """Of each chain its coin, named after the chain."""
    tree: Tree = {"api": {"host": HOST}, "daemon": {"lease_ttl_s": 2.0}}
    for one in sites:
        tree[f"chains.{one.name}"] = chain_section(one)
        tree[f"contracts.{one.name}_coin"] = coin_section(one)
    return tree


def with_factory(tree: Tree, one: Site) -> Tree:
    """The same, with a factory and what it makes."""
    chain = {"chain": one.name}
    return {
        **tree,
        "contracts.maker": {**chain, "address": one.maker.address, "events": [MADE]},
        "contracts.child": {**chain, "events": [TRANSFER]},
        "contracts.child.factory": {"contract": "maker", "event": "Made", "parameter": "child"},
    }


def configured(folder: Path, database: Database, tree: Tree) -> Configuration:
    """Settings with a database, as its owner too: these tests migrate as often as they run."""
    return Configuration(
        folder,
        tree,
        {
            "PATH": "/usr/bin:/bin",
            "LANDBRIDGE_DATABASE__URL": database.daemon_dsn,
            "LANDBRIDGE_DATABASE__OWNER_URL": database.owner_dsn,
        },
    )


async def migrated(configuration: Configuration) -> list[str]:
    """Run `migrate`; what it says of contracts."""
    ended = await configuration.command("migrate")
    assert ended.status == 0, ended.errors
    return [line for line in ended.output.splitlines() if line.startswith("contract ")]


async def indexed(configuration: Configuration, *more: str) -> list[dict[str, Any]]:
    """Run `backfill` until it has caught up; what it said, line by line."""
    ended = await configuration.command("backfill", "--until-caught-up", "--json", *more)
    assert ended.status == 0, ended.errors
    return json_lines(ended)


def json_lines(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.output.splitlines()]


async def values(url: str, view: str) -> list[int]:
    """What a reader sees: the values of all transfers, in the chain's order."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            f"SELECT value FROM v1.{view} ORDER BY block_number, log_index"
        )
    finally:
        await connection.close()
    return [int(row["value"]) for row in rows]


async def shows(url: str, view: str, wanted: list[int], daemon: Daemon | None = None) -> None:
    """Wait until a view shows just these values."""

    async def is_so() -> bool:
        return await values(url, view) == wanted

    await eventually(f"{view} shows {wanted}", is_so, WAIT_S, daemon.tail if daemon else str)


async def chains(daemon: Daemon) -> dict[str, Any]:
    """What the daemon says of its chains, by name."""
    return {chain["name"]: chain for chain in (await daemon.get("/status")).json["chains"]}
