"""One key in memory: it signs what it was asked, shows itself nowhere, and opens only with its password."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from pydantic import SecretStr

from bridge.custody.errors import CallbackRefusedError, CustodyAccessError
from bridge.custody.keystore import KeystoreCustody, KeystoreSettings
from bridge.custody.protocol import Rejected, Signed
from bridge.custody.signing import sign
from bridge.custody.verification import SignedTransaction
from tests.unit.bridge.custody.requests_made import ACCOUNT, KEY, REQUEST, SECRET, SIGNER, signed_by


def settings(path: Path, password: str = "right") -> KeystoreSettings:
    return KeystoreSettings("signers.minter", path, SecretStr(password))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(Account.encrypt(SECRET, "right", kdf="pbkdf2", iterations=2)))
    return path


async def test_an_encrypted_file_opens_with_its_password_and_signs(path: Path) -> None:
    custody = await KeystoreCustody.open(settings(path))
    assert await custody.identity() == SIGNER
    (signed,) = await sign(custody, [REQUEST])
    assert isinstance(signed, SignedTransaction)
    assert signed.raw == signed_by(ACCOUNT, REQUEST)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "signers.minter.keystore: cannot read"),
        (b"{}", "is not an encrypted keystore file"),
        (b"\xff", "is not an encrypted keystore file"),
        (b"[1]", "is not an encrypted keystore file"),
        (b"[" * 50_000, "is not an encrypted keystore file"),
        (b'{"version": 3, "crypto": 5}', "is not an encrypted keystore file"),
    ],
)
async def test_another_file_is_refused_by_the_name_of_its_setting(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CustodyAccessError, match=fault):
        await KeystoreCustody.open(settings(path))


async def test_a_wrong_password_is_told_and_not_shown(path: Path) -> None:
    with pytest.raises(CustodyAccessError) as refused:
        await KeystoreCustody.open(settings(path, "wrong-and-secret"))
    assert "LANDBRIDGE_SIGNERS__MINTER__PASSWORD" in str(refused.value)
    assert "wrong-and-secret" not in str(refused.value) + repr(settings(path, "wrong-and-secret"))


async def test_many_are_signed_in_one_go(path: Path) -> None:
    custody = KeystoreCustody(KEY)
    requests = [replace(REQUEST, request_id=str(at), nonce=at) for at in range(200)]
    signed = await sign(custody, requests)
    assert all(isinstance(one, SignedTransaction) for one in signed)


async def test_one_that_is_closed_signs_nothing() -> None:
    custody = KeystoreCustody(KEY)
    await custody.close()
    await custody.close()
    assert not (await custody.health()).ok
    assert isinstance((await custody.poll(await custody.submit([REQUEST])))[0], Rejected)


async def test_it_sends_no_callbacks() -> None:
    with pytest.raises(CallbackRefusedError):
        KeystoreCustody(KEY).parse_callback({}, b"")


async def test_the_key_is_in_no_repr() -> None:
    custody = KeystoreCustody(KEY)
    (outcome,) = await custody.poll(await custody.submit([REQUEST]))
    assert isinstance(outcome, Signed)
    for text in (repr(custody), str(custody), repr(custody._requests)):
        assert SECRET.hex() not in text
