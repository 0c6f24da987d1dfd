"""What a security module can have wrong, on SoftHSM2."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.custody.errors import CustodyAccessError
from bridge.custody.pkcs11 import Pkcs11Custody, Token
from bridge.custody.signing import sign
from bridge.custody.verification import SignedTransaction
from tests.conformance.custody import conftest
from tests.conformance.custody.subjects import Pkcs11
from tests.conformance.custody.test_custody import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("attributes", [{"EXTRACTABLE": True}, {"SENSITIVE": False}], ids=str)
async def test_a_key_that_can_be_taken_out_is_refused(
    token: conftest.Token, attributes: dict[str, Any]
) -> None:
    label = f"loose-{attributes}"
    token.generate(label, **attributes)
    with pytest.raises(CustodyAccessError, match="can be taken out of the module"):
        await Pkcs11Custody.open(token.settings(label))


async def test_a_key_of_another_curve_is_refused(token: conftest.Token) -> None:
    token.generate("another-curve", curve="secp256r1")
    with pytest.raises(CustodyAccessError, match="not of the curve secp256k1"):
        await Pkcs11Custody.open(token.settings("another-curve"))


async def test_two_keys_with_one_label_are_refused(token: conftest.Token) -> None:
    token.generate("twice")
    token.generate("twice")
    with pytest.raises(CustodyAccessError, match="several keys"):
        await Pkcs11Custody.open(token.settings("twice"))


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"module": Path("/nowhere.so")}, "module"),
        ({"module": Path(__file__)}, "module"),
        ({"token_label": "another"}, "token_label"),
        ({"key_label": "another"}, "key_label"),
    ],
)
async def test_what_is_not_there_is_told_by_its_setting(
    pkcs11: Pkcs11, change: dict[str, Any], setting: str
) -> None:
    with pytest.raises(CustodyAccessError, match=rf"^signers\.test\.{setting}: "):
        await Pkcs11Custody.open(replace(pkcs11.settings, **change))


async def test_two_signers_share_a_token_and_one_that_goes_does_not_stop_the_other(
    token: conftest.Token, pkcs11: Pkcs11
) -> None:
    token.generate("beside")
    first, second = await pkcs11.open(), await Pkcs11Custody.open(token.settings("beside"))
    try:
        await second.close()
        (signed,) = await sign(first, [asked(pkcs11)])
        assert isinstance(signed, SignedTransaction)
    finally:
        await first.close()


async def test_a_token_that_was_logged_out_of_is_logged_in_to_again(pkcs11: Pkcs11) -> None:
    custody = await Pkcs11Custody.open(pkcs11.settings)
    try:
        custody._token._session.close()
        (signed,) = await sign(custody, [asked(pkcs11)])
        assert isinstance(signed, SignedTransaction)
        assert (await custody.health()).ok
    finally:
        await custody.close()


async def test_a_wrong_pin_is_tried_once_and_never_shown(
    pkcs11: Pkcs11, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pkcs11 import exceptions

    tried = []

    class Locking:
        def open(self, user_pin: str | None = None) -> None:
            tried.append(user_pin)
            raise exceptions.PinIncorrect

    class Library:
        def get_token(self, token_label: str) -> Locking:
            return Locking()

    monkeypatch.setattr("pkcs11.lib", lambda _: Library())
    settings = replace(pkcs11.settings, pin=SecretStr("hunter2"))
    held = Token(settings)
    for _ in range(3):
        with pytest.raises(CustodyAccessError) as refused:
            await asyncio.to_thread(held.address)
        assert "hunter2" not in str(refused.value) + repr(settings)
    assert tried == ["hunter2"]
