"""Where the feed loses its oldest rows, the bridge loses nothing: what it has not acted on stays, and so does what
proves what it did."""

from __future__ import annotations

import asyncpg
import pytest

from bridge import ledger
from bridge.finality import consumed_finality
from daemon.embedded.anvil import Anvil
from indexer import prune
from indexer.lease import fenced
from tests.conftest import Database, TokenArtifact
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import Scene, staged


async def _follow_only(scene: Scene) -> None:
    """Index what the node has; the bridge does not act on it."""
    fence = scene.world.follow
    while (await scene.follower.step(fence)).more or await scene.backfill.step(fence):
        pass


async def _sent(scene: Scene, name: str) -> bytes:
    """An issuance whose mint is mined and not seen."""
    op_id = await scene.reserved(name)
    async with fenced(scene.world.pool, scene.world.operate) as connection:
        operation_id = await connection.fetchval(
            "SELECT operation_id FROM bridge.operation WHERE op_id = $1", op_id
        )
        await ledger.hold(
            connection,
            scene.token,
            [
                ledger.Held(
                    operation_id,
                    ledger.move(ledger.Book.OUTSTANDING, ledger.Book.FUNDED, 100),
                )
            ],
        )
    await scene.lane.step(scene.world.submit)
    await scene.anvil.mine()
    return op_id


async def _remove(owner: asyncpg.Connection) -> int:
    seq = await prune.take_snapshot(owner, w.CHAIN_ID)
    assert seq is not None
    total = 0
    while removed := await prune.remove_some(owner, w.CHAIN_ID, seq):
        total += removed
    return total


async def test_rows_that_the_bridge_has_not_acted_on_stay(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        owner = await asyncpg.connect(database.owner_dsn)
        op_id = await _sent(scene, "d")
        await anvil.mine(5)
        await _follow_only(scene)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="every consumer"):
            await _remove(owner)
        await scene.follow()
        assert await scene.state(op_id) == "settled"
        before = await consumed_finality(scene.world.pool, scene.token)
        assert before is not None
        assert await _remove(owner) > 0
        assert await consumed_finality(scene.world.pool, scene.token) == before
        await anvil.mine(3)
        await scene.follow()
        after = await consumed_finality(scene.world.pool, scene.token)
        assert after is not None
        assert after.number == before.number + 3
        await owner.close()


async def test_orphaned_events_and_logs_of_the_token_stay(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        owner = await asyncpg.connect(database.owner_dsn)
        await _sent(scene, "d")
        await scene.follow()
        await anvil.rpc("anvil_reorg", 1, [])
        await scene.follow()
        await anvil.mine(8)
        await scene.follow()
        tables = ("event.token_minted", "chain.log", "chain.block", "chain.reorg")
        before = [
            await owner.fetch(f"SELECT * FROM {table} t ORDER BY t::text") for table in tables
        ]
        assert (
            await owner.fetchval("SELECT count(*) FROM event.token_minted WHERE NOT canonical") == 1
        )
        assert await _remove(owner) > 0
        after = [await owner.fetch(f"SELECT * FROM {table} t ORDER BY t::text") for table in tables]
        assert after == before
        await owner.close()


async def test_a_bridge_that_comes_late_begins_with_the_snapshot_and_acts_once(
    database: Database, anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    async with staged(database, anvil) as scene:
        owner = await asyncpg.connect(database.owner_dsn)
        final = await _sent(scene, "final")
        await anvil.mine(5)
        pending = await _sent(scene, "pending")
        await _follow_only(scene)
        await owner.execute("DELETE FROM chain.consumer WHERE name = 'bridge'")
        assert await _remove(owner) > 0
        assert await scene.observer.step(scene.world.operate)
        assert (await scene.state(final), await scene.state(pending)) == ("settled", "mined")
        assert not await scene.observer.step(scene.world.operate)
        await anvil.mine(5)
        await scene.follow()
        assert await scene.state(pending) == "settled"
        assert await owner.fetchval("SELECT count(*) FROM recon.break") == 0
        await owner.close()
