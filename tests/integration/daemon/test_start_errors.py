"""What keeps the daemon from starting: one clear line, and an end or a wait, whichever can help."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from yarl import URL

from daemon.check import check_all
from daemon.embedded.postgres import EmbeddedPostgres
from daemon.settings import load
from tests.conftest import Database, Template
from tests.integration.daemon.audit import check_exact
from tests.integration.daemon.running import Configuration, Daemon, Ended
from tests.integration.daemon.staging import copied, opened
from tests.integration.daemon.world import World

WAIT_S = 90.0

Change = Callable[[World], Configuration]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database(postgres: EmbeddedPostgres, template: Template) -> AsyncIterator[Database]:
    async with copied(postgres, template) as copy:
        yield copy


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Every part is there and well; no daemon runs."""
    async with opened(tmp_path_factory.mktemp("start"), database, holders=1) as made:
        yield made


def setting(**sections: Any) -> Change:
    return lambda world: world.configuration.changed(**sections)


def variable(name: str, value: str) -> Change:
    return lambda world: world.configuration.changed({f"LANDBRIDGE_{name}": value})


def database_url(**changed: Any) -> Change:
    """The database's URL with other parts: with_user, with_password, with_path…"""

    def change(world: World) -> Configuration:
        url = URL(world.configuration.environment["LANDBRIDGE_DATABASE__URL"])
        for part, value in changed.items():
            url = getattr(url, f"with_{part}")(value)
        return world.configuration.changed({"LANDBRIDGE_DATABASE__URL": str(url)})

    return change


def no_keystore(world: World) -> Configuration:
    path = world.configuration.folder / "no_keystore.json"
    path.write_text("{}")
    return world.configuration.changed(signers__minter={"keystore": str(path)})


def occupied_port(world: World) -> Configuration:
    return world.configuration.changed(api={"port": world.chain.port})


def shows_no_secret(world: World, text: str) -> bool:
    secrets = [
        *(world.secrets.api_key, world.secrets.webhook_secret),
        str(URL(world.configuration.environment["LANDBRIDGE_DATABASE__URL"]).password),
        world.configuration.environment["LANDBRIDGE_SIGNERS__MINTER__PASSWORD"],
    ]
    return not [secret for secret in secrets if secret in text] and "hunter2" not in text


@pytest.mark.parametrize(
    ("change", "names", "remedy"),
    [
        pytest.param(
            setting(chains__local={"id": 1}),
            "chains.local: ",
            "correct one of the two",
            id="wrong chain id",
        ),
        pytest.param(
            setting(token={"address": "0x" + "11" * 20}),
            "token.address: there is no contract at 0x1111111111111111111111111111111111111111",
            "correct the address",
            id="no contract code",
        ),
        pytest.param(
            setting(signers__minter={"keystore": "/nowhere/keystore.json"}),
            "signers.minter.keystore",
            "give the path",
            id="no keystore",
        ),
        pytest.param(
            variable("SIGNERS__MINTER__PASSWORD", "hunter2"),
            "signers.minter.password",
            "LANDBRIDGE_SIGNERS__MINTER__PASSWORD",
            id="wrong keystore password",
        ),
        pytest.param(occupied_port, "api.port", "choose another", id="the port is taken"),
    ],
)
async def test_what_waiting_cannot_help_ends_the_start_with_one_line(
    world: World, change: Change, names: str, remedy: str
) -> None:
    ended = await change(world).command("run")
    check_one_line(world, ended, names, remedy)


def check_one_line(world: World, ended: Ended, names: str, remedy: str) -> None:
    assert ended.status == 1
    (line,) = ended.told
    assert line.startswith("landbridge: ")
    assert names in line
    assert remedy in line
    assert ended.output == ""
    assert "Traceback" not in ended.errors
    assert shows_no_secret(world, ended.errors)


@asynccontextmanager
async def altered(database: Database, world: World, statement: str) -> AsyncIterator[Configuration]:
    """The world's settings, with a database that was altered; put right afterwards."""
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        saved = await owner.fetch("SELECT * FROM ops.schema_version")
        await owner.execute(statement)
        yield world.configuration
        await owner.execute("DELETE FROM ops.schema_version")
        await owner.executemany(
            "INSERT INTO ops.schema_version VALUES ($1, $2, $3, $4)", [tuple(row) for row in saved]
        )
    finally:
        await owner.close()


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        pytest.param(
            """INSERT INTO ops.schema_version (version, name, checksum)
               VALUES (9999, '9999_see_future', sha256('x'))""",
            "The database has migration 9999_see_future, which this version of the program does "
            "not have. Run the version that applied it",
            id="ahead",
        ),
        pytest.param(
            """DELETE FROM ops.schema_version
               WHERE version = (SELECT max(version) FROM ops.schema_version)""",
            "Run `landbridge migrate`",
            id="behind",
        ),
    ],
)
async def test_a_database_of_another_version_ends_the_start_with_one_line(
    database: Database, world: World, statement: str, remedy: str
) -> None:
    async with altered(database, world, statement) as configuration:
        check_one_line(world, await configuration.command("run"), "database.url", remedy)


async def test_a_database_without_the_tokens_tables_ends_the_start_and_asks_for_migrate(
    world: World,
) -> None:
    configuration = world.configuration.changed(token={"contract": "euro"})
    ended = await configuration.command("run")
    check_one_line(world, ended, "(euro, token)", "Run `landbridge migrate`")
    owner = str(URL(world.owner_dsn))
    as_owner = {"LANDBRIDGE_DATABASE__OWNER_URL": owner}
    migrated = await configuration.changed(as_owner).command("migrate")
    assert migrated.status == 0
    assert [line for line in migrated.output.splitlines() if line.startswith("contract")] == [
        "contract euro is new: it will be indexed from its start",
        "contract token is not in the settings any more: it is not followed further, and its rows stay",
    ]
    settings = load(configuration.write(), configuration.environment)
    assert [each.fault for each in await check_all(settings)] == [None] * 6
    back = await world.configuration.changed(as_owner).command("migrate")
    assert "contract token is again as it was in version 1, which is followed again" in back.output


async def test_check_is_content_when_all_is_well(world: World) -> None:
    ended = await world.configuration.command("check")
    assert ended.status == 0
    told = [line for line in ended.output.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in told] == ["ok"] * 6
    abilities = [line.split()[0] for line in ended.output.splitlines() if line.startswith(" ")]
    assert abilities == [
        *("genesis", "head", "finalized", "batch", "logs", "receipts", "verifiable", "archive"),
        "websocket",
    ]
    assert shows_no_secret(world, ended.output + ended.errors)


async def test_check_tells_all_faults_at_once_and_no_secret(world: World) -> None:
    configuration = world.configuration.changed(
        {"LANDBRIDGE_DATABASE__URL": "postgresql://hunter2:hunter2@127.0.0.1:1/x"},
        chains__local__providers__node={"http_url": "http://hunter2:hunter2@127.0.0.1:1/hunter2"},
        bank={"base_url": "http://127.0.0.1:1/hunter2"},
        signers__minter={"keystore": "/nowhere"},
    )
    ended = await configuration.command("check", "--json")
    assert ended.status == 1
    told = json.loads(ended.output)
    assert told["ok"] is False
    names = [each["name"] for each in told["checks"]]
    assert names == ["database", "local/node", "bank", "signers.minter"]
    assert [each["fault"].partition(": ")[0] for each in told["checks"]] == [
        "database.url",
        "chains.local",
        "bank.base_url",
        "signers.minter.keystore",
    ]
    assert shows_no_secret(world, ended.output + ended.errors)
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize(
    ("change", "names", "remedy"),
    [
        pytest.param(
            setting(token={"decimals": 4}), "token.decimals", "must be equal", id="other decimals"
        ),
        pytest.param(no_keystore, "signers.minter.keystore", "give the path", id="not a keystore"),
        pytest.param(
            database_url(password="hunter2"), "database.url", "mend the URL", id="wrong login"
        ),
        pytest.param(
            database_url(path="/nowhere"), "database.url", "create it", id="no such database"
        ),
        pytest.param(
            variable("DATABASE__URL", "mysql://hunter2@127.0.0.1/x"),
            "database.url",
            "write postgresql://",
            id="no Postgres URL",
        ),
        pytest.param(
            variable("BANK__API_KEY", "hunter2"),
            "bank.api_key",
            "give the key",
            id="wrong bank key",
        ),
    ],
)
async def test_check_names_the_setting_and_the_remedy(
    world: World, change: Change, names: str, remedy: str
) -> None:
    configuration = change(world)
    settings = load(configuration.write(), configuration.environment)
    faults = [each.fault for each in await check_all(settings) if each.fault is not None]
    (fault,) = faults
    assert fault.startswith(f"{names}: ")
    assert remedy in fault
    assert shows_no_secret(world, fault)


async def test_faulty_settings_end_the_start_with_a_line_for_each(world: World) -> None:
    configuration = world.configuration.changed(
        {"LANDBRIDGE_BANK__API_KY": "hunter2", "LANDBRIDGE_BANK__WEBHOOK_SECRETS": "hunter2"},
        chains__local={"id": 0, "rpc_ulr": "x"},
    )
    ended = await configuration.command("run")
    assert ended.status == 2
    assert [line.split(": ")[1] for line in ended.told] == [
        "LANDBRIDGE_BANK__API_KY",
        "chains.local.id",
        "chains.local.rpc_ulr",
        "bank.webhook_secrets",
    ]
    assert shows_no_secret(world, ended.errors)


async def test_the_daemon_waits_for_postgres_node_and_bank_and_then_starts_by_itself(
    world: World,
) -> None:
    proxies = (world.database_proxy, world.node_proxy, world.bank_proxy)
    for proxy in proxies:
        await proxy.refuse()
    daemon = world.daemon
    await daemon.launch()
    await waits_for(daemon, "database.url: Postgres at 127.0.0.1")
    await world.database_proxy.heal()
    await waits_for(daemon, "chains.local.rpc_urls: the node does not answer")
    await world.node_proxy.heal()
    await daemon.serves()
    await daemon.logs("(bank.base_url) does not answer")
    deposit = await world.pay_in(world.holders[0], 12_34, webhook="never")
    assert daemon.told() == []
    assert shows_no_secret(world, daemon.log_path.read_text())
    await world.bank_proxy.heal()
    await world.minted(deposit)
    await world.settled()
    await check_exact(world)
    assert await daemon.stop() == 0


async def waits_for(daemon: Daemon, why: str) -> None:
    line = await daemon.logs(why)
    assert line["event"] == "waiting"
    assert line["again_in_s"] > 0


@pytest.mark.parametrize("away", ["database_proxy", "node_proxy"])
async def test_a_daemon_that_waits_at_its_start_ends_when_told_to(world: World, away: str) -> None:
    proxy = getattr(world, away)
    await proxy.refuse()
    try:
        daemon = Daemon(world.configuration, world.daemon.port)
        before = len(daemon.log())
        await daemon.launch()
        await daemon.logs("waiting", since=before)
        async with asyncio.timeout(5):
            assert await daemon.stop() == 0
    finally:
        await proxy.heal()
