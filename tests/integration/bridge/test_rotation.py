"""A key gives its work to another one: nothing new for it, nothing lost of what it has."""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg
import pytest
from eth_account import Account

from bridge import rotation
from bridge.lane import Lane, role
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import Scene, staged
from tests.integration.bridge.test_lane_batches import finish, relaid, reserved
from tests.integration.daemon.running import Configuration

SECRET = "hunter2-never-to-be-seen"


async def move(world: w.World, address: bytes, state: rotation.State) -> None:
    async with world.pool.acquire() as connection:
        await rotation.move(connection, w.CHAIN_ID, address, state)


async def carried_by(scene: Scene, op_id: bytes) -> bytes | None:
    found: bytes | None = await scene.world.pool.fetchval(
        "SELECT t.signer FROM bridge.tx t JOIN bridge.tx_operation l USING (tx_id) WHERE l.op_id = $1",
        op_id,
    )
    return found


async def successor(scene: Scene, *, may_mint: bool = True) -> tuple[Lane, Wallet]:
    wallet = Wallet.new()
    if may_mint:
        await scene.make_minter(wallet)
    lane = relaid(scene, wallet)
    await lane.open(await w.take(scene.world.pool, role(wallet.address)), "successor")
    return lane, wallet


async def test_a_signer_that_drains_takes_nothing_and_sees_through_what_it_has(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        (first,) = await reserved(scene, "a")
        await scene.lane.step(scene.world.submit)
        await move(scene.world, scene.signer, "draining")
        later = await reserved(scene, "b", "c", "d")
        await scene.lane.step(scene.world.submit)
        assert [await carried_by(scene, one) for one in later] == [None] * 3
        with pytest.raises(asyncpg.PostgresError, match="without an outcome"):
            await move(scene.world, scene.signer, "retired")
        await finish(scene)
        assert await scene.state(first) == "settled"
        await move(scene.world, scene.signer, "retired")
        with pytest.raises(asyncpg.PostgresError, match="stays retired"):
            await move(scene.world, scene.signer, "active")
        # With the old one gone all of it is the new one's share, without a wait.
        lane, wallet = await successor(scene)
        async with scene.world.pool.acquire() as connection:
            epoch = await connection.fetchval(
                "SELECT epoch FROM ops.lease WHERE role = $1", role(wallet.address)
            )
        assert epoch == 1
        await lane._taker.step(type(scene.world.submit)(role(wallet.address), 1))
        assert {await carried_by(scene, one) for one in later} == {wallet.address}


async def test_postgres_keeps_the_order_of_a_signers_states(database: Database) -> None:
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.PostgresError, match="drains before it retires"):
            await move(world, w.SIGNER, "retired")
        await move(world, w.SIGNER, "draining")
        with pytest.raises(asyncpg.PostgresError, match="signer minter is draining"):
            async with fenced(world.pool, world.submit) as connection:
                await connection.execute("UPDATE bridge.signer SET next_nonce = 1")
                await connection.execute(
                    """INSERT INTO bridge.tx (chain_id, signer, nonce, purpose, to_address, data, gas_limit)
                       VALUES ($1, $2, 0, 'void', $3, 'x', 100000)""",
                    w.CHAIN_ID,
                    w.SIGNER,
                    w.TOKEN.address,
                )
        await move(world, w.SIGNER, "active")
        with pytest.raises(asyncpg.PostgresError, match="needs the fence"):
            await world.pool.execute("UPDATE bridge.signer SET next_nonce = 1")


def configuration(folder: Path, database: Database, scene: Scene, *names: str) -> Configuration:
    tree: dict[str, dict[str, object]] = {
        "chains.main": {
            "id": w.CHAIN_ID,
            "rpc_urls": [scene.anvil.url],
            "single_provider": True,
            "finality_depth_blocks": 2,
        },
        "token": {
            "address": f"0x{scene.token.address.hex()}",
            "currency": "EUR",
            "decimals": 2,
            "start_block": 0,
        },
        "bank": {"base_url": "https://bank.example", "account_id": w.TOKEN.account_id},
    }
    variables = {
        "PATH": "/usr/bin:/bin",
        "LANDBRIDGE_DATABASE__URL": database.daemon_dsn,
        "LANDBRIDGE_BANK__API_KEY": "key",
        "LANDBRIDGE_BANK__WEBHOOK_SECRETS": "whsec_" + "A" * 40,
    }
    keystore = folder / "keystore.json"
    keystore.write_text(json.dumps(Account.encrypt(bytes.fromhex("4c" * 32), SECRET, "pbkdf2", 2)))
    for name in names:
        tree[f"signers.{name}"] = {"kind": "keystore", "keystore": str(keystore)}
        variables[f"LANDBRIDGE_SIGNERS__{name.upper()}__PASSWORD"] = SECRET
    return Configuration(folder, tree, variables)


async def longer_leases(scene: Scene) -> None:
    """Commands are processes of their own, and take their time."""
    await scene.world.pool.execute(
        "UPDATE ops.lease SET expires_at = clock_timestamp() + interval '20 minutes'"
    )


async def test_rotation_as_an_operator_does_it(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact, tmp_path: Path
) -> None:
    async with staged(database, anvil) as scene:
        await longer_leases(scene)
        (op_id,) = await reserved(scene, "a")
        await scene.lane._taker.step(scene.world.submit)
        _, wallet = await successor(scene, may_mint=False)
        both = configuration(tmp_path, database, scene, "minter", "successor")

        ended = await both.command("keys", "rotate", "minter", "--to", "successor")
        assert ended.status == 1, ended.errors
        assert "MINTER_ROLE" in ended.output
        assert "REDEEMER_ROLE" in ended.output
        assert "limits" in ended.output
        for line in ended.output.splitlines():
            _, found, call = line.rpartition(": 0x")
            if found:
                sender = scene.admin.address
                await anvil.rpc("anvil_impersonateAccount", "0x" + sender.hex())
                await anvil.rpc(
                    "eth_sendTransaction",
                    {
                        "from": "0x" + sender.hex(),
                        "to": "0x" + scene.token.address.hex(),
                        "data": "0x" + call,
                    },
                )
                await anvil.mine()
        ended = await both.command("keys", "rotate", "minter", "--to", "successor")
        assert ended.status == 0, ended.output + ended.errors
        assert "1 transactions" in ended.output

        early = await both.command("keys", "retire", "minter")
        assert early.status == 1
        assert "1 transactions without an outcome" in early.errors

        # Nobody works with it any more, and it has something open.
        await scene.world.pool.execute("UPDATE ops.lease SET expires_at = clock_timestamp()")
        without = configuration(tmp_path, database, scene, "successor")
        told = await without.command("check")
        assert "signers.minter: is missing" in told.output + told.errors
        shown = json.loads((await without.command("status", "--json")).output)
        (row,) = (one for one in shown["bridge"]["signers"] if one["name"] == "minter")
        assert (row["state"], row["open_transactions"], row["worked"]) == ("draining", 1, False)
        await longer_leases(scene)

        await scene.lane.step(scene.world.submit)
        await finish(scene)
        assert await scene.state(op_id) == "settled"
        ended = await both.command("keys", "retire", "minter")
        assert ended.status == 1, "its roles are still there"
        assert ended.output.count("_ROLE: 0x") == 2
        assert wallet.address.hex() not in ended.output.lower()
        for name in ("MINTER_ROLE", "REDEEMER_ROLE"):
            granted = await scene.contract.role(name)
            await scene.confirmed(scene.admin, "revokeRole(bytes32,address)", granted, scene.signer)
        assert (await both.command("keys", "retire", "minter")).status == 0
