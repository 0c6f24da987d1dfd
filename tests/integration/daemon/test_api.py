"""Status, probes, metrics and the API's description, over a real database."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from bridge import halts, ledger
from bridge.breaks import Break, open_break
from bridge.ledger import Book, move
from daemon.health import LoopFacts
from daemon.status import read_status
from daemon.wiring import holder_name
from indexer import feed, lease
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge.world import (
    CHAIN_ID,
    TOKEN,
    World,
    add_chain,
    add_issuance,
    add_redemption,
    allocate,
    digest,
    opened,
)
from tests.integration.daemon.served import SETTINGS, Api, served


@pytest_asyncio.fixture(loop_scope="session")
async def world(database: Database) -> AsyncIterator[World]:
    async with opened(database) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def api(world: World) -> AsyncIterator[Api]:
    async with served(world.pool) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def bare(database: Database) -> AsyncIterator[Api]:
    """The API of a daemon that has just been given a migrated database."""
    async with (
        asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=4) as pool,
        served(pool) as made,
    ):
        yield made


def loop(role: str, *, running: bool = True, error: str | None = None) -> LoopFacts:
    return LoopFacts(role, role, running, 0.1, error, restarts=2)


async def test_before_anything_was_read_the_status_says_that_nothing_is_known(bare: Api) -> None:
    answer = await bare.get("/status")
    assert answer.status == 200
    told = answer.json
    assert (told["chain"]["head"], told["chain"]["lag_blocks"], told["chain"]["lag_s"]) == (
        None,
    ) * 3
    assert (told["supply"], told["reserve"], told["proof"], told["oldest_in_flight"]) == (None,) * 4
    assert told["feed"] == {"seq": 0, "consumers": {}}
    assert told["bank"] == {"read_through": None}
    assert told["provider"]["single_provider"] is True


async def test_the_status_tells_where_both_ledgers_stand(world: World, api: Api) -> None:
    await add_chain(world, finalized=5, head=9)
    await add_issuance(world, "first", 10025, "approved", "reserved")
    await allocate(world, digest("op first"))
    await add_issuance(world, "second", 500)
    await add_redemption(world, "gone", 7, 100, "dropped")
    async with fenced(world.pool, world.follow) as connection:
        await connection.execute(
            """UPDATE chain.cursor SET node_head_number = 12,
                   head_timestamp_s = extract(epoch FROM now())::bigint - 30"""
        )
    async with fenced(world.pool, world.operate) as connection:
        await ledger.post(connection, TOKEN, "d:1", move(Book.FUNDED, Book.RESERVE, 10525))
        await ledger.post(connection, TOKEN, "m:1", move(Book.OUTSTANDING, Book.FUNDED, 500))
        await feed.position(connection, "bridge", CHAIN_ID)
        await open_break(connection, Break("amount", "warning", "entry:1", "odd"))
        await open_break(connection, Break("reversal", "critical", "entry:2", "odd"))
        await halts.halt(connection, "mint", "a drill", "maker")
    api.loops.append(loop("follow"))
    told = (await api.get("/status")).json
    assert told["chain"]["lag_blocks"] == 3
    assert 29 <= told["chain"]["lag_s"] < 90
    assert (told["chain"]["head"], told["chain"]["finalized"]) == (9, 5)
    assert told["feed"]["consumers"] == {"bridge": {"seq": 0, "lag": 0}}
    assert told["operations"] == {
        "issuance": {"funded": 1, "reserved": 1},
        "redemption": {"dropped": 1},
    }
    assert told["oldest_in_flight"]["state"] == "reserved"
    assert told["in_flight_transactions"] == 1
    assert told["breaks"] == {"open": {"amount": 1, "reversal": 1}, "critical": 1}
    assert (told["supply"], told["reserve"]) == ("500", "10525")
    assert [(lease["role"], lease["epoch"]) for lease in told["leases"]] == [
        (role, 1) for role in ("follow", "operate", "reconcile", "submit")
    ]
    assert [(halt["scope"], halt["opened_by"]) for halt in told["halts"]] == [("mint", "maker")]
    assert [(one["name"], one["restarts"]) for one in told["loops"]] == [("follow", 2)]


async def test_the_status_tells_the_newest_proof(world: World, api: Api) -> None:
    async with fenced(world.pool, world.reconcile) as connection:
        for block, verdict in ((1, "stale"), (2, "agree")):
            await connection.execute(
                """INSERT INTO recon.proof (chain_id, token, account_id, currency, block_number,
                       block_hash, reserve_minor, supply_minor, paid_not_burned, burned_not_paid,
                       funded_not_minted, suspense, fees, deficit, chain_supply, event_supply,
                       verdict, explanation)
                   VALUES ($1, $2, $3, 'EUR', $4, $5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, $6, 'so it is')""",
                CHAIN_ID,
                TOKEN.address,
                TOKEN.account_id,
                block,
                digest("b"),
                verdict,
            )
    proof = (await api.get("/status")).json["proof"]
    assert (proof["block"], proof["verdict"], proof["explanation"]) == (2, "agree", "so it is")
    assert 0 <= proof["age_s"] < 60


async def test_neither_status_nor_metrics_tell_a_secret(api: Api) -> None:
    assert "hunter2" not in (await api.get("/status")).text
    assert "hunter2" not in (await api.get("/metrics")).text


async def test_the_command_line_reads_the_same_status_with_the_daemons_rights(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.daemon_dsn)
    try:
        status = await read_status(connection, TOKEN, SETTINGS, [])
    finally:
        await connection.close()
    assert status.chain.id == CHAIN_ID


async def test_metrics_are_what_prometheus_reads(api: Api) -> None:
    answer = await api.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "landbridge_database_up 1.0\n" in answer.text
    assert 'landbridge_supply_minor{currency="EUR"} 0.0\n' in answer.text


async def test_however_many_ask_some_connections_are_left_to_the_loops(
    database: Database, world: World, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.api.database.TIMEOUT_S", 1.0)
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE bridge.operation IN ACCESS EXCLUSIVE MODE")
            asking = asyncio.gather(*(api.get("/status") for _ in range(20)))
            await asyncio.sleep(0.3)
            async with asyncio.timeout(0.5):
                assert await world.pool.fetchval("SELECT 1") == 1
            assert {answer.status for answer in await asking} == {503}
    finally:
        await owner.close()


async def test_a_process_that_answers_is_live(bare: Api) -> None:
    answer = await bare.get("/livez")
    assert (answer.status, answer.json) == (200, {"status": "live", "reasons": []})


@pytest.mark.parametrize("path", ["/livez", "/status", "/openapi.json"])
async def test_what_can_be_got_can_be_asked_for_by_head(bare: Api, path: str) -> None:
    answer = await bare.get(path, method="HEAD")
    assert (answer.status, answer.text) == (200, "")


async def test_ready_is_a_daemon_whose_loops_run_close_to_the_head(world: World, api: Api) -> None:
    await add_chain(world, finalized=5, head=9)
    api.loops.append(loop("follow"))
    answer = await api.get("/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ready", "reasons": []})


async def test_ready_is_a_daemon_that_stands_by_while_another_holds_the_lease(
    world: World, api: Api
) -> None:
    await add_chain(world, finalized=5, head=9)
    api.loops.append(loop("operate", running=False))
    assert (await api.get("/readyz")).status == 200


async def test_not_ready_is_a_daemon_whose_own_loop_fails(world: World, api: Api) -> None:
    async with world.pool.acquire() as connection:
        await lease.acquire(connection, "spare", holder_name(), 60)
    api.loops.append(loop("spare", running=False, error="RpcUnavailable: away"))
    answer = await api.get("/readyz")
    assert (answer.status, answer.json["status"]) == (503, "not_ready")
    assert answer.json["reasons"][0].endswith("RpcUnavailable: away")


async def test_lagging_is_a_daemon_that_is_far_behind_the_node(world: World, api: Api) -> None:
    await add_chain(world, finalized=5, head=9)
    async with fenced(world.pool, world.follow) as connection:
        await connection.execute("UPDATE chain.cursor SET node_head_number = 1000")
    answer = await api.get("/readyz")
    assert (answer.status, answer.json["status"]) == (503, "lagging")


async def test_not_ready_is_a_daemon_whose_schema_is_not_the_databases(
    database: Database, bare: Api
) -> None:
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await owner.execute("DELETE FROM ops.schema_version WHERE version = 8")
    finally:
        await owner.close()
    answer = await bare.get("/readyz")
    assert answer.status == 503
    assert "landbridge migrate" in answer.json["reasons"][0]


async def test_without_the_database_status_is_a_503_and_the_rest_says_so(
    database: Database,
) -> None:
    async with (
        asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=1) as pool,
        served(pool) as api,
    ):
        pool.terminate()
        status = await api.get("/status")
        assert (status.status, status.headers["Retry-After"]) == (503, "2")
        ready = await api.get("/readyz")
        assert (ready.status, ready.json["status"]) == (503, "not_ready")
        metrics = await api.get("/metrics")
        assert (metrics.status, "landbridge_database_up 0.0" in metrics.text) == (200, True)
        assert (await api.get("/livez")).status == 200


async def test_the_api_describes_every_route_of_its_own(bare: Api) -> None:
    written = json.loads((await bare.get("/openapi.json")).text)
    assert written["openapi"] == "3.1.0"
    assert {path: sorted(methods) for path, methods in written["paths"].items()} == {
        "/status": ["get"],
        "/metrics": ["get"],
        "/livez": ["get"],
        "/readyz": ["get"],
        "/v1/bank/webhook": ["post"],
        "/openapi.json": ["get"],
    }
    supply = written["components"]["schemas"]["Status"]["properties"]["supply"]
    assert supply["anyOf"][0]["type"] == "string"
