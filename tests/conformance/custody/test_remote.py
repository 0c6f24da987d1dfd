"""A remote signer: who may ask it, what it may answer, and what is made of its refusals."""

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from eth_account import Account
from pydantic import SecretStr

from bridge.custody.endpoint import MAX_ANSWER_BYTES, Tls
from bridge.custody.errors import CustodyAccessError, CustodyUnavailableError
from bridge.custody.protocol import Outcome, Rejected, Signed, SignRequest, Unknown
from bridge.custody.remote import RemoteCustody, RemoteSettings
from bridge.custody.signing import sign
from bridge.custody.verification import SignedTransaction
from daemon.cli import RECURSION_LIMIT
from daemon.embedded.anvil import DEFAULT_CHAIN_ID
from tests.conformance.custody.listening import listening
from tests.conformance.custody.tls_files import Authority

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCOUNT = Account.from_key("0x" + "6e" * 32)
ADDRESS = bytes.fromhex(ACCOUNT.address[2:])
REQUEST = SignRequest("id", ADDRESS, DEFAULT_CHAIN_ID, 1, b"t" * 20, b"\1\2", 50_000, 20, 2)


def signed(transaction: dict[str, Any]) -> str:
    numbers = ("gas", "value", "nonce", "chainId", "maxFeePerGas", "maxPriorityFeePerGas")
    fields = {name: int(transaction[name], 16) for name in numbers}
    data = {"to": transaction["to"], "data": transaction["data"], "type": 2}
    return f"0x{ACCOUNT.sign_transaction({**fields, **data}).raw_transaction.hex()}"


class Signer:
    """Web3Signer's methods; ``answer`` makes the answer to what is to be signed."""

    def __init__(self) -> None:
        self.accounts: Any = [f"0x{ADDRESS.hex()}"]
        self.transactions: list[dict[str, Any]] = []

    def answer(self, transaction: dict[str, Any]) -> dict[str, Any]:
        return {"result": signed(transaction)}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if asked["method"] == "eth_accounts":
            answer = {"result": self.accounts}
        else:
            (transaction,) = asked["params"]
            self.transactions.append(transaction)
            answer = self.answer(transaction)
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], **answer})


def settings(port: int, scheme: str = "http", tls: Tls | None = None) -> RemoteSettings:
    url = SecretStr(f"{scheme}://127.0.0.1:{port}/k3y")
    return RemoteSettings("signers.test", url, ADDRESS, 2.0, tls or Tls())


@asynccontextmanager
async def opened(signer: Signer) -> AsyncIterator[RemoteCustody]:
    async with listening(signer.handle) as port:
        custody = await RemoteCustody.open(settings(port))
        try:
            yield custody
        finally:
            await custody.close()


async def outcome_of(answer: dict[str, Any]) -> Outcome:
    signer = Signer()
    signer.answer = lambda transaction: answer  # type: ignore[method-assign]
    async with opened(signer) as custody:
        (outcome,) = await custody.poll(await custody.submit([REQUEST]))
        return outcome


async def test_it_is_asked_for_every_field_and_for_no_value() -> None:
    signer = Signer()
    async with opened(signer) as custody:
        (outcome,) = await sign(custody, [REQUEST])
    assert isinstance(outcome, SignedTransaction)
    assert signer.transactions == [
        {
            "from": f"0x{ADDRESS.hex()}",
            "to": f"0x{(b't' * 20).hex()}",
            "gas": "0xc350",
            "value": "0x0",
            "nonce": "0x1",
            "data": "0x0102",
            "chainId": "0x7a69",
            "maxFeePerGas": "0x14",
            "maxPriorityFeePerGas": "0x2",
        }
    ]


async def test_the_form_of_geth_is_taken_too() -> None:
    outcome = await outcome_of({"result": {"raw": "0x0123", "tx": {"nonce": "0x1"}}})
    assert outcome == Signed(b"\x01\x23")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": -32602, "message": "invalid params"}, Rejected),
        ({"code": -32007, "message": "Sender account not authorized"}, Rejected),
        ({"code": 4001, "message": "User rejected"}, Rejected),
        ({"code": -32000, "message": "vault is sealed"}, Unknown),
        ({"code": -32603, "message": "Internal error"}, Unknown),
        ({"code": None, "message": None}, Unknown),
        ("a text", Unknown),
    ],
)
async def test_only_a_definite_refusal_is_one(error: object, kind: type[Outcome]) -> None:
    assert isinstance(await outcome_of({"error": error}), kind)


@pytest.mark.parametrize(
    "result", [None, 5, "", "0x1", "0xzz", "1234", {}, {"raw": 5}, ["0x12"], {"tx": {}}]
)
async def test_what_is_neither_a_transaction_nor_an_error_is_nothing(result: object) -> None:
    assert isinstance(await outcome_of({"result": result}), Unknown)


async def test_its_words_are_shortened_and_of_printable_characters() -> None:
    outcome = await outcome_of({"error": {"code": 4001, "message": "no\0\n\x1b[31m" + "x" * 9999}})
    assert isinstance(outcome, Rejected)
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < 300


@pytest.mark.parametrize("accounts", [[], ["0x" + "11" * 20]])
async def test_one_without_the_account_is_refused(accounts: list[str]) -> None:
    signer = Signer()
    signer.accounts = accounts
    async with listening(signer.handle) as port:
        with pytest.raises(CustodyAccessError, match=r"signers\.test\.address"):
            await RemoteCustody.open(settings(port))


@pytest.mark.parametrize("accounts", [None, "0x", [5], {"a": 1}])
async def test_one_that_does_not_list_its_accounts_is_waited_for(accounts: object) -> None:
    signer = Signer()
    signer.accounts = accounts
    async with listening(signer.handle) as port:
        with pytest.raises(CustodyUnavailableError):
            await RemoteCustody.open(settings(port))


async def pour(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * (MAX_ANSWER_BYTES // 4))
    return response


async def redirect(_: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/elsewhere")


async def page(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>", content_type="text/html")


async def deep(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"[" * 100_000)


async def closed(_: web.Request) -> web.StreamResponse:
    return web.json_response({}, status=403)


@pytest.mark.parametrize("handler", [pour, redirect, page, deep, closed])
async def test_no_answer_is_followed_or_read_without_end_and_no_url_is_shown(handler: Any) -> None:
    # As the daemon has it: eth-account, which the tests use, lifts it out of all reason.
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        async with listening(handler) as port:
            with pytest.raises(CustodyUnavailableError) as refused:
                await RemoteCustody.open(settings(port))
    finally:
        sys.setrecursionlimit(limit)
    assert "k3y" not in str(refused.value)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_both_sides_prove_who_they_are(authority: Authority) -> None:
    server, client = authority.vouch_for("server"), authority.vouch_for("client")
    tls = Tls(client.certificate, client.key, authority.certificate)
    async with listening(Signer().handle, authority.context(server)) as port:
        custody = await RemoteCustody.open(settings(port, "https", tls))
        (outcome,) = await sign(custody, [REQUEST])
        await custody.close()
    assert isinstance(outcome, SignedTransaction)


async def test_one_that_asks_without_a_certificate_is_not_let_in(authority: Authority) -> None:
    server = authority.vouch_for("server")
    tls = Tls(authority=authority.certificate)
    async with listening(Signer().handle, authority.context(server)) as port:
        with pytest.raises(CustodyUnavailableError):
            await RemoteCustody.open(settings(port, "https", tls))


async def test_a_server_that_nobody_vouches_for_is_told_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    impostor = Authority(tmp_path / "other", "impostor")
    client = authority.vouch_for("client")
    signer = Signer()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    pair = impostor.vouch_for("server")
    context.load_cert_chain(pair.certificate, pair.key)
    async with listening(signer.handle, context) as port:
        for tls in (Tls(client.certificate, client.key, authority.certificate), Tls()):
            with pytest.raises(CustodyUnavailableError, match="vouch"):
                await RemoteCustody.open(settings(port, "https", tls))
    assert signer.transactions == []


@pytest.mark.parametrize("missing", ["certificate", "key", "authority"])
async def test_a_file_that_is_none_is_told_by_its_setting(
    authority: Authority, tmp_path: Path, missing: str
) -> None:
    client = authority.vouch_for("client")
    files = {
        "certificate": client.certificate,
        "key": client.key,
        "authority": authority.certificate,
    }
    files[missing] = tmp_path / "none.pem"
    files[missing].write_text("nothing")
    with pytest.raises(CustodyAccessError, match=r"^signers\.test\.c(a|lient)_certificate: "):
        await RemoteCustody.open(settings(1, "https", Tls(**files)))
