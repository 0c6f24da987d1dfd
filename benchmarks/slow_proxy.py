"""A provider with limits, made of a node without any: `python -m benchmarks.slow_proxy --upstream URL`.

Each HTTP request takes a tenth of a second at least; no more than 20 calls pass in any second
(those of a JSON-RPC batch count one by one, as providers count them), and more get the status 429;
an eth_getLogs over more than 2,000 blocks is refused. The texts are a real provider's.

It prints `Listening on PORT`, and GET /counts tells what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

HOST = "127.0.0.1"
MAX_REQUEST_BYTES = 1_000_000
WINDOW_S = 1.0
TOO_MANY = "The requests per second (RPS) of your requests are higher than your plan allows."
TOO_MANY_CODE = 429
TOO_WIDE = "eth_getLogs is limited to a {limit:,} range"
TOO_WIDE_CODE = -32614
Call = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows, and how long it takes to answer."""

    latency_s: float = 0.1
    calls_per_s: int = 20
    max_blocks: int = 2_000

    def least_s(self, calls: int) -> float:
        """In how short a time so many calls can be answered.

        A second's worth passes at once; from then on each second lets as many through.
        """
        return max(0, calls - self.calls_per_s) / self.calls_per_s + self.latency_s

    def calls_for(self, blocks: int) -> int:
        """How many eth_getLogs so many blocks take."""
        return -(-blocks // self.max_blocks)


class Window:
    """Admits so many calls in any second; those that were refused do not count."""

    def __init__(self, calls_per_s: int) -> None:
        self._calls_per_s = calls_per_s
        self._admitted: deque[float] = deque(maxlen=calls_per_s)

    def admits(self, now_s: float, calls: int) -> bool:
        """Whether so many calls may pass at this time of a clock that does not go back."""
        while self._admitted and self._admitted[0] <= now_s - WINDOW_S:
            self._admitted.popleft()
        if len(self._admitted) + calls > self._calls_per_s:
            return False
        self._admitted.extend(itertools.repeat(now_s, calls))
        return True


def is_too_wide(call: Call, head: int, max_blocks: int) -> bool:
    """Whether an eth_getLogs asks for more blocks than are allowed; tags stand for the head."""
    if call.get("method") != "eth_getLogs":
        return False
    query = (call.get("params") or [{}])[0]
    if "blockHash" in query:
        return False
    first = _height(query.get("fromBlock", "latest"), head)
    last = _height(query.get("toBlock", "latest"), head)
    return last - first + 1 > max_blocks


def _height(text: str, head: int) -> int:
    if text == "earliest":
        return 0
    return int(text, 16) if text.startswith("0x") else head


@dataclass(slots=True)
class Counts:
    """Times are of time.monotonic(), which all processes of the machine share."""

    first_at_s: float | None = None
    passed: int = 0
    refused: int = 0
    too_wide: int = 0
    methods: dict[str, int] = field(default_factory=dict)

    def take(self, calls: Sequence[Call]) -> None:
        """Count calls that passed."""
        self.passed += len(calls)
        for call in calls:
            method = str(call.get("method"))
            self.methods[method] = self.methods.get(method, 0) + 1


class SlowProxy:
    """The handler, its limits and its counts."""

    def __init__(self, upstream: str, limits: Limits) -> None:
        self._upstream = upstream
        self._limits = limits
        self._window = Window(limits.calls_per_s)
        self._counts = Counts()
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_REQUEST_BYTES)
        application.router.add_get("/counts", self._tell)
        application.router.add_post("/", self._answer)
        application.cleanup_ctx.append(self._connected)
        return application

    async def _connected(self, _: web.Application) -> Any:
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            yield

    async def _tell(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self._counts))

    async def _answer(self, request: web.Request) -> web.Response:
        arrived_at_s = time.monotonic()
        body = await request.read()
        asked = msgspec.json.decode(body)
        calls: Sequence[Call] = asked if isinstance(asked, list) else [asked]
        if self._counts.first_at_s is None:
            self._counts.first_at_s = arrived_at_s
        if not self._window.admits(arrived_at_s, len(calls)):
            self._counts.refused += len(calls)
            return await self._later(arrived_at_s, 429, _refusal(asked, TOO_MANY_CODE, TOO_MANY))
        self._counts.take(calls)
        if await self._any_too_wide(calls):
            text = TOO_WIDE.format(limit=self._limits.max_blocks)
            return await self._later(arrived_at_s, 200, _refusal(asked, TOO_WIDE_CODE, text))
        return await self._later(arrived_at_s, 200, await self._ask(body))

    async def _any_too_wide(self, calls: Sequence[Call]) -> bool:
        if all(call.get("method") != "eth_getLogs" for call in calls):
            return False
        head = await self._head()
        wide = [call for call in calls if is_too_wide(call, head, self._limits.max_blocks)]
        self._counts.too_wide += len(wide)
        return bool(wide)

    async def _head(self) -> int:
        question = {"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []}
        answer = msgspec.json.decode(await self._ask(msgspec.json.encode(question)))
        return int(answer["result"], 16)

    async def _ask(self, body: bytes) -> bytes:
        if self._session is None:
            raise RuntimeError("the proxy is not running")
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._upstream, data=body, headers=headers) as response:
            return await response.read()

    async def _later(self, arrived_at_s: float, status: int, body: bytes) -> web.Response:
        """Answer so late after the request's arrival as the provider is slow."""
        await asyncio.sleep(max(0.0, arrived_at_s + self._limits.latency_s - time.monotonic()))
        return web.Response(status=status, body=body, content_type="application/json")


def _refusal(asked: Call | Sequence[Call], code: int, message: str) -> bytes:
    """The same error for each call that was asked."""
    error = {"code": code, "message": message}
    if isinstance(asked, Mapping):
        return msgspec.json.encode({"jsonrpc": "2.0", "id": asked.get("id"), "error": error})
    errors = [{"jsonrpc": "2.0", "id": call.get("id"), "error": error} for call in asked]
    return msgspec.json.encode(errors)


async def serve(upstream: str, limits: Limits) -> None:
    """Serve at a port of the system's choice until SIGTERM."""
    runner = web.AppRunner(SlowProxy(upstream, limits).application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    print(f"Listening on {runner.addresses[0][1]}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    usual = Limits()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", required=True, help="URL of the node")
    parser.add_argument("--latency-s", type=float, default=usual.latency_s)
    parser.add_argument("--calls-per-s", type=int, default=usual.calls_per_s)
    parser.add_argument("--max-blocks", type=int, default=usual.max_blocks)
    given = parser.parse_args()
    limits = Limits(given.latency_s, given.calls_per_s, given.max_blocks)
    asyncio.run(serve(given.upstream, limits))


if __name__ == "__main__":
    main()
