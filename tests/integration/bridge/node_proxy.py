"""A proxy between the daemon and a real node that sees every call, and may answer in the node's place."""

import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

Judge = Callable[[str, list[Any]], Awaitable[dict[str, Any] | None]]


async def pass_all(_method: str, _params: list[Any]) -> dict[str, Any] | None:
    """Let every call through."""
    return None


class NodeProxy:
    """Forwards JSON-RPC. ``judge`` sees each call first: an object it returns is the answer instead."""

    def __init__(self, upstream: str, judge: Judge = pass_all) -> None:
        self.judge = judge
        self.url = ""
        self._upstream = upstream

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if isinstance(asked, list):
            return web.json_response([await self._answer(call) for call in asked])
        return web.json_response(await self._answer(asked))

    async def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        answer = await self.judge(call["method"], list(call["params"]))
        if answer is not None:
            return {"jsonrpc": "2.0", "id": call["id"], **answer}
        return await self._ask(call)

    async def ask(self, method: str, params: list[Any]) -> dict[str, Any]:
        """What the node says, for a judge that changes it."""
        return await self._ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    async def _ask(self, call: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(self._upstream, json=call) as response:
            answer: dict[str, Any] = json.loads(await response.text())
            return answer
