"""The banks that the suite runs against, each a real process with real connections."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from bridge.bank.connector import BankConnector, PaymentOrder
from bridge.bank.rest import RestBank, RestBankSettings

REPOSITORY = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
API_KEY = "conformance-key"
LIVE_SECRET = "whsec_" + base64.b64encode(b"l" * 32).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
CLIENT_TIMEOUT_S = 1.0

Webhook = tuple[Mapping[str, str], bytes]


class BankControl(Protocol):
    """What a test may do to the bank behind a connector's back."""

    async def deposit(self, amount: str, webhook: str = "normal") -> str: ...

    async def fault(
        self, operation: str, kind: str, count: int = 1, delay_s: float = 5.0
    ) -> None: ...

    async def webhook_about(self, entry_key: str) -> Webhook: ...


@dataclass(frozen=True)
class BankUnderTest:
    """A connector, its bank, and the connector's settings for making another one."""

    connector: BankConnector
    control: BankControl
    settings: RestBankSettings

    def order(self, **changes: object) -> PaymentOrder:
        """An order under an id that was not used before."""
        order = PaymentOrder(
            end_to_end_id=f"T{os.urandom(12).hex().upper()}",
            account_id=self.settings.account_id,
            amount_minor=125,
            currency=self.settings.currency,
            exponent=self.settings.exponent,
            creditor_name="Payee",
            creditor_iban="DE02120300000000202051",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        return replace(order, **changes)  # type: ignore[arg-type]


class SimulatorControl:
    """The simulator's test routes, and a receiver for its webhooks."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._received: dict[str, Webhook] = {}
        self._arrived = asyncio.Condition()

    async def deposit(self, amount: str, webhook: str = "normal") -> str:
        body: dict[str, object] = {
            "amount": amount,
            "currency": "EUR",
            "reference": "conformance",
            "counterparty": {"name": "Payer", "iban": "DE02120300000000202051"},
            "webhook": webhook,
        }
        return str((await self._post("deposits", body))["entry_key"])

    async def fault(self, operation: str, kind: str, count: int = 1, delay_s: float = 5.0) -> None:
        body: dict[str, object] = {
            "operation": operation,
            "kind": kind,
            "count": count,
            "delay_s": delay_s,
        }
        await self._post("faults", body)

    async def clear_faults(self) -> None:
        async with self._session.delete(f"{self._url}/v1/faults") as response:
            assert response.status == 200

    async def webhook_about(self, entry_key: str) -> Webhook:
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: entry_key in self._received)
            return self._received[entry_key]

    async def receive(self, request: web.Request) -> web.Response:
        raw = await request.read()
        async with self._arrived:
            entry_key = json.loads(raw)["data"]["entry"]["entry_key"]
            self._received[entry_key] = (dict(request.headers), raw)
            self._arrived.notify_all()
        return web.Response(status=204)

    def use(self, url: str) -> None:
        self._url = url

    async def _post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        async with self._session.post(f"{self._url}/v1/{path}", json=body) as response:
            assert response.status == 201, await response.text()
            answer: dict[str, object] = await response.json()
            return answer


@asynccontextmanager
async def simulator(webhook_url: str, account: str = "RES-1") -> AsyncIterator[str]:
    """A simulator process on a free port; gives its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simbank", "--account", account),
        *("--webhook-url", webhook_url, "--booking-delay-s", "0.1", "--webhook-spread-s", "0.05"),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env=os.environ
        | {
            "LANDBRIDGE_SIMBANK_API_KEY": API_KEY,
            "LANDBRIDGE_SIMBANK_WEBHOOK_SECRET": LIVE_SECRET,
        },
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        yield json.loads(line)["listening"]
    finally:
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S) == 0


@asynccontextmanager
async def receiving(control: SimulatorControl) -> AsyncIterator[str]:
    """A webhook receiver on a free port; gives its URL."""
    app = web.Application()
    app.router.add_post("/bank", control.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/bank"
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest_simulator() -> AsyncIterator[tuple[SimulatorControl, str]]:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        control = SimulatorControl(session, "")
        async with receiving(control) as webhook_url, simulator(webhook_url) as url:
            control.use(url)
            yield control, url


@pytest.fixture
def rest_settings(rest_simulator: tuple[SimulatorControl, str]) -> RestBankSettings:
    return RestBankSettings(
        base_url=rest_simulator[1],
        api_key=SecretStr(API_KEY),
        account_id="RES-1",
        currency="EUR",
        exponent=2,
        webhook_secrets=(SecretStr(OTHER_SECRET), SecretStr(LIVE_SECRET)),
        timeout_s=CLIENT_TIMEOUT_S,
        page_limit=3,
    )


@pytest_asyncio.fixture(loop_scope="session", params=["rest"])
async def bank(
    rest_simulator: tuple[SimulatorControl, str], rest_settings: RestBankSettings
) -> AsyncIterator[BankUnderTest]:
    """A funded account at a bank without faults."""
    control, _ = rest_simulator
    await control.clear_faults()
    await control.deposit("1000.00")
    async with RestBank(rest_settings) as connector:
        yield BankUnderTest(connector, control, rest_settings)
