"""JSON-RPC over HTTP to one node: single calls and batches, bounded in size and time.

Every failure is one of three: :class:`RpcUnavailable` (no answer; for a sent transaction that means
"maybe"), :class:`RpcError` (the node refused), :class:`RpcMalformed` (the answer is not what the protocol
says). The node's URL may hold a key, so errors show its scheme and host only.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from indexer import limits, wire
from indexer.errors import (
    HeaderForged,
    MethodMissing,
    RpcError,
    RpcMalformed,
    RpcRateLimited,
    RpcTimeout,
    RpcTooLong,
    RpcUnavailable,
)
from indexer.gate import Gate, Outcome, OutcomeKind

CONNECT_TIMEOUT_S: Final = 3.0
TOTAL_TIMEOUT_S: Final = 15.0
# How long a request may wait for its turn before it is given up; asking slowly is no failure.
TURN_TIMEOUT_S: Final = 60.0
MAX_RESPONSE_BYTES: Final = 32 * 1024 * 1024
MAX_CONNECTIONS: Final = 8
# What gateways answer when the node behind them took too long (524 is Cloudflare's).
TIMEOUT_STATUSES: Final = frozenset({408, 504, 524})
TOO_LONG_STATUS: Final = 413
# The key is wrong, unpaid or not allowed: nothing that this provider refuses is about the request.
LOCKED_OUT_STATUSES: Final = frozenset({401, 402, 403})

T = TypeVar("T")
R = TypeVar("R")
Clock: TypeAlias = Callable[[], float]
Call: TypeAlias = tuple[str, Sequence[object]]


class Reply:
    """An HTTP answer: ``body`` is at most as long as was allowed."""

    __slots__ = ("body", "retry_after", "status")

    def __init__(self, status: int, body: bytearray, retry_after: str | None) -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after


class JsonRpc:
    """Speaks to one URL. ``gate`` is passed by every request."""

    def __init__(
        self,
        url: str,
        *,
        gate: Gate,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        turn_timeout_s: float = TURN_TIMEOUT_S,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._url = url
        self._turn_timeout_s = turn_timeout_s
        self._gate = gate
        self._total_timeout_s = total_timeout_s
        self._timeout = aiohttp.ClientTimeout(total=total_timeout_s, sock_connect=connect_timeout_s)
        self._max_response_bytes = max_response_bytes
        self._max_connections = max_connections
        self._clock = clock
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> str:
        """Scheme, host and port: what may be shown."""
        return endpoint(self._url)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self,
        method: str,
        params: Sequence[object],
        decoder: msgspec.json.Decoder[wire.Answer[T]],
        read: Callable[[T, bytearray], R],
    ) -> R:
        """One call. ``read`` makes a value of the result and the whole answer's bytes; a ``ValueError`` of
        its means that the answer is malformed."""
        request_id = next(self._ids)
        request = msgspec.json.encode(wire.Request(id=request_id, method=method, params=params))

        def understood(reply: Reply) -> R:
            answer = self._answer(method, reply, decoder)
            if answer.id != request_id:
                raise RpcMalformed(method=method, reason="it answers another request")
            if answer.result is msgspec.UNSET:
                reason = "it has neither a result nor an error"
                raise RpcMalformed(method=method, reason=reason)
            return read(answer.result, reply.body)

        return await self._exchange(method, request, 1, understood)

    async def ask_together(
        self, calls: Sequence[Call], read: Callable[[int, wire.Envelope], R]
    ) -> dict[int, R]:
        """One batch: what ``read`` (a call's index, its answer) makes of each; what the node left out is not
        in it. Raises what :meth:`ask` does if the node answers the batch as a whole with an error."""
        method = calls[0][0]
        ids = {next(self._ids): index for index in range(len(calls))}
        requests = [
            wire.Request(id=request_id, method=calls[index][0], params=calls[index][1])
            for request_id, index in ids.items()
        ]

        def understood(reply: Reply) -> dict[int, R]:
            found: dict[int, R] = {}
            for answer in self._answers(method, reply):
                index = ids.get(answer.id) if isinstance(answer.id, int) else None
                if index is not None and (answer.error is not None or bytes(answer.result)):
                    found[index] = read(index, answer)
            return found

        return await self._exchange(method, msgspec.json.encode(requests), len(calls), understood)

    def refusal(
        self, method: str, fault: wire.Fault, status: int = 200, retry_after: str | None = None
    ) -> RpcError:
        """The error of the node as ours. Raises :class:`RpcUnavailable` if it is not about the call."""
        said = wire.shortened(fault.message)
        if status in LOCKED_OUT_STATUSES:
            reason = f"HTTP status {status}: {said}"
            locked_out = RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason)
            locked_out.http_status = status
            raise locked_out
        verdict = limits.judge(fault.code, fault.message, status, retry_after, fault.data)
        if isinstance(verdict, limits.RateLimited):
            raise self._limited(method, said, verdict)
        kind = MethodMissing if isinstance(verdict, limits.MethodMissing) else RpcError
        error = kind(fault.code, said, fault.data, method)
        error.verdict = verdict
        return error

    async def _exchange(
        self, method: str, request: bytes, requests: int, understood: Callable[[Reply], R]
    ) -> R:
        """Send and read one HTTP request, and tell the gate how it went."""
        await self._admitted(method, requests)
        started_s = self._clock()
        kind: OutcomeKind = "cancelled"
        size_bytes, reason, retry_after_s = 0, "", None
        try:
            reply = await self._post(method, request)
            size_bytes = len(reply.body)
            value = _checked(method, understood, reply)
            kind = "ok"
        except RpcRateLimited as error:
            kind, reason, retry_after_s = "rate_limited", str(error), error.retry_after_s
            raise
        except (RpcError, RpcTooLong) as error:
            kind = "missing" if isinstance(error, MethodMissing) else "refused"
            reason = str(error)
            raise
        except RpcUnavailable as error:
            kind, reason = "unavailable", str(error)
            raise
        except (RpcMalformed, HeaderForged) as error:
            kind, reason = "malformed", str(error)
            raise
        finally:
            latency_s = self._clock() - started_s
            self._gate.leave(
                Outcome(
                    kind, method, requests, started_s, latency_s, size_bytes, reason, retry_after_s
                )
            )
        return value

    async def _admitted(self, method: str, requests: int) -> None:
        """Pass the gate; waiting before it is bounded too."""
        try:
            async with asyncio.timeout(self._turn_timeout_s):
                await self._gate.enter(requests)
        except TimeoutError:
            reason = f"it was not its turn within {self._turn_timeout_s:g} s"
            raise RpcRateLimited(endpoint=self.endpoint, method=method, reason=reason) from None

    def _answer(
        self, method: str, reply: Reply, decoder: msgspec.json.Decoder[wire.Answer[T]]
    ) -> wire.Answer[T]:
        """JSON-RPC errors come with any HTTP status; a body without one is judged by the status."""
        try:
            answer = decoder.decode(reply.body)
            fault = answer.error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fault = _fault(reply.body)
            if fault is None:
                self._require_success(method, reply)
                raise RpcMalformed(method=method, reason=wire.shortened(str(error))) from error
        if fault is not None:
            raise self.refusal(method, fault, reply.status, reply.retry_after)
        self._require_success(method, reply)
        return answer

    def _answers(self, method: str, reply: Reply) -> list[wire.Envelope]:
        """The answers to a batch, in any order. A node that takes no batches answers with one error."""
        try:
            answers = wire.ENVELOPES.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            fault = _fault(reply.body)
            if fault is not None:
                raise self.refusal(method, fault, reply.status, reply.retry_after) from None
            self._require_success(method, reply)
            raise RpcMalformed(method=method, reason=wire.shortened(str(error))) from error
        self._require_success(method, reply)
        return answers

    def _require_success(self, method: str, reply: Reply) -> None:
        if reply.status != 200:
            error = self._failure(method, reply)
            error.http_status = reply.status
            raise error

    def _failure(self, method: str, reply: Reply) -> RpcUnavailable | RpcTooLong:
        reason = f"HTTP status {reply.status}"
        text = wire.shortened(reply.body[: wire.MAX_TEXT].decode(errors="replace"))
        if reply.status == TOO_LONG_STATUS:
            return RpcTooLong(method=method, reason=reason)
        if reply.status in TIMEOUT_STATUSES:
            return RpcTimeout(endpoint=self.endpoint, method=method, reason=reason)
        verdict = limits.judge(None, text, reply.status, reply.retry_after)
        if isinstance(verdict, limits.RateLimited):
            return self._limited(method, reason, verdict)
        return RpcUnavailable(endpoint=self.endpoint, method=method, reason=reason)

    def _limited(self, method: str, reason: str, verdict: limits.RateLimited) -> RpcRateLimited:
        error = RpcRateLimited(endpoint=self.endpoint, method=method, reason=reason)
        error.retry_after_s = verdict.retry_after_s
        return error

    async def _post(self, method: str, request: bytes) -> Reply:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._max_connections)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        headers: Mapping[str, str] = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._url, data=request, headers=headers, allow_redirects=False
            ) as response:
                body = await self._read(method, response)
                return Reply(response.status, body, response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                reason = f"{self._total_timeout_s:g} s"
                raise RpcTimeout(endpoint=self.endpoint, method=method, reason=reason) from None
            raise RpcUnavailable(
                endpoint=self.endpoint, method=method, reason=_reason(error)
            ) from None

    async def _read(self, method: str, response: aiohttp.ClientResponse) -> bytearray:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self._max_response_bytes:
                reason = f"it is longer than {self._max_response_bytes} bytes"
                raise RpcTooLong(method=method, reason=reason)
        return body


def endpoint(url: str) -> str:
    """Scheme, host and port of a URL: what may be shown of it."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _checked(method: str, understood: Callable[[Reply], R], reply: Reply) -> R:
    try:
        return understood(reply)
    except (ValueError, msgspec.DecodeError) as error:
        raise RpcMalformed(method=method, reason=wire.shortened(str(error))) from error


def _fault(body: bytearray) -> wire.Fault | None:
    """The error in an answer whose result could not be read, if it has one."""
    try:
        return wire.ENVELOPE.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _reason(error: Exception) -> str:
    """Why a request could not be made. aiohttp's own texts may hold the URL, so none of them is passed on."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host's name is not known"
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
