"""`landbridge keys list` as an operator sees it: each signer, or why it would not sign."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from daemon.setting_types import checksummed
from tests.integration.daemon.running import Configuration, Tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "hunter2-never-to-be-seen"
ACCOUNT = Account.from_key("0x" + "4c" * 32)
TREE: Tree = {
    "chains.main": {"id": 31337, "rpc_urls": ["http://127.0.0.1:1"], "single_provider": True},
    "token": {"address": "0x" + "ab" * 20, "currency": "EUR", "decimals": 2},
    "bank": {"base_url": "https://bank.example", "account_id": "DE89"},
}
VARIABLES = {
    "PATH": "/usr/bin:/bin",
    "LANDBRIDGE_DATABASE__URL": "postgresql://nobody@127.0.0.1:1/none",
    "LANDBRIDGE_BANK__API_KEY": "key",
    "LANDBRIDGE_BANK__WEBHOOK_SECRETS": "whsec_" + "A" * 40,
}


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    keystore = tmp_path / "keystore.json"
    keystore.write_text(json.dumps(Account.encrypt(ACCOUNT.key, SECRET, "pbkdf2", 2)))
    signer = {"kind": "keystore", "keystore": str(keystore)}
    variables = {**VARIABLES, "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": SECRET}
    return Configuration(tmp_path, {**TREE, "signers.minter": signer}, variables)


async def test_a_signer_is_listed_with_its_address_and_its_state(
    configuration: Configuration,
) -> None:
    ended = await configuration.command("keys", "list", "--json")
    assert ended.status == 0, ended.errors
    address = checksummed(bytes.fromhex(ACCOUNT.address[2:]))
    assert json.loads(ended.output)["keys"] == [
        {
            "name": "minter",
            "kind": "keystore",
            "address": address,
            "ok": True,
            "detail": "the key is in memory",
        }
    ]
    shown = await configuration.command("keys", "list")
    assert shown.status == 0
    assert "minter" in shown.output
    assert SECRET not in ended.output + shown.output


async def test_one_that_would_not_sign_says_why_and_shows_no_secret(
    configuration: Configuration,
) -> None:
    wrong = {"LANDBRIDGE_SIGNERS__MINTER__PASSWORD": SECRET + "x"}
    ended = await configuration.changed(wrong).command("keys", "list", "--json")
    assert ended.status == 1
    (key,) = json.loads(ended.output)["keys"]
    assert (key["name"], key["address"], key["ok"]) == ("minter", None, False)
    assert key["detail"].startswith("signers.minter.password: ")
    assert SECRET not in ended.output + ended.errors


async def test_one_that_is_away_is_waited_for_by_nobody(tmp_path: Path) -> None:
    signer = {"kind": "remote", "url": "http://127.0.0.1:1", "address": "0x" + "11" * 20}
    away = Configuration(tmp_path, {**TREE, "signers.minter": signer}, VARIABLES)
    ended = await away.command("keys", "list", "--json")
    assert ended.status == 1
    (key,) = json.loads(ended.output)["keys"]
    assert "does not answer" in key["detail"]
    assert "Traceback" not in ended.errors
