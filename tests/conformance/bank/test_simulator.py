"""The simulator as a process: what it refuses, how it tells, and how it stops."""

import asyncio
import base64
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.conformance.bank.conftest import API_KEY, REPOSITORY, simulator

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
PARTY = {"name": "Payer", "iban": "DE02120300000000202051"}


class Customer:
    """A customer of the bank whose webhook address fails as often as the test says."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failures_left = 0
        self._arrived = asyncio.Condition()

    async def receive(self, request: web.Request) -> web.Response:
        await request.read()
        if self.failures_left > 0:
            self.failures_left -= 1
            return web.Response(status=503)
        async with self._arrived:
            self.seen.append(request.headers["webhook-id"])
            self._arrived.notify_all()
        return web.Response(status=204)

    async def heard(self, count: int) -> Counter[str]:
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= count)
        await asyncio.sleep(0.2)  # time for one too many
        return Counter(self.seen)


@pytest_asyncio.fixture(loop_scope="session")
async def customer() -> AsyncIterator[tuple[Customer, aiohttp.ClientSession]]:
    customer = Customer()
    app = web.Application()
    app.router.add_post("/hook", customer.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        async with (
            simulator(hook) as url,
            aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {API_KEY}"}) as session,
        ):
            yield customer, session
    finally:
        await runner.cleanup()


async def deposit(session: aiohttp.ClientSession, **changes: object) -> str:
    body = {"amount": "1.00", "currency": "EUR", "reference": "r", "counterparty": PARTY} | changes
    async with session.post("/v1/deposits", json=body) as response:
        assert response.status == 201, await response.text()
        return str((await response.json())["entry_key"])


async def test_webhooks_come_as_often_as_asked_and_again_after_a_failure(
    customer: tuple[Customer, aiohttp.ClientSession],
) -> None:
    receiver, session = customer
    receiver.failures_left = 1
    once = await deposit(session)
    twice = await deposit(session, webhook="twice")
    await deposit(session, webhook="never")
    assert await receiver.heard(3) == {f"msg_{once}": 1, f"msg_{twice}": 2}
    async with session.get("/v1/stats") as response:
        stats = await response.json()
    assert stats["entries"] == {"credit": 3, "debit": 0}
    assert stats["webhooks"] == {
        "queued": 0,
        "delivered": 3,
        "failed_attempts": 1,
        "given_up": 0,
        "never": 1,
        "overflowed": 0,
    }


async def test_a_raw_deposit_is_told_and_listed_but_not_in_the_balance(
    customer: tuple[Customer, aiohttp.ClientSession],
) -> None:
    receiver, session = customer
    rubbish = await deposit(session, amount="-1e9", currency="???", raw=True)
    assert await receiver.heard(1) == {f"msg_{rubbish}": 1}
    async with session.get("/v1/accounts/RES-1/balance") as response:
        assert await response.json() == {"balance": "0.00", "currency": "EUR", "last_sequence": 1}
    async with session.get("/v1/accounts/RES-1/entries") as response:
        (entry,) = (await response.json())["entries"]
    assert (entry["amount"], entry["currency"]) == ("-1e9", "???")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("POST", "/v1/deposits", b"{", 400, "invalid_json"),
        ("POST", "/v1/deposits", b"{}", 400, "invalid_request"),
        ("POST", "/v1/deposits", b" " * 70_000, 413, "request_entity_too_large"),
        ("POST", "/v1/faults", b'{"operation":"x","kind":"y"}', 400, "invalid_request"),
        ("GET", "/v1/accounts/RES-1/entries?limit=0", None, 400, "invalid_request"),
        ("GET", "/v1/accounts/RES-1/entries?after=-1", None, 400, "invalid_request"),
        ("GET", "/v1/accounts/OTHER/balance", None, 404, "account_not_found"),
        ("GET", "/v1/payments/NOSUCH", None, 404, "not_found"),
        ("GET", "/v1/nothing", None, 404, "route_not_found"),
        ("PUT", "/v1/deposits", b"{}", 405, "method_not_allowed"),
    ],
)
async def test_a_wrong_request_gets_a_problem_with_its_reason(
    rest_simulator: tuple[object, str],
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    reason: str,
) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, rest_simulator[1] + path, data=body) as response,
    ):
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert (await response.json())["reason"] == reason


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", f"Basic {API_KEY}", "é"])
async def test_nothing_is_told_without_the_key(
    rest_simulator: tuple[object, str], authorization: str
) -> None:
    async with (
        aiohttp.ClientSession(headers={"Authorization": authorization}) as session,
        session.get(rest_simulator[1] + "/v1/stats") as response,
    ):
        assert response.status == 401
        assert (await response.json())["reason"] == "unauthorized"


def refused(
    *options: str, key: str = API_KEY, webhook_key: str = SECRET
) -> "subprocess.CompletedProcess[str]":
    environment = {
        "LANDBRIDGE_SIMBANK_API_KEY": key,
        "LANDBRIDGE_SIMBANK_WEBHOOK_SECRET": webhook_key,
    }
    return subprocess.run(  # our own program
        [sys.executable, "-m", "simbank", *options],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_start_that_cannot_work_says_what_to_set(tmp_path: Path) -> None:
    no_books = str(tmp_path / "missing" / "books.db")
    cases = [
        (refused("--account", "A", key=""), "LANDBRIDGE_SIMBANK_API_KEY"),
        (refused("--account", "A B"), "--account"),
        (refused("--account", "A", "--currency", "euro"), "--currency"),
        (refused("--account", "A", "--books", no_books), "--books"),
        (refused("--account", "A", "--host", "203.0.113.1"), "cannot listen"),
        (
            refused("--account", "A", "--webhook-url", "http://127.0.0.1:1", webhook_key="hush"),
            "LANDBRIDGE_SIMBANK_WEBHOOK_SECRET",
        ),
    ]
    for done, named in cases:
        assert done.returncode != 0
        assert done.stdout == ""
        assert named in done.stderr
        assert "Traceback" not in done.stderr
        assert "hush" not in done.stderr
