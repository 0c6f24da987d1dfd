"""Which loops there are, under which leases, and on which of them money depends."""

from pathlib import Path
from typing import cast

import asyncpg
import pytest
from redis.asyncio import Redis

from daemon.audit_alarm import alarm_of
from daemon.settings import Settings, load
from daemon.supervisor import Loop
from daemon.wiring import FollowedChain, audit_loops, chains_of, index_loops

NO_POOL = cast(asyncpg.Pool, None)
INDEX = f"""
[chains.main]
id = 1
rpc_urls = ["https://one.example", "https://two.example"]
ws_urls = ["wss://one.example"]
poll_interval_s = 0.25

[chains.side]
id = 2
rpc_urls = ["https://three.example"]
finality_depth_blocks = 12

[contracts.coin]
chain = "side"
address = "0x{"11" * 20}"
events = ["Sent(uint256 value)"]
"""
BRIDGE = f"""
[database]
url = "postgresql://x"
[token]
chain = "main"
address = "0x{"ab" * 20}"
currency = "EUR"
decimals = 2
[bank]
base_url = "http://bank"
account_id = "DE89"
api_key = "x"
webhook_secrets = ["whsec_ZGVtby13ZWJob29rLXNlY3JldC0zMi1ieXRlcyEh"]
[signers.minter]
kind = "keystore"
keystore = "keystore.json"
password = "x"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "landbridge.toml"
    path.write_text(INDEX + BRIDGE)
    return load(path, {})


def loops_of(chain: FollowedChain, redis: Redis | None = None) -> dict[str, Loop]:
    return {loop.name: loop for loop in index_loops(NO_POOL, chain, redis)}


async def test_the_loops_of_a_chain_share_its_lease_and_no_other(settings: Settings) -> None:
    main, side = chains_of(settings)
    assert list(loops_of(main)) == ["follower:main", "backfill:main", "upkeep:main"]
    assert {loop.role for loop in loops_of(main).values()} == {"follow:1"}
    assert {loop.role for loop in loops_of(side).values()} == {"follow:2"}
    assert loops_of(main)["follower:main"].rest is not None


async def test_money_is_halted_by_the_bridges_chain_alone(settings: Settings) -> None:
    main, side = chains_of(settings)
    assert (main.money, side.money) == (True, False)
    assert {loop.halts_money for loop in loops_of(main).values()} == {True}
    assert {loop.halts_money for loop in loops_of(side).values()} == {False}


async def test_without_a_bridge_no_chain_halts_money(tmp_path: Path) -> None:
    path = tmp_path / "landbridge.toml"
    path.write_text(INDEX)
    for chain in chains_of(load(path, {})):
        assert not chain.money
        assert {loop.halts_money for loop in loops_of(chain).values()} == {False}


async def test_the_stream_has_a_lease_of_its_own_and_nothing_stops_without_it(
    settings: Settings,
) -> None:
    main, _ = chains_of(settings)
    redis = Redis()
    relay = loops_of(main, redis)["relay:main"]
    await redis.aclose()
    assert (relay.role, relay.halts_money, relay.needed) == ("relay:1", False, False)


async def test_an_audit_has_a_lease_of_its_own_and_nothing_stops_without_it(
    settings: Settings,
) -> None:
    main, _ = chains_of(settings)
    (auditor,) = audit_loops(NO_POOL, main, alarm_of(None))
    assert (auditor.name, auditor.role) == ("auditor:main", "audit:1")
    assert (auditor.halts_money, auditor.needed, auditor.all_fenced) == (False, False, True)


async def test_a_chain_that_is_not_to_be_audited_has_no_auditor(tmp_path: Path) -> None:
    path = tmp_path / "landbridge.toml"
    path.write_text(INDEX.replace("id = 1\n", "id = 1\naudit_blocks_per_hour = 0\n"))
    main, side = chains_of(load(path, {}))
    assert audit_loops(NO_POOL, main, alarm_of(None)) == []
    assert len(audit_loops(NO_POOL, side, alarm_of(None))) == 1


async def test_each_chain_has_its_own_contracts_providers_heads_and_quorum(
    settings: Settings,
) -> None:
    main, side = chains_of(settings)
    assert [contract.name for contract in main.contracts] == ["token"]
    assert [contract.name for contract in side.contracts] == ["coin"]
    assert [one.name for one in main.providers.all] == ["one.example", "two.example"]
    assert (main.heads is not None, side.heads is not None) == (True, False)
    assert (main.quorum, side.quorum) == (2, 1)
