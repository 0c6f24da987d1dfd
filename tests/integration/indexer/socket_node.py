"""A small real WebSocket server that pushes the heads a test gives it, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.integration.indexer.small_node import SECRET, SmallNode

SUBSCRIPTION = "0xcd0c3e8af590364c09d0fa6a1210faf5"


@dataclass
class SocketNode:
    """``subscribed`` is what it answers to eth_subscribe; None: nothing."""

    chain: SmallNode = field(default_factory=lambda: SmallNode(head=10**6))
    subscribed: dict[str, Any] | None = field(default_factory=lambda: {"result": SUBSCRIPTION})
    redirect_to: str | None = None
    asked: list[Any] = field(default_factory=list)
    connections: set[ServerConnection] = field(default_factory=set)
    connected: int = 0
    url: str = ""

    async def push(self, *numbers: int, **changes: object) -> None:
        for number in numbers:
            await self.send(self.notice({**self.chain.header(number), **changes}))

    def notice(self, header: object, subscription: str = SUBSCRIPTION) -> dict[str, Any]:
        params = {"subscription": subscription, "result": header}
        return {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}

    async def send(self, message: object) -> None:
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        for connection in list(self.connections):
            await connection.send(text)

    async def until_subscribed(self, times: int = 1) -> None:
        async with asyncio.timeout(10.0):
            while len(self.asked) < times:  # noqa: ASYNC110 - whatever it is, it is looked at from outside
                await asyncio.sleep(0.005)

    async def cut(self) -> None:
        for connection in list(self.connections):
            connection.transport.abort()

    async def handle(self, connection: ServerConnection) -> None:
        self.connected += 1
        self.connections.add(connection)
        try:
            async for message in connection:
                call = json.loads(message)
                if self.subscribed is not None:
                    reply = {"jsonrpc": "2.0", "id": call["id"], **self.subscribed}
                    await connection.send(json.dumps(reply))
                self.asked.append(call)
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(connection)

    def before_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.redirect_to is None:
            return None
        response = connection.respond(307, "elsewhere")
        response.headers["Location"] = self.redirect_to
        return response


@asynccontextmanager
async def serving_socket(node: SocketNode) -> AsyncIterator[SocketNode]:
    async with serve(
        node.handle, "127.0.0.1", 0, process_request=node.before_handshake, close_timeout=0.1
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        node.url = f"ws://user:password@127.0.0.1:{port}/v2/{SECRET}"
        yield node
