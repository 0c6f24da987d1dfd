"""Status, probes, metrics and the API's description, over a real database."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from bridge import halts, ledger
from bridge.breaks import Break, open_break
from bridge.lane import role
from bridge.ledger import Book, Transfer, move
from daemon.cache import StatusCache
from daemon.embedded.valkey import EmbeddedValkey
from daemon.facts import NodeFacts, holder_name
from daemon.health import LoopFacts
from daemon.status import read_status
from indexer import feed, lease
from indexer.heads import HeadsFacts
from indexer.lease import fenced
from indexer.provider import ProviderFacts
from indexer.stream.redis_stream import client_of
from tests.conftest import Database
from tests.integration.bridge.world import (
    CHAIN_ID,
    SIGNER,
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


FOLLOWING = f"follow:{CHAIN_ID}"
SUBMITTING = role(SIGNER)
INDEX_ONLY = SETTINGS.model_copy(update={"token": None, "bank": None, "signers": {}})


def loop(
    role: str, *, name: str | None = None, running: bool = True, error: str | None = None
) -> LoopFacts:
    kind = None if error is None else error.partition(":")[0]
    return LoopFacts(name or role, role, running, 0.1, error, restarts=2, error_kind=kind)


def follower(error: str | None = None) -> LoopFacts:
    return loop(FOLLOWING, name="follower:local", running=error is None, error=error)


async def test_before_anything_was_read_the_status_says_that_nothing_is_known(bare: Api) -> None:
    answer = await bare.get("/status")
    assert answer.status == 200
    (chain,) = answer.json["chains"]
    bridge = answer.json["bridge"]
    assert (chain["head"], chain["lag_blocks"], chain["lag_s"]) == (None,) * 3
    assert (chain["state"], chain["synced"]) == ("stopped", False)
    assert (chain["feed_seq"], chain["consumers"], chain["sources"]) == (0, {}, [])
    assert (chain["providers"], chain["heads"]) == ([], None)
    assert (chain["single_provider"], chain["quorum"], chain["finality"]) == (True, 1, "tag")
    unknown = ("supply", "reserve", "proof", "oldest_in_flight")
    assert [bridge[key] for key in unknown] == [None] * 4
    assert bridge["bank"] == {"read_through": None}


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
        await ledger.post(
            connection, TOKEN, [Transfer("d:1", move(Book.FUNDED, Book.RESERVE, 10525))]
        )
        await ledger.post(
            connection, TOKEN, [Transfer("m:1", move(Book.OUTSTANDING, Book.FUNDED, 500))]
        )
        await feed.position(connection, "bridge", CHAIN_ID)
        await open_break(connection, Break("amount", "warning", "entry:1", "odd"))
        await open_break(connection, Break("reversal", "critical", "entry:2", "odd"))
        await halts.halt(connection, "mint", "a drill", "maker")
    api.loops.append(follower())
    told = (await api.get("/status")).json
    (chain,) = told["chains"]
    assert (chain["name"], chain["id"], chain["state"]) == ("local", CHAIN_ID, "synced")
    assert (chain["head"], chain["finalized"], chain["lag_blocks"]) == (9, 5, 3)
    assert 29 <= chain["lag_s"] < 90
    assert chain["consumers"] == {"bridge": {"seq": 0, "lag": 0}}
    (token,) = chain["sources"]
    assert (token["name"], token["version"], token["state"]) == ("token", 1, "joined")
    assert (token["start_block"], token["percent"]) == (0, 100.0)
    bridge = told["bridge"]
    assert bridge["chain"] == "local"
    assert bridge["operations"] == {
        "issuance": {"funded": 1, "reserved": 1},
        "redemption": {"dropped": 1},
    }
    assert bridge["oldest_in_flight"]["state"] == "reserved"
    assert bridge["in_flight_transactions"] == 1
    assert bridge["breaks"] == {"open": {"amount": 1, "reversal": 1}, "critical": 1}
    assert (bridge["supply"], bridge["reserve"]) == ("500", "10525")
    assert [(lease["role"], lease["epoch"]) for lease in told["leases"]] == [
        (role, 1) for role in (FOLLOWING, "operate", "reconcile", SUBMITTING)
    ]
    assert [(halt["scope"], halt["opened_by"]) for halt in told["halts"]] == [("mint", "maker")]
    assert [(one["name"], one["restarts"]) for one in told["loops"]] == [("follower:local", 2)]


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
    proof = (await api.get("/status")).json["bridge"]["proof"]
    assert (proof["block"], proof["verdict"], proof["explanation"]) == (2, "agree", "so it is")
    assert 0 <= proof["age_s"] < 60


async def test_the_status_tells_how_the_daemons_own_nodes_and_sockets_fare(
    world: World, api: Api
) -> None:
    await add_chain(world, finalized=5, head=9)
    provider = ProviderFacts(
        name="node.example",
        operator="node.example",
        healthy=False,
        score=0.2,
        latency_ms=12.5,
        head_number=11,
        finalized_number=None,
        batch_calls=1,
        failures=3,
        max_blocks=2000,
        requests_per_s=None,
        missing_methods=("eth_getBlockReceipts",),
        requests_total=100,
        bytes_total=5000,
        last_failure="it did not answer",
    )
    heads = HeadsFacts(True, True, "node.example", 40.0, 12.0, 7, 2, None)
    api.nodes["local"] = NodeFacts((provider,), heads)
    (chain,) = (await api.get("/status")).json["chains"]
    assert chain["providers"][0]["head_number"] == 11
    assert chain["providers"][0]["missing_methods"] == ["eth_getBlockReceipts"]
    assert (chain["heads"]["mute"], chain["heads"]["block_time_s"]) == (True, 12.0)
    metrics = (await api.get("/metrics")).text
    assert 'landbridge_chain_provider_healthy{chain="local",provider="node.example"} 0.0' in metrics
    assert 'landbridge_chain_heads_mute{chain="local"} 1.0' in metrics


async def test_a_chain_rewritten_below_finality_is_said_plainly_everywhere(
    world: World, api: Api
) -> None:
    await add_chain(world, finalized=5, head=9)
    why = "DeepReorg: Chain 31337 was rewritten below its finalized block"
    async with world.pool.acquire() as connection:
        await connection.execute(
            "UPDATE ops.lease SET holder = $1 WHERE role = $2", holder_name(), FOLLOWING
        )
    api.loops.append(follower(why))
    (chain,) = (await api.get("/status")).json["chains"]
    assert (chain["state"], chain["synced"], chain["error"]) == ("rewritten", False, why)
    assert 'landbridge_chain_rewritten{chain="local"} 1.0' in (await api.get("/metrics")).text
    ready = await api.get("/readyz")
    assert ready.status == 503
    assert why in ready.json["reasons"][0]


async def test_an_index_only_daemon_has_no_bridge_and_no_webhook(world: World) -> None:
    await add_chain(world, finalized=5, head=9)
    async with served(world.pool, INDEX_ONLY) as api:
        answer = await api.get("/status")
        assert answer.json["bridge"] is None
        assert [chain["head"] for chain in answer.json["chains"]] == [9]
        metrics = (await api.get("/metrics")).text
        assert 'landbridge_chain_head_block{chain="local"} 9.0' in metrics
        assert "landbridge_supply_minor" not in metrics
        assert (await api.post("/v1/bank/webhook", b"{}", {})).status == 404
        assert "/v1/bank/webhook" not in (await api.get("/openapi.json")).json["paths"]


@pytest_asyncio.fixture(loop_scope="session")
async def cache(valkey: EmbeddedValkey) -> AsyncIterator[StatusCache]:
    redis = client_of(valkey.url)
    await redis.flushall()
    yield StatusCache(redis, "this database", 1, ttl_s=60)
    await redis.aclose()


async def test_of_two_daemons_with_a_cache_one_asks_the_database_and_each_tells_of_itself(
    world: World, cache: StatusCache
) -> None:
    await add_chain(world, finalized=5, head=9)
    async with (
        served(world.pool, cache=cache) as first,
        served(world.pool, cache=cache) as second,
    ):
        first.loops.append(follower())
        second.loops.append(follower("DeepReorg: at block 4"))
        (chain,) = (await first.get("/status")).json["chains"]
        assert (chain["head"], chain["state"]) == (9, "synced")
        async with fenced(world.pool, world.follow) as connection:
            await connection.execute("UPDATE chain.cursor SET node_head_number = 1000")
        told = (await second.get("/status")).json
        assert told["chains"][0]["node_head"] is None, "the database was asked again"
        assert told["chains"][0]["state"] == "rewritten"
        assert [loop["last_error"] for loop in told["loops"]] == ["DeepReorg: at block 4"]
        assert (await first.get("/status")).json["chains"][0]["state"] == "synced"
        assert 'landbridge_status_cache_total{outcome="hit"}' in (await first.get("/metrics")).text


async def test_a_status_of_another_shape_in_the_cache_is_no_status(
    world: World, cache: StatusCache
) -> None:
    await add_chain(world, finalized=5, head=9)
    await cache.set('{"chains": 5}')
    async with served(world.pool, cache=cache) as api:
        answer = await api.get("/status")
        assert (answer.status, answer.json["chains"][0]["head"]) == (200, 9)


async def test_neither_status_nor_metrics_tell_a_secret(api: Api) -> None:
    assert "hunter2" not in (await api.get("/status")).text
    assert "hunter2" not in (await api.get("/metrics")).text


async def test_the_command_line_reads_the_same_status_with_the_daemons_rights(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.daemon_dsn)
    try:
        status = await read_status(connection, SETTINGS)
    finally:
        await connection.close()
    assert [chain.id for chain in status.chains] == [CHAIN_ID]


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
    api.loops.append(follower())
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
    supply = written["components"]["schemas"]["BridgeStatus"]["properties"]["supply"]
    assert supply["anyOf"][0]["type"] == "string"
