"""Daemons that audit: what they find is shown, one of several audits a chain, the token's differences stop money."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest_asyncio

from daemon.embedded.postgres import EmbeddedPostgres, free_port
from tests.conftest import Database, Template
from tests.integration.daemon.indexing import (
    WAIT_S,
    Site,
    chains,
    configured,
    migrated,
    site,
    tree_of,
)
from tests.integration.daemon.running import Configuration, Daemon, Tree, eventually
from tests.integration.daemon.staging import copied, opened

# Enough that a chain of these tests is read again and again.
OFTEN = 3_600_000
LEASES = "SELECT holder FROM ops.lease WHERE role = 'audit:1001' AND expires_at > clock_timestamp()"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def main() -> AsyncIterator[Site]:
    """A chain that mines only when told to."""
    async with site("main", 1001) as made:
        yield made


def audited(one: Site, blocks: int = OFTEN) -> Tree:
    tree = tree_of(one)
    tree["chains.main"]["audit_blocks_per_hour"] = blocks
    return tree


@asynccontextmanager
async def running(configuration: Configuration) -> AsyncIterator[Daemon]:
    daemon = Daemon(configuration, free_port())
    try:
        await daemon.start()
        yield daemon
    finally:
        await daemon.close()


@asynccontextmanager
async def owning(url: str) -> AsyncIterator[asyncpg.Connection]:
    owner = await asyncpg.connect(url)
    try:
        yield owner
    finally:
        await owner.close()


async def tamper(owner: asyncpg.Connection, statement: str) -> None:
    await owner.execute("SET session_replication_role = replica")
    assert (await owner.execute(statement)).endswith(" 1")
    await owner.execute("SET session_replication_role = origin")


async def audit_of(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = (await chains(daemon))["main"]["audit"]
    return found


async def until_audited(daemon: Daemon, percent: float = 100.0) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await audit_of(daemon)
        return found if found["percent"] >= percent and found["ranges"] else None

    return await eventually("all was audited", look, WAIT_S, daemon.tail)


async def metric(daemon: Daemon, name: str) -> float:
    text = (await daemon.get("/metrics")).text
    (value,) = (line.split()[-1] for line in text.splitlines() if line.startswith(name))
    return float(value)


async def test_what_was_tampered_with_is_shown_until_it_is_acknowledged(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, audited(main))
    await migrated(configuration)
    async with owning(database.owner_dsn) as owner, running(configuration) as daemon:
        told = await until_audited(daemon)
        assert (set(told["ranges"]), told["open"]) == ({"exact"}, 0)
        await tamper(owner, "UPDATE event.main_coin_transfer SET value = 77 WHERE value = 7")

        async def has_found() -> bool:
            return bool((await audit_of(daemon))["open"])

        await eventually("the difference is found", has_found, WAIT_S, daemon.tail)
        line = await daemon.logs("audit_differs")
        assert (line["level"], line["contract"]) == ("error", "main_coin")
        asking = configuration.changed(api={"port": daemon.port})
        # Repaired as the owner may, so that no more of it is found.
        await tamper(owner, "UPDATE event.main_coin_transfer SET value = 7 WHERE value = 77")
        found = (await audit_of(daemon))["differences"]
        assert await metric(daemon, "landbridge_chain_audit_differences") >= 1
        assert await metric(daemon, "landbridge_chain_audit_ratio") == 1
        table = (await asking.command("index", "status")).output
        assert f"DIFFERENCE {found[-1]['audit_id']}: contract main_coin (version 1)" in table
        assert (await daemon.get("/status")).json["halts"] == [], "there is no money to halt"
        assert (await daemon.get("/readyz")).status == 200
        for one in (await audit_of(daemon))["differences"]:
            ended = await asking.command(
                *("index", "acknowledge", str(one["audit_id"])),
                *("--by", "an operator", "--reason", "a drill"),
            )
            assert (ended.status, "is acknowledged" in ended.output) == (0, True)
        again = await asking.command(
            "index",
            "acknowledge",
            str(found[0]["audit_id"]),
            "--by",
            "an operator",
            "--reason",
            "x",
        )
        assert (again.status, again.told[-1].startswith("landbridge: there is no open")) == (
            1,
            True,
        )
        assert "DIFFERENCE" not in (await asking.command("index", "status")).output
        assert await daemon.stop() == 0
    assert "Traceback" not in daemon.log_path.read_text()


async def test_one_of_two_daemons_audits_and_the_other_goes_on_after_a_kill(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, audited(main))
    await migrated(configuration)
    async with (
        owning(database.owner_dsn) as owner,
        running(configuration) as first,
        running(configuration) as second,
    ):
        await until_audited(first)
        daemons = {(await one.get("/status")).json["holder"]: one for one in (first, second)}
        holder = await owner.fetchval(LEASES)
        busy = daemons.pop(holder)
        (idle,) = daemons.values()
        assert [await auditing(one) for one in (busy, idle)] == [True, False]
        await busy.kill()
        before = await owner.fetchval("SELECT max(audit_id) FROM chain.audit")

        async def goes_on() -> bool:
            newest = await owner.fetchval("SELECT max(audit_id) FROM chain.audit")
            return bool(newest > before) and await auditing(idle)

        await eventually("the other one audits", goes_on, WAIT_S, idle.tail)
        outcomes = await owner.fetch("SELECT DISTINCT outcome FROM chain.audit")
        assert [row["outcome"] for row in outcomes] == ["exact"]


async def auditing(daemon: Daemon) -> bool:
    loops = (await daemon.get("/status")).json["loops"]
    (found,) = (one["running"] for one in loops if one["name"] == "auditor:main")
    return bool(found)


async def test_a_chain_is_not_audited_where_the_settings_say_so(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, audited(main, 0))
    await migrated(configuration)
    async with running(configuration) as daemon:

        async def is_synced() -> bool:
            return bool((await chains(daemon))["main"]["synced"])

        await eventually("it is synced", is_synced, WAIT_S, daemon.tail)
        await asyncio.sleep(1)
        assert (await audit_of(daemon))["ranges"] == {}
        loops = (await daemon.get("/status")).json["loops"]
        assert not [one for one in loops if one["name"].startswith("auditor:")]
        table = (await configuration.changed(api={"port": daemon.port}).command("status")).output
        assert "not audited" in table


async def test_a_difference_of_the_deposit_token_halts_money(
    postgres: EmbeddedPostgres, template: Template, tmp_path: Path
) -> None:
    async with copied(postgres, template) as database, opened(tmp_path, database, 1) as world:
        # What is there is enough, and is soon looked at.
        await world.chain.rpc("evm_setIntervalMining", 0)
        configuration = world.configuration.changed(chains__local={"audit_blocks_per_hour": OFTEN})
        async with owning(database.owner_dsn) as owner, running(configuration) as daemon:

            async def has_audited() -> bool:
                return bool(await owner.fetchval("SELECT EXISTS (SELECT FROM chain.audit)"))

            await eventually("something was audited", has_audited, WAIT_S, daemon.tail)
            assert (await daemon.get("/status")).json["halts"] == []
            await tamper(
                owner,
                """UPDATE event.token_allowed SET account = '\\x1111111111111111111111111111111111111111'
                   WHERE ctid = (SELECT min(ctid) FROM event.token_allowed)""",
            )

            async def is_halted() -> bool:
                return bool((await daemon.get("/status")).json["halts"])

            await eventually("money is halted", is_halted, WAIT_S, daemon.tail)
            halt = (await daemon.get("/status")).json["halts"][0]
            assert (halt["scope"], halt["opened_by"]) == ("money", "auditor")
            assert halt["reason"].startswith("auditor: the tables of contract token differ")
