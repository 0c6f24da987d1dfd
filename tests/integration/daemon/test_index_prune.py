"""``landbridge index prune``, by real commands beside a real daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from daemon.embedded.postgres import free_port
from tests.conftest import Database
from tests.integration.daemon.indexing import (
    WAIT_S,
    Site,
    chains,
    configured,
    indexed,
    migrated,
    shows,
    site,
    tree_of,
    values,
)
from tests.integration.daemon.running import Configuration, Daemon, eventually

TEN = list(range(10))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def main() -> AsyncIterator[Site]:
    async with site("main", 1011) as made:
        yield made


async def _pruned(configuration: Configuration, *options: str) -> dict[str, Any]:
    ended = await configuration.command("index", "prune", "--json", *options)
    assert ended.status == 0, ended.errors
    found: dict[str, Any] = json.loads(ended.output)
    return found


async def test_it_says_what_would_go_and_removes_that_and_views_stay_the_same(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    await indexed(configuration)
    block = str(main.coin.block + 3)
    made = await configuration.command(
        "index", "resync", "--contract", "main_coin", "--from", block
    )
    assert made.status == 0, made.errors
    await indexed(configuration)
    owner = await asyncpg.connect(database.owner_dsn)
    rows = await owner.fetch("SELECT * FROM chain.feed ORDER BY seq")
    would = await _pruned(configuration, "--keep-days", "0", "--dry-run", "--tables")
    assert would["dry_run"] is True
    assert await owner.fetch("SELECT * FROM chain.feed ORDER BY seq") == rows
    [chain] = would["chains"]
    assert (chain["to_seq"], chain["feed_rows"]) == (len(rows), len(rows) - 1)
    did = await _pruned(configuration, "--keep-days", "0")
    [without] = did["chains"]
    assert {**chain, "dropped": []} == without
    assert [row["seq"] for row in await owner.fetch("SELECT seq FROM chain.feed")] == [len(rows)]
    assert await values(database.owner_dsn, "main_coin_transfer") == TEN
    assert (await configuration.command("index", "verify")).status == 0
    ended = await configuration.command("index", "status", "--json")
    [status] = json.loads(ended.output)["chains"]
    retention = status["retention"]
    assert retention.pop("snapshot_age_s") < WAIT_S
    assert retention == {
        "keep_days": None,
        "feed_from": len(rows),
        "snapshot_seq": len(rows),
        "pruned_feed_rows": len(rows) - 1,
        "pruned_orphan_rows": 0,
    }
    await owner.close()


async def test_it_drops_the_tables_of_a_replaced_version_when_asked_to(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    daemon = Daemon(configuration, free_port())
    try:
        await daemon.start()
        await shows(database.owner_dsn, "main_coin_transfer", TEN, daemon)
        block = str(main.coin.block + 3)
        made = await configuration.command(
            "index", "resync", "--contract", "main_coin", "--from", block
        )
        assert made.status == 0, made.errors

        async def is_shown() -> bool:
            sources = (await chains(daemon))["main"]["sources"]
            return [one["state"] for one in sources] == ["retired", "joined"] and bool(
                sources[1]["published"]
            )

        await eventually("version 2 is shown", is_shown, WAIT_S, daemon.tail)
        # The feed's last row may still be one that speaks of the old version.
        await main.anvil.mine(2)

        async def is_dropped() -> bool:
            did = await _pruned(configuration, "--keep-days", "0", "--tables")
            dropped = did["chains"][0]["dropped"]
            return bool(
                dropped
                == [{"contract": "main_coin", "version": 1, "tables": ["main_coin_transfer"]}]
            )

        await eventually("the tables of version 1 are dropped", is_dropped, WAIT_S, daemon.tail)
        assert await values(database.owner_dsn, "main_coin_transfer") == TEN
        sources = (await chains(daemon))["main"]["sources"]
        assert [one["rows_estimate"] for one in sources] == [0, 10]
        await main.coin.transfer(10)
        await main.anvil.mine()
        await shows(database.owner_dsn, "main_coin_transfer", [*TEN, 10], daemon)
        assert (await chains(daemon))["main"]["state"] == "synced"
        await daemon.stop()
    finally:
        await daemon.close()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "chains.main.keep_days: is not set, so everything is kept"),
        (["--keep-days", "1", "--chain", "mian"], "did you mean main?"),
    ],
)
async def test_it_says_what_it_lacks(
    database: Database, tmp_path: Path, main: Site, arguments: list[str], why: str
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    ended = await configuration.command("index", "prune", *arguments)
    assert ended.status == 1
    assert why in ended.told[-1]


async def test_it_keeps_what_is_younger_than_the_settings_say(
    database: Database, tmp_path: Path, main: Site
) -> None:
    tree = tree_of(main)
    tree["chains.main"]["keep_days"] = 3
    configuration = configured(tmp_path, database, tree)
    await migrated(configuration)
    await indexed(configuration)
    ended = await configuration.command("index", "prune")
    assert ended.status == 0
    assert ended.output == (
        "chain main: nothing: no snapshot is old enough and passed by every consumer\n"
    )
