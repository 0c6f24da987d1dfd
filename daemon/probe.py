"""Asks a provider for everything that the indexer may want of it, and says what it can and cannot do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp

from daemon.http_client import read_json
from daemon.setting_types import host_of
from indexer.block import Header
from indexer.errors import (
    HeaderForged,
    IndexerError,
    RangeRefused,
    RpcError,
    RpcUnavailable,
    WrongChain,
)
from indexer.provider import ProviderSettings
from indexer.rpc import Rpc

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 256 * 1024
RANGES_BLOCKS: Final = (100_000, 10_000, 2_000, 1_000, 100, 10)
# An address that no contract of anybody's has, so that an answer is short.
NOBODY: Final = bytes(19) + b"\x01"
SUBSCRIBE: Final = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}

Word = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Ability:
    """``detail`` says how much of it, or why not."""

    name: str
    word: Word
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """``fault``: why it cannot be used at all; it was not asked further then."""

    provider: str
    operator: str
    host: str
    abilities: tuple[Ability, ...] = ()
    fault: str | None = None

    def can(self, name: str) -> bool:
        return any(one.name == name and one.word == "yes" for one in self.abilities)


async def probe(settings: ProviderSettings, chain_id: int) -> Report:
    """Never raises for what the provider does."""
    timeout_s = min(settings.timeout_s, TIMEOUT_S)
    host = host_of(settings.http_url)
    async with (
        Rpc(settings.http_url, total_timeout_s=timeout_s) as rpc,
        Rpc(settings.http_url, total_timeout_s=timeout_s, verify_headers=True) as strict,
    ):
        try:
            genesis = await rpc.require_chain(chain_id)
            latest = await rpc.header("latest")
        except WrongChain as error:
            found = error.details["found"]
            fault = f"it is on chain {found}, and the settings say {chain_id}"
            return Report(settings.name, settings.operator, host, fault=fault)
        except RpcUnavailable as error:
            fault = f"it does not answer ({error.details['reason']})"
            return Report(settings.name, settings.operator, host, fault=fault)
        except IndexerError as error:
            return Report(settings.name, settings.operator, host, fault=str(error))
        if latest is None:
            return Report(settings.name, settings.operator, host, fault="it has no newest block")
        abilities = [
            Ability("genesis", "yes", "0x" + genesis.hex()),
            Ability("head", "yes", _head(latest)),
            await _asked("finalized", lambda: _finalized(rpc)),
            await _asked("batch", lambda: _batch(settings.http_url, timeout_s)),
            await _asked("logs", lambda: _logs(rpc, latest.number)),
            await _asked("receipts", lambda: _receipts(rpc, latest)),
            await _asked("verifiable", lambda: _verifiable(strict)),
            await _asked("archive", lambda: _archive(rpc)),
            await _asked("websocket", lambda: _websocket(settings.ws_url, timeout_s)),
        ]
        return Report(settings.name, settings.operator, host, tuple(abilities))


async def _asked(name: str, ask: Callable[[], Awaitable[tuple[Word, str]]]) -> Ability:
    try:
        word, detail = await ask()
    except RpcError as error:
        return Ability(name, "no", error.message[:200])
    except RpcUnavailable as error:
        return Ability(name, "unknown", str(error.details["reason"])[:200])
    except IndexerError as error:
        return Ability(name, "unknown", str(error)[:200])
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        # Its own text may hold the URL.
        return Ability(name, "no", type(error).__name__)
    return Ability(name, word, detail)


def _head(latest: Header) -> str:
    return f"block {latest.number}, {max(0, int(time.time()) - latest.timestamp_s)} s old"


async def _finalized(rpc: Rpc) -> tuple[Word, str]:
    tags = await rpc.tags()
    if tags.finalized is None:
        return "no", "it does not know the tag finalized"
    return "yes", f"block {tags.finalized.number}"


async def _logs(rpc: Rpc, head_number: int) -> tuple[Word, str]:
    """The widest range that it takes, of a few, from the widest down."""
    for blocks in RANGES_BLOCKS:
        first = max(0, head_number - blocks + 1)
        if first == 0 and blocks != RANGES_BLOCKS[-1] and head_number + 1 <= blocks // 10:
            continue
        try:
            await rpc.logs_in_range(first, head_number, [NOBODY], None)
        except RangeRefused:
            continue
        return "yes", f"{head_number - first + 1} blocks at once"
    return "no", f"not even {RANGES_BLOCKS[-1]} blocks at once"


async def _receipts(rpc: Rpc, latest: Header) -> tuple[Word, str]:
    found = await rpc.receipts(latest.hash)
    if found is None:
        return "no", "it does not know those of its newest block"
    return "yes", "of a whole block"


async def _verifiable(rpc: Rpc) -> tuple[Word, str]:
    try:
        await rpc.header("latest")
    except HeaderForged:
        return "no", "the hash of a header is not made of its fields as on Ethereum"
    return "yes", "headers and receipts"


async def _archive(rpc: Rpc) -> tuple[Word, str]:
    await rpc.code(NOBODY, 1)
    return "yes", "it keeps old states"


async def _batch(url: str, timeout_s: float) -> tuple[Word, str]:
    wanted = [
        {"jsonrpc": "2.0", "id": number, "method": "eth_chainId", "params": []}
        for number in range(2)
    ]
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
        session.post(url, json=wanted, allow_redirects=False) as response,
    ):
        answer = await read_json(response, MAX_ANSWER_BYTES)
    well = isinstance(answer, list) and len(answer) == len(wanted)
    if well and all(isinstance(one, dict) and "result" in one for one in answer):
        return "yes", "several calls in one request"
    return "no", "one call a request"


async def _websocket(url: str | None, timeout_s: float) -> tuple[Word, str]:
    if url is None:
        return "no", "no ws_url is set"
    async with (
        asyncio.timeout(timeout_s),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=MAX_ANSWER_BYTES) as socket,
    ):
        await socket.send_json(SUBSCRIBE)
        answer: Any = await socket.receive_json()
    if isinstance(answer, dict) and isinstance(answer.get("result"), str):
        return "yes", "it tells of new heads"
    return "no", "it refuses eth_subscribe"
