"""What a running daemon makes of bad days: it recovers by itself, and nothing is lost or done twice.

One daemon lives through all of them, with deposits and redemptions under way each time. Afterwards
chain, bank and database are asked one by one whether every deposit was minted once and every
redemption paid once and burned once.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from daemon import migrations
from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Database, execute
from tests.integration.daemon.audit import check_exact
from tests.integration.daemon.running import eventually
from tests.integration.daemon.staging import (
    BANK_TIMEOUT_S,
    DAEMON_ROLE,
    LEASE_TTL_S,
    RPC_TIMEOUT_S,
    opened,
)
from tests.integration.daemon.world import World

WAIT_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster() -> AsyncIterator[EmbeddedPostgres]:
    """A server of our own, to be stopped and killed."""
    async with EmbeddedPostgres(fsync=False) as server:
        yield server


@asynccontextmanager
async def migrated(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    password = secrets.token_urlsafe(24)
    await execute(server, "CREATE DATABASE bad_days")
    await migrations.migrate(server.dsn("bad_days"))
    await execute(server, f"ALTER ROLE {DAEMON_ROLE} LOGIN PASSWORD '{password}'")
    yield Database(
        "bad_days", server.dsn("bad_days"), server.dsn("bad_days", DAEMON_ROLE, password)
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(
    cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with (
        migrated(cluster) as database,
        opened(tmp_path_factory.mktemp("bad_days"), database, holders=4) as world,
    ):
        await world.daemon.start()
        for holder in world.holders:
            await world.pay_in(holder, 100_00)
        await world.settled()
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(running: World) -> AsyncIterator[World]:
    """The world; after the test everything must be settled, exactly once, and the daemon well."""
    pid = running.daemon.pid
    yield running
    await running.teller.forgive()
    await running.settled()
    await check_exact(running)
    ready = await running.daemon.get("/readyz")
    assert ready.status == 200, ready.text
    assert unforeseen(running.daemon.log_path.read_text()) == []
    assert running.daemon.pid == pid, "the daemon did not live through it"


def unforeseen(log: str) -> list[str]:
    """Failures that nobody foresaw. asyncpg stumbles over an answer to a connection that it has given up opening;
    that is asyncio's to tell, and without consequence."""
    return [
        line
        for line in log.splitlines()
        if "Traceback" in line and "asyncpg.connect_utils.TLSUpgradeProto" not in line
    ]


async def people_act(world: World) -> None:
    """Deposits by each channel, and redemptions, of everybody."""
    for number, holder in enumerate(world.holders):
        await world.pay_in(holder, 10_00 + number, ("normal", "never", "twice", "late")[number])
        await world.redeem(holder, 3_00 + number)


async def under_way(world: World) -> None:
    """Wait until some work is in the middle."""
    await eventually(
        "something is under way",
        lambda: world.owner.fetchval(
            """SELECT count(*) FROM bridge.operation
               WHERE state NOT IN ('settled', 'request_final', 'requested')"""
        ),
        WAIT_S,
    )


@pytest.mark.parametrize("how", ["restarted", "killed and recovered"])
async def test_postgres_goes_and_comes_back(
    cluster: EmbeddedPostgres, world: World, how: str
) -> None:
    await people_act(world)
    await under_way(world)
    if how == "restarted":
        await cluster.restart()
    else:
        await cluster.crash()
        # Longer than a lease: what runs under one must have been given up.
        await asyncio.sleep(LEASE_TTL_S + 1)
        ready = await world.daemon.get("/readyz")
        assert ready.status == 503
        assert "database.url" in ready.text
        assert (await world.daemon.get("/livez")).status == 200
        await cluster.restart()
    await people_act(world)


async def test_the_node_is_cut_off_for_longer_than_its_time_out_and_a_lease(world: World) -> None:
    """First it takes what is sent and its answers are lost; then it is away altogether."""
    await people_act(world)
    await under_way(world)

    async def not_ready() -> bool:
        return (await world.daemon.get("/readyz")).status == 503

    world.node_proxy.black_hole(replies_only=True)
    for holder in world.holders:
        await world.pay_in(holder, 20_00)
    await asyncio.sleep(RPC_TIMEOUT_S + 2)
    await world.node_proxy.refuse()
    try:
        await world.daemon.logs("did not answer")
        await eventually("somebody is told that the chain is not read", not_ready, WAIT_S)
        assert (await world.daemon.get("/status")).status == 200
        await people_act(world)
        await asyncio.sleep(LEASE_TTL_S + 1)
    finally:
        await world.node_proxy.heal()


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["error_500", "hang", "error_500", "hang"], id="it takes nothing in"),
        pytest.param(
            [
                "accept_then_timeout",
                "not_found_then_book",
                "accept_then_500",
                "accept_then_timeout",
            ],
            id="it accepts and does not say so",
        ),
    ],
)
async def test_the_bank_does_not_say_what_became_of_a_payment(
    world: World, kinds: list[str]
) -> None:
    for kind in kinds:
        await world.teller.plan("payments", kind, delay_s=BANK_TIMEOUT_S + 1)
    await world.teller.plan("payment_status", "error_500", count=2)
    for holder in world.holders:
        await world.redeem(holder, 1_00)

    async def played() -> bool:
        return (await world.teller.planned())["payments"] == 0

    await eventually("every fault was played", played, WAIT_S)


async def test_the_bank_answers_with_errors_then_hangs_then_is_mute_and_then_away(
    world: World,
) -> None:
    for operation in ("payments", "payment_status", "entries", "balance"):
        await world.teller.plan(operation, "error_500", count=2)
    for operation in ("entries", "balance"):
        await world.teller.plan(operation, "hang", delay_s=BANK_TIMEOUT_S + 1)
    since = len(world.daemon.log())
    await people_act(world)
    await world.daemon.logs("bank_poll_failed", since)

    async def played() -> bool:
        planned = await world.teller.planned()
        return planned["entries"] == planned["balance"] == 0

    await eventually("every fault was played", played, WAIT_S)
    world.bank_proxy.black_hole(replies_only=True)
    await people_act(world)
    await asyncio.sleep(LEASE_TTL_S + 1)
    await world.bank_proxy.refuse()
    await asyncio.sleep(1)
    await world.bank_proxy.heal()
