"""An index by configuration alone: real commands and daemons, on real chains and a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from daemon.embedded.postgres import free_port
from tests.conftest import Database
from tests.faultproxy import FaultProxy
from tests.integration.daemon.echo import TRANSFER, deploy
from tests.integration.daemon.indexing import (
    BLOCK_TIME_S,
    WAIT_S,
    Site,
    chain_section,
    chains,
    configured,
    indexed,
    json_lines,
    migrated,
    shows,
    site,
    tree_of,
    values,
    with_factory,
)
from tests.integration.daemon.running import HOST, Configuration, Daemon, eventually
from tests.integration.daemon.served import listening
from tests.unit.daemon.statuses import FULL

TEN = list(range(10))
# Public like Anvil's own, and of other accounts, so the chain has another genesis.
OTHER = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def main() -> AsyncIterator[Site]:
    """A chain that mines only when told to; tests of this module add to it."""
    async with site("main", 1001) as made:
        yield made


@asynccontextmanager
async def running(configuration: Configuration) -> AsyncIterator[Daemon]:
    daemon = Daemon(configuration, free_port())
    try:
        await daemon.start()
        yield daemon
    finally:
        await daemon.close()


async def synced(daemon: Daemon, name: str = "main") -> dict[str, Any]:
    """Wait until a chain is synced; what is said of it."""

    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await chains(daemon))[name]
        return found if found["synced"] else None

    return await eventually(f"{name} is synced", look, WAIT_S, daemon.tail)


async def test_two_chains_are_followed_by_one_daemon_and_one_goes_on_when_the_other_is_gone(
    database: Database, tmp_path: Path
) -> None:
    async with (
        site("left", 2001, block_time_s=BLOCK_TIME_S) as left,
        site("right", 2002, block_time_s=BLOCK_TIME_S) as right,
        FaultProxy(HOST, right.anvil.port) as proxy,
    ):
        tree = tree_of(left, right)
        tree["chains.right"]["rpc_urls"] = [f"http://{proxy.address}"]
        configuration = configured(tmp_path, database, tree)
        assert await migrated(configuration) == [
            "contract left_coin is new: it will be indexed from its start",
            "contract right_coin is new: it will be indexed from its start",
        ]
        async with running(configuration) as daemon:
            await synced(daemon, "left")
            await synced(daemon, "right")
            await left.coin.transfer(100)
            await right.coin.transfer(200)
            await shows(database.owner_dsn, "left_coin_transfer", [*TEN, 100], daemon)
            await shows(database.owner_dsn, "right_coin_transfer", [*TEN, 200], daemon)
            assert (await daemon.get("/readyz")).json == {"status": "ready", "reasons": []}
            await proxy.refuse()

            async def is_told() -> bool:
                answer = await daemon.get("/readyz")
                return answer.status == 503 and "follower:right" in answer.text

            await eventually("the chain that is gone is told of", is_told, WAIT_S, daemon.tail)
            await left.coin.transfer(101)
            await shows(database.owner_dsn, "left_coin_transfer", [*TEN, 100, 101], daemon)
            told = await chains(daemon)
            assert (told["left"]["state"], told["right"]["state"]) == ("synced", "failing")
            assert told["right"]["error"] is not None
            status = (await daemon.get("/status")).json
            assert (status["bridge"], status["halts"]) == (None, [])
            await proxy.heal()
            await right.coin.transfer(201)
            await shows(database.owner_dsn, "right_coin_transfer", [*TEN, 200, 201], daemon)
            await synced(daemon, "right")
            assert await daemon.stop() == 0
        assert "Traceback" not in daemon.log_path.read_text()


async def test_a_chain_rewritten_below_finality_is_said_and_the_other_one_goes_on(
    database: Database, tmp_path: Path, main: Site
) -> None:
    async with site("broken", 2003) as broken:
        configuration = configured(tmp_path, database, tree_of(main, broken))
        await migrated(configuration)
        async with running(configuration) as daemon:
            await synced(daemon, "main")
            await synced(daemon, "broken")
            before = await values(database.owner_dsn, "broken_coin_transfer")
            await broken.anvil.rpc("anvil_reorg", 12, [])
            await broken.settle()

            async def is_told() -> bool:
                return bool((await chains(daemon))["broken"]["state"] == "rewritten")

            await eventually("it is told", is_told, WAIT_S, daemon.tail)
            told = await chains(daemon)
            assert "was rewritten below its finalized block" in told["broken"]["error"]
            assert told["main"]["state"] == "synced"
            assert (await daemon.get("/status")).json["halts"] == [], "there is no money to halt"
            assert (await daemon.get("/readyz")).status == 503
            assert await values(database.owner_dsn, "broken_coin_transfer") == before
            asking = configuration.changed(api={"port": daemon.port})
            table = (await asking.command("index", "status")).output
            assert table.startswith("CHAIN broken WAS REWRITTEN BELOW ITS FINALIZED BLOCK")


async def test_a_contract_that_is_added_is_filled_in_and_one_that_is_dropped_stays_as_it_was(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    async with running(configuration) as daemon:
        await shows(database.owner_dsn, "main_coin_transfer", TEN, daemon)
        child = await deploy(main.anvil)
        await main.maker.made(child.address, 1)
        await main.anvil.mine()
        await child.transfer(7)
        await main.settle()
        more = configured(tmp_path, database, with_factory(tree_of(main), main))
        assert await migrated(more) == [
            "contract main_coin is unchanged (version 1)",
            "contract maker is new: it will be indexed from its start",
            "contract child is new: it will be indexed from its start",
        ]
    async with running(more) as daemon:
        await shows(database.owner_dsn, "child_transfer", [7], daemon)
        await synced(daemon)
        assert await values(database.owner_dsn, "main_coin_transfer") == TEN
        await daemon.stop()
    fewer = configured(tmp_path, database, tree_of(main))
    assert await migrated(fewer) == [
        "contract main_coin is unchanged (version 1)",
        "contract child is not in the settings any more: it is not followed further, and its rows stay",
        "contract maker is not in the settings any more: it is not followed further, and its rows stay",
    ]
    assert await values(database.owner_dsn, "child_transfer") == [7]


async def test_a_daemon_whose_contracts_were_not_migrated_does_not_start_and_says_what_to_do(
    database: Database, tmp_path: Path, main: Site
) -> None:
    ended = await configured(tmp_path, database, tree_of(main)).command("run")
    assert ended.status == 1
    (line,) = ended.told
    assert "Run `landbridge migrate`" in line


async def test_a_node_of_another_chain_ends_the_start_with_one_line(
    database: Database, tmp_path: Path, main: Site
) -> None:
    tree = tree_of(main)
    tree["chains.main"]["id"] = 5
    ended = await configured(tmp_path, database, tree).command("run")
    assert ended.status == 1
    (line,) = ended.told
    assert line.startswith("landbridge: chains.main: ")
    assert "chains.main.rpc_urls" in line
    assert "chains.main.id says 5" in line
    assert "is on chain 1001" in line


async def test_a_daemon_starts_though_the_node_of_a_chain_is_away_and_follows_it_when_it_comes(
    database: Database, tmp_path: Path, main: Site
) -> None:
    async with FaultProxy(HOST, main.anvil.port) as proxy:
        tree = tree_of(main)
        tree["chains.main"]["rpc_urls"] = [f"http://{proxy.address}"]
        configuration = configured(tmp_path, database, tree)
        await migrated(configuration)
        await proxy.refuse()
        async with running(configuration) as daemon:
            assert (await chains(daemon))["main"]["state"] in ("stopped", "failing", "waiting")
            await proxy.heal()
            await shows(database.owner_dsn, "main_coin_transfer", TEN, daemon)


async def test_a_backfill_that_was_killed_goes_on_and_ends_when_all_is_there(
    database: Database, tmp_path: Path, main: Site
) -> None:
    tree = tree_of(main)
    chain = tree["chains.main"]
    slow = {
        **tree,
        "chains.main": {**chain, "rpc_urls": []},
        "chains.main.providers.slow": {
            "http_url": main.anvil.url,
            "requests_per_s": 4.0,
            "max_blocks": 1,
        },
    }
    await migrated(configured(tmp_path, database, tree))
    killed = Daemon(configured(tmp_path, database, slow), free_port(), "backfill")
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await killed.launch()

        async def has_begun() -> bool:
            return bool(await owner.fetchval("SELECT count(*) > 1 FROM chain.coverage"))

        await eventually("it has begun", has_begun, WAIT_S, killed.tail)
        await killed.kill()
        covered = await owner.fetchval("SELECT max(to_block) FROM chain.coverage")
        final = await owner.fetchval("SELECT finalized_number FROM chain.cursor")
        assert covered < final, "it was done before it was killed"
        assert await values(database.owner_dsn, "main_coin_transfer") == []
    finally:
        await killed.close()
        await owner.close()
    lines = await indexed(configured(tmp_path, database, tree))
    assert lines[-1]["caught_up"] is True
    (coin,) = lines[-1]["contracts"]
    assert (coin["contract"], coin["state"], coin["percent"]) == ("main_coin", "joined", 100.0)
    assert await values(database.owner_dsn, "main_coin_transfer") == TEN


async def test_a_backfill_says_in_lines_how_far_it_is_where_there_is_no_terminal(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    ended = await configuration.command("backfill", "--until-caught-up")
    assert ended.status == 0
    assert ended.output.splitlines()[-1].startswith("main main_coin: joined, ")
    assert "(100.0 %), about 10 rows, " in ended.output


async def test_a_backfill_that_can_never_end_says_why(
    database: Database, tmp_path: Path, main: Site
) -> None:
    await migrated(configured(tmp_path, database, tree_of(main)))
    await indexed(configured(tmp_path, database, tree_of(main)))
    # Another chain of the same id: its genesis is not the one that is in the database.
    async with site("main", 1001, mnemonic=OTHER) as other:
        tree = tree_of(main)
        tree["chains.main"] = chain_section(other)
        ended = await configured(tmp_path, database, tree).command("backfill", "--until-caught-up")
    assert ended.status == 1
    assert "genesis" in ended.told[-1]


async def test_the_index_is_verified_and_what_was_tampered_with_is_told_and_read_again(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    await indexed(configuration)
    ended = await configuration.command("index", "verify")
    assert (ended.status, ended.output.startswith("ok    contract main_coin")) == (0, True)
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        rows = await owner.fetch("SELECT block_number FROM event.main_coin_transfer ORDER BY 1")
        await owner.execute("SET session_replication_role = replica")
        await owner.execute("UPDATE event.main_coin_transfer SET value = 77 WHERE value = 7")
        await owner.execute("DELETE FROM event.main_coin_transfer WHERE value = 8")
    finally:
        await owner.close()
    ended = await configuration.command("index", "verify", "--json")
    assert ended.status == 1
    table = json.loads(ended.output)["contracts"][0]["tables"]["event.main_coin_transfer"]
    assert (table["missing"], table["extra"], table["different"]) == (1, 0, 1)
    assert table["shown"][0]["columns"] == [{"column": "value", "chain": "7", "table": "77"}]
    before = str(rows[6]["block_number"])
    clean = await configuration.command(
        "index", "verify", "--contract", "main_coin", "--to", before
    )
    assert clean.status == 0
    broken = str(rows[7]["block_number"])
    made = await configuration.command(
        "index", "resync", "--contract", "main_coin", "--from", broken
    )
    assert (made.status, "version 2" in made.output) == (0, True)
    assert 77 in await values(database.owner_dsn, "main_coin_transfer"), "readers lost something"
    await indexed(configuration)
    assert await values(database.owner_dsn, "main_coin_transfer") == TEN
    assert (await configuration.command("index", "verify")).status == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--contract", "main_cion", "--from", "3"], "did you mean main_coin?"),
        (["--contract", "main_coin", "--from", "1000000"], "choose a block between them"),
        (["--contract", "main_coin", "--from", "1"], "choose a block between them"),
    ],
)
async def test_a_resync_that_makes_no_sense_is_refused(
    database: Database, tmp_path: Path, main: Site, arguments: list[str], why: str
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    await indexed(configuration)
    ended = await configuration.command("index", "resync", *arguments)
    assert ended.status == 1
    assert why in ended.told[-1]


async def test_a_running_daemon_takes_up_what_a_resync_has_made(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    async with running(configuration) as daemon:
        await shows(database.owner_dsn, "main_coin_transfer", TEN, daemon)
        block = str(main.coin.block + 3)
        made = await configuration.command(
            "index", "resync", "--contract", "main_coin", "--from", block
        )
        assert made.status == 0, made.errors

        async def is_replaced() -> bool:
            sources = (await chains(daemon))["main"]["sources"]
            return [(one["version"], one["state"]) for one in sources] == [
                (1, "retired"),
                (2, "joined"),
            ]

        await eventually("version 2 has joined", is_replaced, WAIT_S, daemon.tail)
        assert await values(database.owner_dsn, "main_coin_transfer") == TEN


async def test_the_index_status_has_what_the_daemon_knows_of_its_providers(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    async with running(configuration) as daemon:
        await synced(daemon)
        asking = configuration.changed(api={"port": daemon.port})
        ended = await asking.command("index", "status", "--json")
        (chain,) = json.loads(ended.output)["chains"]
        assert chain["state"] == "synced"
        assert chain["providers"][0]["healthy"] is True
        table = await asking.command("status")
        assert table.status == 0
        assert "follower:main" in table.output
        await daemon.stop()
    (chain,) = json.loads((await configuration.command("index", "status", "--json")).output)[
        "chains"
    ]
    assert (chain["state"], chain["synced"], chain["providers"]) == ("stopped", False, [])


async def test_whoever_else_answers_at_the_port_is_not_believed(
    database: Database, tmp_path: Path, main: Site
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=FULL.model_dump_json(), content_type="application/json")

    stranger = web.Application()
    stranger.router.add_get("/status", answer)
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    async with listening(stranger) as served:
        asking = configuration.changed(api={"port": URL(served.base).port})
        told = json.loads((await asking.command("status", "--json")).output)
    assert told["loops"] == []
    assert (told["chains"][0]["name"], told["chains"][0]["providers"]) == ("main", [])


async def test_check_tells_of_each_provider_what_it_can_do(
    database: Database, tmp_path: Path, main: Site
) -> None:
    tree = tree_of(main)
    tree["chains.main"]["ws_urls"] = [f"ws://{HOST}:{main.anvil.port}/?key=s3cret"]
    tree["chains.main"]["rpc_urls"].append(f"http://{HOST}:1/s3cret")
    tree["contracts.gone"] = {"address": "0x" + "11" * 20, "events": [TRANSFER]}
    configuration = configured(tmp_path, database, tree).changed(
        {"LANDBRIDGE_REDIS__URL": f"redis://:s3cret@{HOST}:1/0"}
    )
    await migrated(configuration)
    ended = await configuration.command("check", "--json")
    assert ended.status == 1
    assert "s3cret" not in ended.output + ended.errors
    found = {each["name"]: each for each in json.loads(ended.output)["checks"]}
    providers = ["main/127.0.0.1", "main/127.0.0.1-2"]
    assert list(found) == ["database", *providers, "main_coin", "gone", "redis"]
    assert found["redis"]["fault"].startswith("redis.url: Redis does not answer")
    abilities = found["main/127.0.0.1"]["facts"]["abilities"]
    words = {name: word for name, (word, _) in abilities.items()}
    assert words == dict.fromkeys(
        (
            *("genesis", "head", "finalized", "batch", "logs", "receipts", "verifiable"),
            *("archive", "websocket"),
        ),
        "yes",
    )
    assert "does not answer" in found["main/127.0.0.1-2"]["fault"]
    assert found["gone"]["fault"].startswith(
        "contracts.gone.address: there is no contract at 0x1111111111111111111111111111111111111111"
    )
    assert found["main_coin"]["fault"] is None


async def test_two_daemons_share_the_chains_and_each_is_ready(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    async with running(configuration) as first, running(configuration) as second:
        await synced(first)
        await asyncio.sleep(1)
        assert (await second.get("/readyz")).status == 200
        assert (await chains(second))["main"]["state"] == "synced"
        await first.kill()

        async def has_taken_over() -> bool:
            return any(loop["running"] for loop in (await second.get("/status")).json["loops"])

        await eventually("the second takes over", has_taken_over, WAIT_S, second.tail)


async def test_json_lines_are_one_object_each(
    database: Database, tmp_path: Path, main: Site
) -> None:
    configuration = configured(tmp_path, database, tree_of(main))
    await migrated(configuration)
    ended = await configuration.command("backfill", "--until-caught-up", "--json")
    for line in json_lines(ended):
        assert set(line) == {"caught_up", "contracts", "errors"}
