"""A proxy before a real node that lies where it is told to: what Anvil itself cannot be made to do.

It speaks JSON-RPC over HTTP, batches included, and passes subscriptions on by WebSocket. Which lies it tells is
a list of small functions, see `lies`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias

import aiohttp
from aiohttp import web

from daemon.embedded.anvil import Anvil

HOST = "127.0.0.1"
MAX_BYTES = 2**26

Json: TypeAlias = Any
# The part of an answer that is not the envelope: `result`, or `error`.
Reply: TypeAlias = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Call:
    """One question. ``place`` and ``of`` say which one it is of how many in one request."""

    method: str
    params: list[Json]
    place: int = 0
    of: int = 1


Ask: TypeAlias = Callable[[Call], Awaitable[Reply]]
# Answers a call, by asking the node, or not.
Lie: TypeAlias = Callable[[Call, Ask], Awaitable[Reply]]


class Bare(Exception):
    """What is sent instead of any JSON-RPC answer, whatever else the request asked."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        super().__init__("an answer that is no JSON-RPC")
        self.body = body
        self.status = status


class LyingNode:
    """Tells what ``upstream`` says but for its lies; ``told`` counts these by name.

    `hold` lets nothing pass until `release`: whoever asks waits, and pushed heads wait too. `show` puts another node
    behind it, as when a provider's load balancer turns elsewhere. ``mute`` swallows pushed heads.
    """

    def __init__(self, upstream: Anvil) -> None:
        self.url = ""
        self.mute = False
        self.told: Counter[str] = Counter()
        self._upstream = upstream
        self._lies: list[Lie] = []
        self._passes = asyncio.Event()
        self._passes.set()
        self._asked = asyncio.Event()
        self._sockets: set[web.WebSocketResponse] = set()

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        application = web.Application(client_max_size=MAX_BYTES)
        application.router.add_post("/", self._answer)
        application.router.add_get("/", self._subscribe)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"http://{HOST}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        await self.hang_up()
        await self._runner.cleanup()
        await self._session.close()

    @contextmanager
    def telling(self, *lies: Lie) -> Iterator[Self]:
        """Lie so meanwhile; of several the first is asked last, so it has the last word."""
        before = self._lies
        self._lies = [*before, *lies]
        try:
            yield self
        finally:
            self._lies = before

    def pause(self) -> None:
        """Answer nobody any more."""
        self._passes.clear()

    async def hold(self) -> None:
        """The same; returns once somebody has asked, and waits."""
        self._asked.clear()
        self.pause()
        await self._asked.wait()

    def release(self) -> None:
        self._passes.set()

    async def show(self, upstream: Anvil) -> None:
        """Be another node from now on."""
        self._upstream = upstream
        await self.hang_up()

    async def hang_up(self) -> None:
        for socket in list(self._sockets):
            await socket.close()

    def be_honest(self) -> None:
        """Everything is as it was."""
        self._lies = []
        self.mute = False
        self.release()

    async def _pass(self) -> None:
        self._asked.set()
        await self._passes.wait()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        await self._pass()
        several = asked if isinstance(asked, list) else [asked]
        try:
            # One after the other, as a node does that works while its chain changes.
            answers = [await self._reply(one, at, len(several)) for at, one in enumerate(several)]
        except Bare as bare:
            return web.Response(body=bare.body, status=bare.status, content_type="application/json")
        return web.json_response(answers if isinstance(asked, list) else answers[0])

    async def _reply(self, asked: Json, place: int, of: int) -> Json:
        ask: Ask = self._truth
        for lie in self._lies:
            ask = partial(self._told_by, lie, ask)
        reply = await ask(Call(asked["method"], list(asked["params"]), place, of))
        return {"jsonrpc": "2.0", "id": asked["id"], **reply}

    async def _told_by(self, lie: Lie, ask: Ask, call: Call) -> Reply:
        """A lie counts where it changes what would have been said."""
        heard: list[Reply] = []

        async def listening(question: Call) -> Reply:
            answer = await ask(question)
            if question == call:
                heard.append(answer)
            return answer

        try:
            reply = await lie(call, listening)
        except Bare:
            self.told[call.method] += 1
            raise
        if heard != [reply]:
            self.told[call.method] += 1
        return reply

    async def _truth(self, call: Call) -> Reply:
        question = {"jsonrpc": "2.0", "id": 1, "method": call.method, "params": call.params}
        async with self._session.post(self._upstream.url, json=question) as response:
            answer = await response.json(content_type=None)
        return {key: answer[key] for key in ("result", "error") if key in answer}

    async def _subscribe(self, request: web.Request) -> web.WebSocketResponse:
        client = web.WebSocketResponse()
        await client.prepare(request)
        self._sockets.add(client)
        try:
            url = self._upstream.url.replace("http", "ws")
            async with self._session.ws_connect(url) as node:
                tasks = [
                    asyncio.create_task(self._to_node(client, node)),
                    asyncio.create_task(self._to_client(node, client)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._sockets.discard(client)
        return client

    async def _to_node(
        self, client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse
    ) -> None:
        async for message in client:
            await node.send_str(message.data)

    async def _to_client(
        self, node: aiohttp.ClientWebSocketResponse, client: web.WebSocketResponse
    ) -> None:
        async for message in node:
            await self._passes.wait()
            if not (self.mute and "method" in json.loads(message.data)):
                await client.send_str(message.data)
