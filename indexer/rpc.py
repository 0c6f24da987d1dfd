"""One node, spoken to in JSON-RPC over HTTP. Answers are bounded in size and time, and checked.

Every failure is one of three: :class:`RpcUnavailable` (no answer; for a sent transaction that means
"maybe"), :class:`RpcError` (the node refused), :class:`RpcMalformed` (the answer is not what the protocol
says). The node's URL may hold a key, so errors show its scheme and host only.
"""

import itertools
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from indexer import wire
from indexer.block import Header, Log
from indexer.errors import (
    NoContractCode,
    RpcError,
    RpcMalformed,
    RpcUnavailable,
    WrongChain,
    WrongGenesis,
)
from indexer.hexadecimal import from_data, from_quantity, to_data, to_quantity

CONNECT_TIMEOUT_S: Final = 3.0
TOTAL_TIMEOUT_S: Final = 15.0
MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
MAX_CONNECTIONS: Final = 8
# -32005 is what providers answer over a rate limit; it says nothing about the request.
LIMIT_EXCEEDED: Final = -32005

T = TypeVar("T")


class Rpc:
    """A client of one node; closed by :meth:`close` or as a context manager."""

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=total_timeout_s, sock_connect=connect_timeout_s)
        self._max_response_bytes = max_response_bytes
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> str:
        """Scheme, host and port: what may be shown."""
        parts = urlsplit(self._url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}"

    def __repr__(self) -> str:
        return f"Rpc({self.endpoint})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, params: Sequence[object] = ()) -> wire.Json:
        """The result as plain JSON values (None for null), for methods that have no typed one here."""
        return self._decode(method, await self._result(method, params), wire.ANYTHING)

    async def chain_id(self) -> int:
        return self._quantity("eth_chainId", await self.call("eth_chainId"), bits=63)

    async def block_number(self) -> int:
        return self._quantity("eth_blockNumber", await self.call("eth_blockNumber"), bits=63)

    async def code(self, address: bytes, block: int | str = "latest") -> bytes:
        """The code at an address, empty if there is none."""
        method = "eth_getCode"
        text = await self.call(method, [to_data(address), _block_name(block)])
        try:
            return from_data(text)
        except ValueError as error:
            raise RpcMalformed(method=method, reason=str(error)) from error

    async def header(self, block: int | str | bytes) -> Header | None:
        """The header by number, tag (``latest``, ``safe``, ``finalized``) or hash; None if unknown.

        The answer is the block that was asked for: another number or hash is :class:`RpcMalformed`.
        """
        if isinstance(block, bytes):
            method, name = "eth_getBlockByHash", to_data(block)
        else:
            method, name = "eth_getBlockByNumber", _block_name(block)
        raw = await self._result(method, [name, False])
        answer = self._decode(method, raw, wire.BLOCK)
        if answer is None:
            return None
        try:
            header = answer.header()
        except ValueError as error:
            raise RpcMalformed(method=method, reason=str(error)) from error
        if isinstance(block, bytes) and header.hash != block:
            raise RpcMalformed(method=method, reason=f"asked for {name}, it has another hash")
        if isinstance(block, int) and header.number != block:
            raise RpcMalformed(method=method, reason=f"asked for {block}, it is {header.number}")
        return header

    async def logs(self, block_hash: bytes, addresses: Sequence[bytes]) -> list[Log]:
        """All logs of these contracts in one block, as the node orders them."""
        method = "eth_getLogs"
        query = {"blockHash": to_data(block_hash), "address": [to_data(one) for one in addresses]}
        raw = await self._result(method, [query])
        try:
            return [log.log() for log in self._decode(method, raw, wire.LOGS)]
        except ValueError as error:
            raise RpcMalformed(method=method, reason=str(error)) from error

    async def all_logs(self, block_hash: bytes) -> list[Log] | None:
        """Every log of one block, from its receipts; None if the node does not know the block."""
        method = "eth_getBlockReceipts"
        raw = await self._result(method, [to_data(block_hash)])
        receipts = self._decode(method, raw, wire.RECEIPTS)
        if receipts is None:
            return None
        try:
            return [log.log() for receipt in receipts for log in receipt.logs]
        except ValueError as error:
            raise RpcMalformed(method=method, reason=str(error)) from error

    async def require_chain(self, chain_id: int, genesis_hash: bytes | None = None) -> bytes:
        """The hash of block 0; raises :class:`WrongChain` or :class:`WrongGenesis` on another chain."""
        found = await self.chain_id()
        if found != chain_id:
            raise WrongChain(expected=chain_id, found=found)
        genesis = await self.header(0)
        if genesis is None:
            raise RpcMalformed(method="eth_getBlockByNumber", reason="the node has no block 0")
        if genesis_hash is not None and genesis.hash != genesis_hash:
            raise WrongGenesis(expected=to_data(genesis_hash), found=to_data(genesis.hash))
        return genesis.hash

    async def require_code(self, name: str, address: bytes, chain_id: int) -> None:
        """Raises :class:`NoContractCode` if no contract stands at ``address``."""
        if not await self.code(address):
            raise NoContractCode(name=name, address=to_data(address), chain_id=chain_id)

    async def _result(self, method: str, params: Sequence[object]) -> msgspec.Raw:
        request_id = next(self._ids)
        request = wire.Request(id=request_id, method=method, params=params)
        status, body = await self._post(method, msgspec.json.encode(request))
        answer = self._envelope(method, status, body)
        if answer.error is not None:
            fault = answer.error
            if fault.code == LIMIT_EXCEEDED:
                reason = f"over its rate limit: {wire.shortened(fault.message)}"
                raise RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason)
            raise RpcError(
                fault.code, wire.shortened(fault.message), wire.error_data(fault.data), method
            )
        if answer.id != request_id:
            raise RpcMalformed(method=method, reason="it answers another request")
        if not bytes(answer.result):
            raise RpcMalformed(method=method, reason="it has neither a result nor an error")
        return answer.result

    def _envelope(self, method: str, status: int, body: bytes) -> wire.Envelope:
        """JSON-RPC errors come with any HTTP status; a body without one is judged by the status."""
        try:
            answer = wire.ENVELOPE.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if status != 200:
                reason = f"HTTP status {status}"
                raise RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason) from None
            raise RpcMalformed(method=method, reason=wire.shortened(str(error))) from error
        if status != 200 and answer.error is None:
            reason = f"HTTP status {status}"
            raise RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason)
        if status == 429:
            reason = "over its rate limit (HTTP status 429)"
            raise RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason)
        return answer

    async def _post(self, method: str, request: bytes) -> tuple[int, bytes]:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        headers: Mapping[str, str] = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._url, data=request, headers=headers, allow_redirects=False
            ) as response:
                return response.status, await self._read(method, response)
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp's texts may hold the URL, so only the kind of the failure is passed on.
            reason = "timed out" if isinstance(error, TimeoutError) else type(error).__name__
            raise RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason) from None

    async def _read(self, method: str, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self._max_response_bytes:
                reason = f"it is longer than {self._max_response_bytes} bytes"
                raise RpcMalformed(method=method, reason=reason)
        return bytes(body)

    def _decode(self, method: str, raw: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RpcMalformed(method=method, reason=wire.shortened(str(error))) from error

    def _quantity(self, method: str, value: object, bits: int) -> int:
        try:
            return from_quantity(value, bits)
        except ValueError as error:
            raise RpcMalformed(method=method, reason=str(error)) from error


def _block_name(block: int | str) -> str:
    return block if isinstance(block, str) else to_quantity(block)
