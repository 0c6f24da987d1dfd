"""The custodian at an HTTP port: slow approvers, and callbacks that come late, twice and in any order."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

from bridge.custody.simulator.custodian import Custodian, Entry, RefusedError

MAX_BODY_BYTES: Final = 512 * 1024
CALLBACK_TIMEOUT_S: Final = 5.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """``decide_after_s``: how long each approver takes, one after another; None: nobody decides by themselves.
    A callback is sent up to ``repeats`` times, each at a moment of its own within ``callback_spread_s``."""

    api_key: str = field(repr=False)
    decide_after_s: float | None = 0.05
    callback_url: str | None = None
    callback_key: bytes = field(default=b"", repr=False)
    callback_spread_s: float = 0.1
    repeats: int = 3
    seed: int = 0


class SimulatedCustodian:
    """An async context manager; ``url`` is where it listens."""

    def __init__(self, custodian: Custodian, settings: SimulatorSettings, port: int = 0) -> None:
        self.custodian = custodian
        self.settings = settings
        self.url = ""
        self.port = port
        # What it draws decides no secret: it is only to be drawn the same again.
        self._random = random.Random(settings.seed)  # noqa: S311
        self._tasks: set[asyncio.Task[None]] = set()
        self._callbacks = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=CALLBACK_TIMEOUT_S)
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guard])
        app.router.add_post("/v1/requests", self._create)
        app.router.add_get("/v1/requests/{id}", self._show)
        app.router.add_post("/v1/requests/{id}/cancel", self._cancel)
        app.router.add_get("/v1/accounts/{account}", self._account)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        host, self.port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{self.port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    def tell(self, entry: Entry) -> None:
        """Send callbacks about a request, as it is now."""
        if self.settings.callback_url is None:
            return
        for _ in range(self._random.randint(1, self.settings.repeats)):
            self._begin(self._call_back(entry, self._random.random()))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.settings.api_key}".encode()):
            return _refusal(401, "unauthorized", "the API key is not right")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        try:
            entry = self.custodian.create(await request.read())
        except RefusedError as error:
            return _refusal(error.status, error.code, str(error))
        if entry.status == "pending":
            self._begin(self._decide(entry.asked.id))
        self.tell(entry)
        return web.json_response(entry.shown(), status=201)

    async def _show(self, request: web.Request) -> web.Response:
        entry = self.custodian.look(request.match_info["id"])
        if entry is None:
            return _refusal(404, "not_found", "there is no such request")
        return web.json_response(entry.shown())

    async def _cancel(self, request: web.Request) -> web.Response:
        if not self.custodian.cancel(request.match_info["id"]):
            return _refusal(409, "too_late", "it cannot be cancelled")
        return web.json_response({"status": "cancelled"})

    async def _account(self, request: web.Request) -> web.Response:
        if request.match_info["account"] != self.custodian.account:
            return _refusal(404, "not_found", "there is no such account")
        return web.json_response({"address": f"0x{self.custodian.address.hex()}"})

    async def _decide(self, request_id: str) -> None:
        """Each approver in turn, at their own pace; those that are not needed any more too."""
        if self.settings.decide_after_s is None:
            return
        for name in self.custodian.approvers:
            await asyncio.sleep(self.settings.decide_after_s * (0.5 + self._random.random()))
            self.tell(self.custodian.approve(request_id, name))

    async def _call_back(self, entry: Entry, place: float) -> None:
        body = json.dumps({"id": entry.asked.id, "status": entry.status}).encode()
        await asyncio.sleep(place * self.settings.callback_spread_s)
        self._callbacks += 1
        message_id, at_s = f"callback-{self._callbacks}", str(int(time.time()))
        signed = b".".join((message_id.encode(), at_s.encode(), body))
        mac = hmac.digest(self.settings.callback_key, signed, hashlib.sha256)
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": at_s,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        try:
            async with self._session.post(
                self.settings.callback_url or "", data=body, headers=headers
            ):
                pass
        except (aiohttp.ClientError, TimeoutError, OSError):
            # A callback that nobody hears is lost: whoever waits for it has to ask.
            return

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refusal(status: int, code: str, reason: str) -> web.Response:
    return web.json_response({"code": code, "reason": reason}, status=status)
