"""The bridge reads the first version of its token's tables, so nothing makes a second one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bridge.token import TokenVersionError, as_contract, register
from daemon.schema import register as register_contracts
from daemon.sections import Token as Section
from indexer import registry
from indexer.lease import acquire, fenced
from tests.conftest import Database
from tests.integration.bridge.world import TOKEN
from tests.integration.daemon.running import Configuration

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
OTHER = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
TREE: dict[str, dict[str, Any]] = {
    "chains.main": {"id": 31337, "rpc_urls": ["http://127.0.0.1:1"], "single_provider": True},
    "token": {"address": ADDRESS, "start_block": 7, "currency": "EUR", "decimals": 2},
    "bank": {"base_url": "https://bank.example", "account_id": TOKEN.account_id},
    "signers.minter": {"kind": "keystore", "keystore": "keystore.json"},
}
STORED = """
    SELECT (SELECT count(*) FROM chain.source),
           (SELECT array_agg(name || version) FROM chain.source WHERE wanted),
           (SELECT count(*) FROM pg_class WHERE relnamespace = 'event'::regnamespace)"""


WITHOUT_BRIDGE: dict[str, dict[str, Any]] = {
    "chains.main": TREE["chains.main"],
    "contracts.coin": {"address": OTHER, "events": ["Ping(uint256 value)"], "start_block": 7},
}


@pytest.fixture
def configuration(database: Database, tmp_path: Path) -> Configuration:
    return Configuration(
        tmp_path,
        TREE,
        {
            "PATH": "/usr/bin:/bin",
            "LANDBRIDGE_DATABASE__URL": database.daemon_dsn,
            "LANDBRIDGE_DATABASE__OWNER_URL": database.owner_dsn,
            "LANDBRIDGE_BANK__API_KEY": "key",
            "LANDBRIDGE_BANK__WEBHOOK_SECRETS": "whsec_" + "A" * 40,
            "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": "password",
        },
    )


async def stored(database: Database) -> tuple[Any, ...]:
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        return tuple(await owner.fetchrow(STORED) or ())
    finally:
        await owner.close()


async def started(database: Database) -> None:
    """The bridge's books are open, as they are once a daemon has run."""
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=2) as pool:
        async with pool.acquire() as connection:
            fence = await acquire(connection, "operate", "test", 60)
        assert fence is not None
        async with fenced(pool, fence) as connection:
            await register(connection, replace(TOKEN, address=bytes.fromhex(ADDRESS[2:])))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"token": {"address": OTHER}},
            f"token.address was {ADDRESS.lower()} and is {OTHER.lower()}",
        ),
        ({"token": {"start_block": 8}}, "token.start_block was 7 and is 8"),
        ({"chains.main": {"id": 5}}, "the id of token.chain was 31337 and is 5"),
        (
            {"token": {"contract": "euro", "address": OTHER}},
            "token.contract was token and is euro; token.address was",
        ),
    ],
    ids=["address", "start", "chain", "name"],
)
async def test_migrate_refuses_another_token_once_the_bridge_has_started(
    database: Database, configuration: Configuration, changed: dict[str, Any], says: str
) -> None:
    first = await configuration.command("migrate")
    assert first.status == 0, first.errors
    await started(database)
    before = await stored(database)
    assert before[:2] == (1, ["token1"])

    ended = await configuration.changed(**changed).command("migrate")

    assert ended.status == 1
    (line,) = ended.told
    assert says in line
    assert line.endswith("Nothing was written: set that back, or use a new database")
    assert "contract" not in ended.output
    assert await stored(database) == before
    again = await configuration.command("migrate")
    assert "contract token is unchanged (version 1)" in again.output


async def test_before_the_start_another_name_will_do(
    database: Database, configuration: Configuration
) -> None:
    """As when a contract of the index was called what the token is called."""
    assert (await configuration.command("migrate")).status == 0
    before = await stored(database)
    ended = await configuration.changed(token={"address": OTHER}).command("migrate")
    assert "give token.contract another name, or use a new database" in ended.told[0]
    assert await stored(database) == before
    renamed = await configuration.changed(token={"address": OTHER, "contract": "euro"}).command(
        "migrate"
    )
    assert "contract euro is new" in renamed.output


async def test_migrate_refuses_to_go_on_without_the_token_of_a_bridge(
    database: Database, configuration: Configuration, tmp_path: Path
) -> None:
    """Whoever tries the settings of an index on the bridge's database must not end the bridge."""
    assert (await configuration.command("migrate")).status == 0
    await started(database)
    before = await stored(database)
    urls = {
        name: value
        for name, value in configuration.environment.items()
        if not name.startswith(("LANDBRIDGE_BANK", "LANDBRIDGE_SIGNERS"))
    }
    ended = await Configuration(tmp_path, WITHOUT_BRIDGE, urls).command("migrate")
    assert ended.status == 1
    assert "put the section [token] back, or use a new database" in ended.told[0]
    assert await stored(database) == before


async def test_an_abi_or_options_of_a_token_that_differ_are_refused(database: Database) -> None:
    section = Section.model_validate({"address": ADDRESS, "currency": "EUR", "decimals": 2})
    contract = as_contract(TOKEN)
    await register_contracts(database.owner_dsn, [contract], section)
    before = await stored(database)
    fewer = replace(contract, events=contract.events[1:])
    with pytest.raises(TokenVersionError, match="ABI is another one"):
        await register_contracts(database.owner_dsn, [fewer], section)
    plain = replace(contract, options=replace(contract.options, raw=False))
    with pytest.raises(TokenVersionError, match="not kept raw"):
        await register_contracts(database.owner_dsn, [plain], section)
    assert await stored(database) == before


async def test_postgres_refuses_a_second_version_of_the_token(database: Database) -> None:
    """Whoever makes it, such as a resync of it."""
    contract = as_contract(TOKEN)
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await registry.register(owner, [contract])
        await started(database)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="first version"):
            await registry.make(owner, contract, 2)
    finally:
        await owner.close()


async def test_postgres_refuses_to_end_what_the_bridge_reads(database: Database) -> None:
    contract = as_contract(TOKEN)
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        await registry.register(owner, [contract])
        await owner.execute("UPDATE chain.source SET wanted = false")
        await owner.execute("UPDATE chain.source SET wanted = true")
        await started(database)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="as long as there is"):
            await owner.execute("UPDATE chain.source SET wanted = false")
    finally:
        await owner.close()
