"""A small real HTTP node with a chain of its own, that can be told to misbehave in every way nodes do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

Json: TypeAlias = Any
CHAIN_ID = 4242
SECRET = "secret-key"
EMPTY_BLOOM = "0x" + "00" * 256


class Refusal(Exception):
    """What a JSON-RPC error says."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        super().__init__(message)
        self.fault = {"code": code, "message": message, **({} if data is None else {"data": data})}


def hash_of(number: int, fork: str = "a") -> bytes:
    return f"{fork}{number}".encode().ljust(32, b"\x01")


def data_of(value: bytes) -> str:
    return "0x" + value.hex()


@dataclass
class SmallNode:
    """Its chain is ``a0``, ``a1``, … up to ``head``; from ``forked_at`` on it is another one's.

    ``answers`` replaces the answer of a method, ``mangle`` the body that goes out. A batch is answered unless
    ``batch_limit`` is smaller than it.
    """

    head: int = 100
    finalized: int | None = 80
    safe: int | None = 90
    fork: str = "a"
    forked_at: int = 0
    chain_id: int = CHAIN_ID
    batch_limit: int = 1000
    batch_refusal_status: int = 200
    max_blocks: int | None = None
    logs_per_block: int = 0
    per_second: int | None = None
    status: int = 200
    delay_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Callable[[list[Json]], Json]] = field(default_factory=dict)
    mangle: Callable[[Json], Json] | None = None
    body: bytes | None = None
    calls: list[str] = field(default_factory=list)
    requests: list[Json] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    url: str = ""
    _seconds: list[float] = field(default_factory=list)

    def block_hash(self, number: int) -> bytes:
        return hash_of(number, self.fork if number >= self.forked_at else "a")

    def header(self, number: int) -> Json:
        return {
            "number": hex(number),
            "hash": data_of(self.block_hash(number)),
            "parentHash": data_of(self.block_hash(number - 1) if number else bytes(32)),
            "timestamp": hex(1_700_000_000 + number),
            "logsBloom": EMPTY_BLOOM,
            "transactions": [],
        }

    def log(self, number: int, index: int) -> Json:
        return {
            "address": "0x" + "0a" * 20,
            "topics": ["0x" + "01" * 32],
            "data": "0x" + "00" * 32,
            "blockHash": data_of(self.block_hash(number)),
            "blockNumber": hex(number),
            "transactionHash": data_of(hash_of(number, "t")),
            "transactionIndex": "0x0",
            "logIndex": hex(index),
            "removed": False,
        }

    async def answer(self, request: web.Request) -> web.Response:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            asked = await request.json()
            self.requests.append(asked)
            await asyncio.sleep(self.delay_s)
            if self._is_too_often(len(asked) if isinstance(asked, list) else 1):
                fault = {"code": 429, "message": "Too Many Requests"}
                return self._respond({"jsonrpc": "2.0", "id": None, "error": fault}, 429)
            if self.body is not None:
                return web.Response(body=self.body, status=self.status, headers=self.headers)
            if isinstance(asked, list) and len(asked) > self.batch_limit:
                fault = {"code": -32600, "message": "batch too large"}
                refusal = {"jsonrpc": "2.0", "id": None, "error": fault}
                return self._respond(refusal, self.batch_refusal_status)
            several = [self._one(call) for call in asked] if isinstance(asked, list) else None
            return self._respond(several or self._one(asked), self.status)
        finally:
            self.under_way -= 1

    def _respond(self, answer: Json, status: int) -> web.Response:
        body = json.dumps(self.mangle(answer) if self.mangle else answer).encode()
        return web.Response(body=body, status=status, headers=self.headers)

    def _one(self, call: Json) -> Json:
        self.calls.append(call["method"])
        reply: Json = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            replaced = self.answers.get(call["method"])
            if replaced is not None:
                return {**reply, "result": replaced(call["params"])}
            return {**reply, "result": self._result(call["method"], call["params"])}
        except Refusal as refusal:
            return {**reply, "error": refusal.fault}

    def _result(self, method: str, params: list[Json]) -> Json:
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_blockNumber":
                return hex(self.head)
            case "eth_getBlockByNumber":
                return self._block(params[0])
            case "eth_getLogs":
                return self._logs(params[0])
        raise Refusal(-32601, f"the method {method} does not exist/is not available")

    def _block(self, name: str) -> Json:
        tags = {"latest": self.head, "safe": self.safe, "finalized": self.finalized}
        number = tags[name] if name in tags else int(name, 16)
        if number is None:
            raise Refusal(-39001, f"{name} block not found")
        return self.header(number) if number <= self.head else None

    def _logs(self, query: Json) -> Json:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if self.max_blocks is not None and last - first + 1 > self.max_blocks:
            raise Refusal(-32701, f"exceed maximum block range: {self.max_blocks}")
        # As nodes do: what lies above the head is left out without a word.
        return [
            self.log(number, index)
            for number in range(first, min(last, self.head) + 1)
            for index in range(self.logs_per_block)
        ]

    def _is_too_often(self, calls: int) -> bool:
        now_s = asyncio.get_running_loop().time()
        self._seconds = [at for at in self._seconds if at > now_s - 1.0]
        if self.per_second is not None and len(self._seconds) + calls > self.per_second:
            return True
        self._seconds += [now_s] * calls
        return False


@asynccontextmanager
async def serving(node: SmallNode) -> AsyncIterator[SmallNode]:
    application = web.Application(client_max_size=2**24)
    application.router.add_post(f"/v2/{SECRET}", node.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    node.url = f"http://user:password@127.0.0.1:{runner.addresses[0][1]}/v2/{SECRET}"
    try:
        yield node
    finally:
        await runner.cleanup()
