"""`landbridge operations cancel` as two operators use it."""

import json
from pathlib import Path

import asyncpg
import pytest
from eth_account import Account

from tests.conftest import Database
from tests.integration.bridge import world as w
from tests.integration.daemon.running import Configuration
from tests.integration.daemon.test_keys import ACCOUNT, SECRET, TREE, VARIABLES

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_person_proposes_and_another_one_agrees(
    database: Database, tmp_path: Path
) -> None:
    keystore = tmp_path / "keystore.json"
    keystore.write_text(json.dumps(Account.encrypt(ACCOUNT.key, SECRET, "pbkdf2", 2)))
    landbridge = Configuration(
        tmp_path,
        {**TREE, "signers.minter": {"kind": "keystore", "keystore": str(keystore)}},
        {
            **VARIABLES,
            "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": SECRET,
            "LANDBRIDGE_DATABASE__URL": database.daemon_dsn,
        },
    )
    async with w.opened(database) as world:
        await w.add_issuance(world, "a", 100, "held")
    command = ("operations", "cancel", "1", "--by")
    unexplained = await landbridge.command(*command, "maker")
    assert (unexplained.status, "--reason" in unexplained.errors) == (1, True)
    proposed = await landbridge.command(*command, "maker", "--reason", "a wrong wallet")
    assert (proposed.status, "waits for somebody else" in proposed.output) == (0, True)
    alone = await landbridge.command(*command, "maker")
    assert (alone.status, "somebody else has to agree" in alone.errors) == (1, True)
    agreed = await landbridge.command(*command, "checker")
    assert (agreed.status, "maker and checker: a wrong wallet" in agreed.output) == (0, True)
    unknown = await landbridge.command("operations", "cancel", "7", "--by", "maker")
    assert (unknown.status, "no such" in unknown.errors) == (1, True)
    connection = await asyncpg.connect(database.daemon_dsn)
    rows = await connection.fetch("SELECT proposed_by, approved_by FROM bridge.cancellation")
    await connection.close()
    assert [tuple(row) for row in rows] == [("maker", "checker")]
