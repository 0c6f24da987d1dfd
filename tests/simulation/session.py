"""Stands where the HTTP session of :mod:`indexer.jsonrpc` would be: bytes in, bytes out, and no socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

import aiohttp

from indexer.provider import Provider
from tests.simulation.node import Node

FOREVER_S: Final = 3600.0
RUBBISH: Final = (
    b"",
    b"<html>502 Bad Gateway</html>",
    b'{"jsonrpc":"2.0","id":1,"result":',
    b'{"jsonrpc":"2.0","id":999999,"result":null}',
    b'{"jsonrpc":"2.0","id":1}',
    b"[]",
    b"\xff\xfe\x00",
)


class Content:
    """A body that comes in pieces."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def iter_any(self) -> AsyncIterator[bytes]:
        half = len(self._body) // 2
        yield self._body[:half]
        yield self._body[half:]


class Answer:
    """What is read of an HTTP answer."""

    def __init__(
        self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.content = Content(body)


class Exchange:
    """One request under way: ``async with session.post(…) as answer``."""

    def __init__(self, node: Node, request: bytes, timeout_s: float) -> None:
        self._node = node
        self._request = request
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._answer()
        except TimeoutError:
            # As aiohttp's own, which is not one of its ClientErrors.
            raise TimeoutError from None

    async def __aexit__(self, *_: object) -> None:
        pass

    async def _answer(self) -> Answer:
        node, faults = self._node, self._node.faults
        # The answer is of a moment between the question's coming and its own going.
        await asyncio.sleep(node.latency_s())
        if faults.away:
            raise aiohttp.ClientConnectionError("refused")
        if node.chance(faults.errors):
            raise aiohttp.ServerDisconnectedError
        if node.chance(faults.slow):
            await asyncio.sleep(FOREVER_S)
        if node.chance(faults.rate_limits):
            return Answer(b"slow down", 429, {"Retry-After": "1"})
        if node.chance(faults.rubbish):
            body = node.pick(RUBBISH)
            return Answer(body, 502 if body.startswith(b"<") else 200)
        body = node.answer(self._request)
        await asyncio.sleep(node.latency_s())
        return Answer(body)


class Session:
    """Of one provider's client."""

    def __init__(self, node: Node, timeout_s: float) -> None:
        self._node = node
        self._timeout_s = timeout_s

    def post(self, _url: str, *, data: bytes, **_: object) -> Exchange:
        return Exchange(self._node, data, self._timeout_s)

    async def close(self) -> None:
        pass


def connect(provider: Provider, node: Node) -> None:
    """Let a provider speak to a simulated node; what it sends and hears is the same as ever."""
    client = cast(Any, provider.rpc)._node
    client._session = Session(node, provider.settings.timeout_s)
