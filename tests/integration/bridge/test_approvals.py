"""m of n people of ours: above an amount nothing gets a nonce without their signatures of this very intent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from coincurve import PrivateKey
from eth_account import Account

from bridge import intents, journal
from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.intent import Approval
from bridge.journal import Intent
from bridge.lane import Lane
from bridge.rules import Rules
from bridge.taker import TakerSettings
from daemon.embedded.anvil import Anvil
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import SETTINGS, Scene, staged
from tests.integration.bridge.test_lane_batches import reserved
from tests.integration.bridge.test_rotation import configuration, longer_leases

KEYS = {name: PrivateKey(bytes((place + 1,)) * 32) for place, name in enumerate(["ada", "ben"])}
ADDRESSES = {
    name: bytes.fromhex(Account.from_key(key.secret).address[2:]) for name, key in KEYS.items()
}
RULE = ApprovalRule(above=100, needed=2, approvers=ADDRESSES)


def ruled(scene: Scene) -> Lane:
    settings = replace(
        SETTINGS, rules=Rules(approval=RULE), taking=TakerSettings(window_s=0.0, batch_items=1)
    )
    node, custody = scene.lane._taker._node, scene.lane._signing._custody
    return Lane(scene.world.pool, node, custody, scene.token, scene.signer, settings)


def signature(name: str, digest: bytes) -> str:
    return "0x" + KEYS[name].sign_recoverable(digest, hasher=None).hex()


async def test_a_large_mint_waits_for_two_people_and_a_small_one_for_nobody(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact, tmp_path: Path
) -> None:
    async with staged(database, anvil) as scene:
        await longer_leases(scene)
        lane, submit = ruled(scene), scene.world.submit
        await lane.open(submit, "minter")
        (large,) = await reserved(scene, "large", amount=101)
        (small,) = await reserved(scene, "small", amount=100)
        for _ in range(3):
            await lane.step(submit)
        assert await scene.state(small) == "submitted"
        assert await scene.state(large) == "reserved"

        operator = configuration(tmp_path, database, scene, "minter").changed(
            bank__approvals={"above": "100"},
            bank__approvals__approvers={
                name: f"0x{address.hex()}" for name, address in ADDRESSES.items()
            },
        )
        listed = json.loads((await operator.command("approvals", "list", "--json")).output)
        (one,) = listed["intents"]
        assert (one["state"], one["amount_minor"], one["approvers"]) == ("proposed", "101", [])
        digest = bytes.fromhex(one["hash"][2:])

        async def approve(by: str, digest: bytes, by_key_of: str) -> str:
            ended = await operator.command(
                *("approvals", "approve", str(one["intent_id"]), "--by", by),
                *("--hash", f"0x{digest.hex()}", "--signature", signature(by_key_of, digest)),
            )
            return ended.output + ended.errors

        assert "another one" in await approve("ada", bytes(32), "ada")
        assert "is not ben's" in await approve("ben", digest, "ada")
        assert "not among ada, ben" in await approve("eve", digest, "ada")
        assert "1 of 2" in await approve("ada", digest, "ada")
        assert "1 of 2" in await approve("ada", digest, "ada"), "twice is once"
        for _ in range(3):
            await lane.step(submit)
        assert await scene.state(large) == "reserved"
        assert "2 of 2" in await approve("ben", digest, "ben")
        for _ in range(3):
            await lane.step(submit)
        assert await scene.state(large) == "submitted"
        assert "is decided" in await approve("ben", digest, "ben")
        await anvil.mine()
        assert await scene.balance() == 201


async def test_postgres_gives_no_nonce_to_a_large_mint_that_too_few_have_approved(
    database: Database,
) -> None:
    """Whatever a daemon believes, and whoever's settings it has."""
    async with w.opened(database) as world:
        op_id = await w.add_issuance(world, "a", 101, "approved", "reserved")
        async with fenced(world.pool, world.submit) as connection:
            await intents.declare(connection, w.TOKEN.account_id, RULE)
        with pytest.raises(asyncpg.PostgresError, match="needs approvals"):
            await w.allocate(world, op_id)
        digest = w.digest("intent")
        async with fenced(world.pool, world.submit) as connection:
            intent_id = await connection.fetchval(
                """INSERT INTO bridge.intent (chain_id, signer, hash, purpose, token, function, ids_digest,
                       amount_minor, valid_until_s)
                   VALUES ($1, $2, $3, 'mint', $4, 'mint', $3, 101, 2000000000) RETURNING intent_id""",
                w.CHAIN_ID,
                w.SIGNER,
                digest,
                w.TOKEN.address,
            )
            await connection.execute(
                "INSERT INTO bridge.intent_operation (intent_id, op_id, place) VALUES ($1, $2, 1)",
                intent_id,
                op_id,
            )
            for name in ("ada", "eve"):
                await intents.sign(connection, intent_id, Approval(name, b"s"))
            await intents.decide(connection, intent_id, "approved")
        with pytest.raises(asyncpg.PostgresError, match="is decided"):
            async with world.pool.acquire() as connection:
                await intents.sign(connection, intent_id, Approval("ben", b"s"))
        carrying = Intent("mint", (op_id,), w.TOKEN.address, b"call", 100_000, digest)
        with pytest.raises(asyncpg.PostgresError, match="needs approvals"):
            async with fenced(world.pool, world.submit) as connection:
                await journal.allocate(connection, w.CHAIN_ID, w.SIGNER, [carrying], w.OFFER)
        async with fenced(world.pool, world.submit) as connection:
            await intents.declare(connection, w.TOKEN.account_id, replace(RULE, needed=1))
            await journal.allocate(connection, w.CHAIN_ID, w.SIGNER, [carrying], w.OFFER)
            await intents.use(connection, [digest])


async def test_forged_approvals_in_the_database_are_no_approvals_to_the_lane(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    """Names alone satisfy nobody: each signature is checked before a nonce, and again before custody is asked."""
    async with staged(database, anvil) as scene:
        lane, submit = ruled(scene), scene.world.submit
        await lane.open(submit, "minter")
        await reserved(scene, "large", amount=101)
        await lane.step(submit)
        async with scene.world.pool.acquire() as connection:
            for name in ADDRESSES:
                await intents.sign(connection, 1, Approval(name, bytes(65)))
        for _ in range(3):
            await lane.step(submit)
        assert await scene.world.pool.fetchval("SELECT count(*) FROM bridge.tx") == 0
        # Somebody writes into the database that it was decided.
        async with fenced(scene.world.pool, submit) as connection:
            await intents.decide(connection, 1, "approved")
        for _ in range(3):
            await lane.step(submit)
        refused = await scene.world.pool.fetchval(
            "SELECT refused FROM bridge.tx_attempt WHERE attempt = 1"
        )
        assert "0 of 2 approvals are there" in refused
        await anvil.mine()
        assert await scene.balance() == 0
