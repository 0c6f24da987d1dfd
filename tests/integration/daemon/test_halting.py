"""`landbridge halt` and `resume` as operators see them."""

import json
import re
from pathlib import Path

import pytest
from eth_account import Account

from indexer.keccak import keccak
from tests.conftest import Database
from tests.integration.daemon.running import Configuration, Ended
from tests.integration.daemon.test_keys import ACCOUNT, SECRET, TREE, VARIABLES

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROPOSAL = re.compile(r"--approve ([0-9a-f]{64})")


@pytest.fixture
def configuration(tmp_path: Path, database: Database) -> Configuration:
    keystore = tmp_path / "keystore.json"
    keystore.write_text(json.dumps(Account.encrypt(ACCOUNT.key, SECRET, "pbkdf2", 2)))
    signer = {"kind": "keystore", "keystore": str(keystore)}
    variables = {
        **VARIABLES,
        "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": SECRET,
        "LANDBRIDGE_DATABASE__URL": database.daemon_dsn,
    }
    return Configuration(tmp_path, {**TREE, "signers.minter": signer}, variables)


async def test_one_halts_and_two_resume(configuration: Configuration) -> None:
    halted = await configuration.command("halt", "--reason", "a drill", "--by", "Alice")
    assert halted.status == 0, halted.errors
    await configuration.command("halt", "--reason", "another", "--by", "Alice", "--scope", "mint")
    proposed = await configuration.command("resume", "--by", "Alice", "--halt", "1")
    assert proposed.status == 0, proposed.errors
    assert "halt 1 (money, Alice" in proposed.output
    assert "another" not in proposed.output
    alone = await _approve(configuration, proposed, "alice")
    assert alone.status == 1
    assert "needs a second person" in alone.errors
    lifted = await _approve(configuration, proposed, "Bob")
    assert lifted.status == 0, lifted.errors
    assert "lifted 1 (money): a drill" in lifted.output
    assert "1 halts are left in force" in lifted.output


async def test_what_is_not_halted_or_not_proposed_is_told(configuration: Configuration) -> None:
    nothing = await configuration.command("resume", "--by", "Alice")
    assert (nothing.status, "nothing is halted" in nothing.errors) == (1, True)
    unknown = await configuration.command("resume", "--by", "Bob", "--approve", "ab" * 32)
    assert (unknown.status, "no such proposal" in unknown.errors) == (1, True)
    await configuration.command("halt", "--reason", "a drill", "--by", "Alice")
    missing = await configuration.command("resume", "--by", "Alice", "--halt", "9")
    assert (missing.status, "halt 9 is not open" in missing.errors) == (1, True)


async def test_how_the_contract_is_paused_is_printed(configuration: Configuration) -> None:
    halted = await configuration.command(
        "halt", "--reason", "a drill", "--by", "Alice", "--pause-contract"
    )
    assert halted.status == 0, halted.errors
    assert "to:    0x" in halted.output
    # pause(uint8) with the bit of mints.
    assert f"data:  0x{keccak(b'pause(uint8)')[:4].hex()}{1:064x}\n" in halted.output
    assert halted.output.rstrip().endswith("value: 0")


async def _approve(configuration: Configuration, proposed: Ended, by: str) -> Ended:
    (proposal,) = PROPOSAL.findall(proposed.output)
    return await configuration.command("resume", "--by", by, "--approve", proposal)
