"""The API as it is served: a real pool, a real bank connector, HTTP on loopback."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web
from pydantic import SecretStr

from bridge.bank.rest import RestBank
from bridge.custody.log import CustodyLog
from daemon.api.app import make_app
from daemon.bridge_wiring import BridgeParts, bank_settings, token_of
from daemon.cache import StatusCache
from daemon.facts import NodeFacts, ProcessFacts, holder_name
from daemon.health import LoopFacts
from daemon.settings import Settings
from tests.integration.bridge.world import CHAIN_ID, TOKEN

KEY = b"k" * 32
WEBHOOK = "/v1/bank/webhook"

SETTINGS = Settings.model_validate(
    {
        "database": {"url": "postgresql://unused"},
        "chains": {
            "local": {
                "id": CHAIN_ID,
                "rpc_urls": ["http://user:hunter2@127.0.0.1:1/hunter2"],
                "single_provider": True,
            }
        },
        "token": {"address": "0x" + TOKEN.address.hex(), "currency": "EUR", "decimals": 2},
        "bank": {
            "base_url": "http://127.0.0.1:1",
            "account_id": TOKEN.account_id,
            "api_key": "hunter2",
            "webhook_secrets": [SecretStr("whsec_" + base64.b64encode(KEY).decode())],
        },
        "signers": {"minter": {"kind": "keystore", "keystore": "/nowhere", "password": "hunter2"}},
    }
)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Api:
    """A served API; ``loops`` and ``nodes`` are what the daemon would say of its own."""

    base: str
    session: aiohttp.ClientSession
    loops: list[LoopFacts] = field(default_factory=list)
    nodes: dict[str, NodeFacts] = field(default_factory=dict)

    async def get(self, path: str, method: str = "GET") -> Answer:
        async with self.session.request(method, self.base + path) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        url = self.base + path
        async with self.session.post(url, data=body, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    async def send(self, body: bytes, message_id: str = "msg_1", **changed: str) -> Answer:
        """Send a webhook as the bank would."""
        return await self.post(WEBHOOK, body, {**signed(body, message_id), **changed})


@asynccontextmanager
async def served(
    pool: asyncpg.Pool, settings: Settings = SETTINGS, cache: StatusCache | None = None
) -> AsyncIterator[Api]:
    """The daemon's own application over this pool."""
    loops: list[LoopFacts] = []
    nodes: dict[str, NodeFacts] = {}

    def facts() -> ProcessFacts:
        return ProcessFacts(holder_name(), tuple(loops), dict(nodes))

    async with AsyncExitStack() as stack:
        parts = None
        if settings.bridge is not None:
            bank = await stack.enter_async_context(RestBank(bank_settings(settings.bridge)))
            # The API has nothing to do with signers.
            log = CustodyLog(settings.daemon.custody_log)
            parts = BridgeParts(settings.bridge, token_of(settings.bridge), bank, (), log)
        api = await stack.enter_async_context(
            listening(make_app(pool, parts, facts, settings, cache))
        )
        yield Api(api.base, api.session, loops, nodes)


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[Api]:
    """Any application, on a port of its own."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            yield Api(base, session)
    finally:
        await runner.cleanup()


def signed(body: bytes, message_id: str = "msg_1", at_s: int | None = None) -> dict[str, str]:
    """The headers of an authentic webhook."""
    at = str(int(time.time()) if at_s is None else at_s)
    content = f"{message_id}.{at}.".encode() + body
    signature = base64.b64encode(hmac.digest(KEY, content, hashlib.sha256)).decode()
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": at,
        "Webhook-Signature": f"v1,{signature}",
        "Content-Type": "application/json",
    }


def entry(account: str = TOKEN.account_id, **changed: object) -> bytes:
    """The body of an `entry.booked` webhook: 100.25 EUR came in."""
    told = {
        "entry_key": "entry-1",
        "sequence": 1,
        "direction": "credit",
        "amount": "100.25",
        "currency": "EUR",
        "status": "booked",
        "booked_at": "2026-01-02T03:04:05Z",
        "counterparty": {"name": "A holder", "iban": "DE02120300000000202051"},
    }
    event = {
        "type": "entry.booked",
        "timestamp": "2026-01-02T03:04:05Z",
        "data": {"account": account, "entry": {**told, **changed}},
    }
    return json.dumps(event).encode()
