"""A token that knows no operations: the journal alone sees to it that each is minted exactly once."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from bridge import cancellations, halts, journal, recovery, rescan
from bridge.journal import Intent
from bridge.limits import Limits
from bridge.rules import Rules
from bridge.taker import TakerSettings
from daemon.demo import token as chain_token
from daemon.demo.token import as_hex
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import PACKAGES, Anvil
from indexer.lease import fenced
from tests.conftest import FORGE_TIMEOUT_S, REPOSITORY, Database
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import Scene, set_up
from tests.integration.bridge.test_lane_batches import decide, finish, outcomes, relaid, reserved

SOURCE = Path("contracts/test/PlainToken.sol")
ARTIFACT = REPOSITORY / "contracts/out/PlainToken.sol/PlainToken.json"
ADDRESS = b"P" * 20


@pytest.fixture(scope="session")
def plain_code() -> str:
    """Its code as it is on a chain: it has no constructor."""
    forge = next(iter(sorted(PACKAGES.glob("forge-*/bin/forge"))))
    built = subprocess.run(
        [str(forge), "build", str(SOURCE)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=FORGE_TIMEOUT_S,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    code: str = json.loads(ARTIFACT.read_text())["deployedBytecode"]["object"]
    return code


@asynccontextmanager
async def plain(database: Database, anvil: Anvil, code: str) -> AsyncIterator[Scene]:
    """The scene with a plain token, its lane open, its chain followed."""
    people = (Wallet.new(), Wallet.new(), Wallet.new())
    for wallet in people:
        await chain_token.fund(anvil, wallet.address)
    await anvil.rpc("anvil_setCode", as_hex(ADDRESS), code)
    await anvil.mine()
    contract = chain_token.Token(anvil, w.CHAIN_ID, ADDRESS, 0)
    token = replace(w.TOKEN, address=ADDRESS, kind="plain")
    async with set_up(database, anvil, contract, token, people) as scene:
        await scene.follow()
        await scene.lane.open(scene.world.submit, "minter")
        yield scene


async def test_each_operation_has_a_nonce_of_its_own_and_is_known_by_its_transaction(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        op_ids = await reserved(scene, "a", "b", "c")
        await scene.lane.step(scene.world.submit)
        rows = await scene.world.pool.fetch(
            "SELECT count(*) FROM bridge.tx_operation GROUP BY tx_id"
        )
        assert [row["count"] for row in rows] == [1, 1, 1]
        await anvil.mine()
        await scene.follow()
        assert {await scene.state(op_id) for op_id in op_ids} == {"mined"}
        await finish(scene)
        assert {await scene.state(op_id) for op_id in op_ids} == {"settled"}
        assert await outcomes(scene) == ["success"] * 3
        assert await scene.balance() == 300
        assert await scene.world.pool.fetchval("SELECT count(*) FROM recon.break") == 0


async def test_a_reorg_and_a_lost_pool_mint_nothing_twice(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await anvil.rpc("anvil_reorg", 1, [])
        await scene.follow()
        assert await scene.state(op_id) == "submitted"
        await scene.lane.step(scene.world.submit)
        await anvil.rpc("anvil_dropAllTransactions")
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx_attempt") == 1


async def test_a_revert_gets_a_new_nonce_only_once_it_is_final(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        block = ("setBlocked(address,bool)", scene.holder.address)
        await scene.confirmed(scene.admin, *block, True)
        await scene.lane.step(scene.world.submit)
        await anvil.mine()
        await scene.follow()
        await scene.lane.step(scene.world.submit)
        assert await scene.state(op_id) == "submitted"
        await finish(scene)
        assert await outcomes(scene) == ["reverted"]
        await scene.confirmed(scene.admin, *block, False)
        await scene.follow()
        await decide(scene)
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        assert await scene.balance() == 100


async def test_a_cancelled_one_is_over_once_a_transaction_that_does_nothing_is_final(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        [op_id] = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        async with scene.world.pool.acquire() as connection:
            for person in ("maker", "checker"):
                await cancellations.cancel(connection, 1, person, "a wrong amount")
        await decide(scene)
        assert await scene.state(op_id) == "submitted"
        await scene.lane.step(scene.world.submit)
        await finish(scene)
        await decide(scene)
        assert await scene.state(op_id) == "returning"
        assert await outcomes(scene) == ["cancelled"]
        assert await scene.balance() == 0


async def test_nothing_goes_back_while_a_lost_transaction_may_have_minted_it(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        [op_id] = await reserved(scene, "a")
        async with scene.world.pool.acquire() as connection:
            await halts.latch(connection, ["an older copy"], "somebody")
            for person in ("maker", "checker"):
                await cancellations.cancel(connection, 1, person, "a wrong amount")
        await decide(scene)
        assert await scene.state(op_id) == "reserved"
        with pytest.raises(asyncpg.PostgresError, match="has lost may mint it"):
            async with fenced(scene.world.pool, scene.world.operate) as connection:
                await connection.execute("UPDATE bridge.operation SET state = 'returning'")


async def test_a_lost_mint_is_entered_for_the_oldest_deposit_of_its_amount(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        first, second = await reserved(scene, "a", "b")
        mint = ("mint(address,uint256)", scene.holder.address)
        await scene.confirmed(scene.admin, *mint, 100)
        await scene.confirmed(scene.admin, *mint, 70)
        await scene.follow()
        assert await scene.world.pool.fetchval("SELECT ops.is_state_lost()")
        async with fenced(scene.world.pool, scene.world.operate) as connection:
            found = await rescan._mints(connection, scene.token)
            assert [one.adopts for one in found] == [True, False]
            await recovery._adopt_mints(connection, scene.token, found)
            [left] = await rescan._mints(connection, scene.token)
            assert not left.adopts
        await finish(scene)
        assert await scene.state(first) == "settled"
        assert await scene.state(second) == "reserved"


async def test_mints_and_burns_by_others_are_told_and_stop_minting(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        await scene.confirmed(scene.admin, "mint(address,uint256)", scene.holder.address, 50)
        await scene.confirmed(scene.holder, "burn(uint256)", 20)
        await scene.follow()
        kinds = await scene.world.pool.fetch("SELECT kind FROM recon.break ORDER BY kind")
        assert [row["kind"] for row in kinds] == ["unauthorized_mint", "unregistered_burn"]
        assert await scene.world.pool.fetchval("SELECT ops.is_halted('mint')")


async def test_postgres_refuses_two_operations_in_one_transaction(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        op_ids = await reserved(scene, "a", "b")
        intent = Intent("mint", tuple(op_ids), ADDRESS, b"call", 100_000)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="carries one"):
            async with fenced(scene.world.pool, scene.world.submit) as connection:
                await journal.allocate(connection, w.CHAIN_ID, scene.signer, [intent], w.OFFER)


async def test_limits_and_recipients_hold_for_it_as_well(
    database: Database, anvil: Anvil, plain_code: str
) -> None:
    async with plain(database, anvil, plain_code) as scene:
        first, second = await reserved(scene, "a", "b")
        limited = relaid(scene, rules=Rules(of_account=Limits("the bank account", hour=150)))
        await limited.step(scene.world.submit)
        assert await scene.state(first) == "submitted"
        assert await scene.state(second) == "reserved"
        taking = TakerSettings(window_s=0.0, retry_refused_s=0.0)
        strict = relaid(scene, taking=taking, rules=Rules(recipients=frozenset({b"x" * 20})))
        await strict.step(scene.world.submit)
        assert await scene.state(second) == "reserved"
        # What has its nonce already is judged by its bytes.
        await relaid(scene, taking=taking)._taker.step(scene.world.submit)
        await strict.step(scene.world.submit)
        refused = await scene.world.pool.fetchval("SELECT max(refused) FROM bridge.tx_attempt")
        assert "is not among the recipients" in refused
