"""The JSON-RPC client, against a server that answers whatever a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import web

from indexer.errors import RpcError, RpcMalformed, RpcUnavailable
from indexer.rpc import Rpc

HASH = "0x" + "11" * 32
HEADER = {
    "number": "0x10",
    "hash": HASH,
    "parentHash": "0x" + "22" * 32,
    "timestamp": "0x65",
    "logsBloom": "0x" + "00" * 256,
    "baseFeePerGas": "0x7",
}


@dataclass
class Answering:
    """``body`` goes out as it is; a dict is completed into an answer to the request."""

    body: bytes | dict[str, object] = b""
    status: int = 200
    delay_s: float = 0.0
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        call = await request.json()
        await asyncio.sleep(self.delay_s)
        body = self.body
        if isinstance(body, dict):
            body = json.dumps({"jsonrpc": "2.0", "id": call["id"], **body}).encode()
        return web.Response(body=body, status=self.status)


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[Answering]:
    answering = Answering()
    application = web.Application()
    application.router.add_post("/v2/secret-key", answering.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answering.url = f"http://user:password@127.0.0.1:{runner.addresses[0][1]}/v2/secret-key"
    yield answering
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def rpc(server: Answering) -> AsyncIterator[Rpc]:
    async with Rpc(server.url, total_timeout_s=0.5, max_response_bytes=10_000) as client:
        yield client


async def test_a_header_is_read_into_a_value(server: Answering, rpc: Rpc) -> None:
    server.body = {"result": HEADER}
    header = await rpc.header(16)
    assert header is not None
    assert (header.number, header.hash, header.timestamp_s) == (16, b"\x11" * 32, 101)
    assert header.base_fee_wei == 7
    server.body = {"result": None}
    assert await rpc.header("latest") is None


async def test_another_block_than_the_one_asked_for_is_malformed(
    server: Answering, rpc: Rpc
) -> None:
    server.body = {"result": HEADER}
    with pytest.raises(RpcMalformed, match="asked for 17"):
        await rpc.header(17)
    with pytest.raises(RpcMalformed, match="another hash"):
        await rpc.header(b"\x33" * 32)


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_refusal_is_read_whatever_the_http_status(
    server: Answering, rpc: Rpc, status: int
) -> None:
    server.status = status
    server.body = {"error": {"code": 3, "message": "execution reverted", "data": "0x1234"}}
    with pytest.raises(RpcError) as raised:
        await rpc.call("eth_call", [{}])
    error = raised.value
    assert (error.code, error.message, error.data) == (3, "execution reverted", "0x1234")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>bad gateway</html>", 502),
        (b"", 429),
        ({"result": "0x1"}, 503),
        ({"error": {"code": -32005, "message": "slow down"}}, 200),
        ({"error": {"code": 1, "message": "slow down"}}, 429),
    ],
)
async def test_a_node_that_is_overloaded_or_away_is_unavailable(
    server: Answering, rpc: Rpc, body: bytes | dict[str, object], status: int
) -> None:
    server.body, server.status = body, status
    with pytest.raises(RpcUnavailable):
        await rpc.call("eth_chainId")


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b"\xff",
        {},
        {"id": 999, "result": HEADER},
        {"error": "text"},
        {"result": {**HEADER, "hash": "0x11"}},
        {"result": {**HEADER, "number": 16}},
        {"result": "x" * 20_000},
        {"result": []},
    ],
)
async def test_nonsense_is_malformed(
    server: Answering, rpc: Rpc, body: bytes | dict[str, object]
) -> None:
    server.body = body
    with pytest.raises(RpcMalformed):
        await rpc.header("latest")


async def test_no_answer_in_time_is_unavailable(server: Answering, rpc: Rpc) -> None:
    server.body, server.delay_s = {"result": "0x1"}, 1.0
    with pytest.raises(RpcUnavailable, match="timed out"):
        await rpc.call("eth_sendRawTransaction", ["0x"])


async def test_neither_errors_nor_the_client_show_the_key_in_the_url(
    server: Answering, rpc: Rpc
) -> None:
    server.status = 500
    with pytest.raises(RpcUnavailable) as raised:
        await rpc.chain_id()
    texts = [str(raised.value), repr(raised.value), repr(rpc), rpc.endpoint]
    server.delay_s = 1.0
    with pytest.raises(RpcUnavailable, match="timed out") as raised:
        await rpc.chain_id()
    texts.append(str(raised.value))
    async with Rpc("http://user:password@127.0.0.1:9/v2/secret-key") as nowhere:
        with pytest.raises(RpcUnavailable, match="Connect") as raised:
            await nowhere.chain_id()
    texts.append(str(raised.value))
    for text in texts:
        assert "secret-key" not in text
        assert "password" not in text
        assert "127.0.0.1" in text
