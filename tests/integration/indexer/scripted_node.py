"""A small real HTTP server that serves the chain a test scripts: for what Anvil cannot do, such as going
back to an orphaned branch, lagging, or leaving logs out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from indexer import bloom
from indexer.keccak import keccak
from indexer.wire import Log

CHAIN_ID = 4242
TOKEN = bytes.fromhex("70") * 20
SENT = keccak(b"Sent(address,address,uint256,string)")
ABI: list[dict[str, object]] = [
    {
        "type": "event",
        "name": "Sent",
        "inputs": [
            {"name": "from", "type": "address", "indexed": True},
            {"name": "to", "type": "address", "indexed": True},
            {"name": "value", "type": "uint256", "indexed": False},
            {"name": "note", "type": "string", "indexed": False},
        ],
    }
]


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def sent_data(value: int, note: bytes = b"hello") -> bytes:
    padding = bytes(-len(note) % 32)
    return word(value) + word(64) + word(len(note)) + note + padding


def text(value: bytes) -> str:
    return "0x" + value.hex()


def topic_of(address: bytes) -> str:
    return text(bytes(12) + address)


@dataclass(frozen=True)
class ScriptedBlock:
    number: int
    hash: bytes
    parent_hash: bytes
    logs: tuple[Log, ...]

    def header(self) -> dict[str, object]:
        return {
            "number": hex(self.number),
            "hash": "0x" + self.hash.hex(),
            "parentHash": "0x" + self.parent_hash.hex(),
            "timestamp": hex(1_700_000_000 + self.number),
            "logsBloom": "0x" + bloom.of_logs(self.logs).hex(),
        }


@dataclass
class ScriptedNode:
    """Serves ``chain``, its canonical blocks from genesis; knows every block it ever had by hash.

    ``sibling`` is the chain of another node behind the same address, which answers when ranges are asked for."""

    chain: list[ScriptedBlock] = field(default_factory=list)
    known: dict[bytes, ScriptedBlock] = field(default_factory=dict)
    finalized: int = 0
    chain_id: int = CHAIN_ID
    code: str = "0x60"
    knows_finality: bool = True
    hidden_logs: bool = False
    hidden_receipts: bool = False
    sibling: list[ScriptedBlock] | None = None
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.append(self.make(bytes(32), 0, "genesis"))

    @property
    def head(self) -> ScriptedBlock:
        return self.chain[-1]

    def make(
        self, parent: bytes, number: int, salt: str, datas: tuple[bytes, ...] = (), tx: str = ""
    ) -> ScriptedBlock:
        """A block with one log for each of ``datas``, all in one transaction."""
        block_hash = keccak(parent + number.to_bytes(8, "big") + salt.encode())
        tx_hash = keccak((tx or f"tx {salt}").encode() + number.to_bytes(8, "big"))
        topics = (text(SENT), topic_of(bytes([1]) * 20), topic_of(bytes([2]) * 20))
        logs = tuple(
            Log(
                address=text(TOKEN),
                topics=topics,
                data=text(data),
                block_hash=text(block_hash),
                block_number=hex(number),
                transaction_hash=text(tx_hash),
                transaction_index="0x0",
                log_index=hex(index),
            )
            for index, data in enumerate(datas)
        )
        return ScriptedBlock(number, block_hash, parent, logs)

    def emit(
        self, *events: tuple[bytes, tuple[bytes, ...], bytes], salt: str = "a"
    ) -> ScriptedBlock:
        """Append a block whose one transaction emits these logs: address, topics, data."""
        number = self.head.number + 1
        block = self.make(self.head.hash, number, salt, tuple(data for _, _, data in events))
        logs = tuple(
            msgspec.structs.replace(log, address=text(address), topics=tuple(map(text, topics)))
            for log, (address, topics, _) in zip(block.logs, events, strict=True)
        )
        emitted = ScriptedBlock(block.number, block.hash, block.parent_hash, logs)
        self.append(emitted)
        return emitted

    def append(self, block: ScriptedBlock) -> None:
        self.known[block.hash] = block
        self.chain.append(block)

    def grow(self, count: int, salt: str = "a", *, logs: int = 1) -> None:
        for _ in range(count):
            number = self.head.number + 1
            datas = tuple(sent_data(number * 1000 + index) for index in range(logs))
            self.append(self.make(self.head.hash, number, salt, datas))

    def fork(self, depth: int, count: int, salt: str) -> list[ScriptedBlock]:
        """Replace the newest ``depth`` blocks by ``count`` others; answers with those replaced."""
        orphans = self.chain[len(self.chain) - depth :]
        del self.chain[len(self.chain) - depth :]
        self.grow(count, salt)
        return orphans

    def switch(self, chain: list[ScriptedBlock]) -> None:
        self.chain = list(chain)

    async def answer(self, request: web.Request) -> web.Response:
        call = await request.json()
        if isinstance(call, list):
            return web.json_response([self._reply(one) for one in call])
        return web.json_response(self._reply(call))

    def _reply(self, call: dict[str, Any]) -> dict[str, object]:
        self.asked.append(call["method"])
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            reply["result"] = self._result(call["method"], call["params"])
        except LookupError as error:
            reply["error"] = {"code": -32000, "message": str(error)}
        return reply

    def _result(self, method: str, params: list[Any]) -> object:
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_blockNumber":
                return hex(self.head.number)
            case "eth_getCode":
                return self.code
            case "eth_getBlockByNumber":
                return self.by_name(str(params[0]))
            case "eth_getBlockByHash":
                block = self.known.get(bytes.fromhex(str(params[0])[2:]))
                return block.header() if block else None
            case "eth_getLogs":
                logs = [] if self.hidden_logs else self._logs(params[0])
                return [_json(log) for log in logs]
            case "eth_getBlockReceipts":
                block = self.known[bytes.fromhex(str(params[0])[2:])]
                return [_receipt(block, () if self.hidden_receipts else block.logs)]
        raise LookupError(f"the method {method} does not exist")

    def _logs(self, query: dict[str, Any]) -> list[Log]:
        if "blockHash" in query:
            block = self.known.get(bytes.fromhex(query["blockHash"][2:]))
            if block is None:
                raise LookupError("unknown block")
            blocks = [block]
        else:
            first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
            chain = self.chain if self.sibling is None else self.sibling
            blocks = chain[first : last + 1]
        addresses, topics = query.get("address"), query.get("topics") or [None]
        return [
            log
            for block in blocks
            for log in block.logs
            if (addresses is None or log.address in addresses)
            and (topics[0] is None or log.topics[0] in topics[0])
        ]

    def by_name(self, name: str) -> dict[str, object] | None:
        """A block by its number or tag."""
        if name in ("safe", "finalized") and not self.knows_finality:
            raise LookupError(f"{name} block not found")
        if name in ("safe", "finalized"):
            return self.chain[min(self.finalized, len(self.chain) - 1)].header()
        number = self.head.number if name == "latest" else int(name, 16)
        return self.chain[number].header() if number < len(self.chain) else None


def _json(log: Log) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(log)
    return {**shown, "removed": False}


def _receipt(block: ScriptedBlock, logs: tuple[Log, ...]) -> dict[str, object]:
    """Of the one transaction of a block."""
    return {
        "type": "0x2",
        "status": "0x1",
        "cumulativeGasUsed": "0x5208",
        "gasUsed": "0x5208",
        "logsBloom": text(bloom.of_logs(logs)),
        "from": text(bytes([7]) * 20),
        "transactionHash": logs[0].transaction_hash if logs else text(bytes(32)),
        "transactionIndex": "0x0",
        "blockHash": text(block.hash),
        "blockNumber": hex(block.number),
        "logs": [_json(one) for one in logs],
    }


@asynccontextmanager
async def serving(node: ScriptedNode) -> AsyncIterator[ScriptedNode]:
    application = web.Application()
    application.router.add_post("/", node.answer)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield node
    finally:
        await runner.cleanup()
