"""JSON-RPC to Anvil over one connection, singly and in batches, decoded by msgspec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import aiohttp
import msgspec

from benchmarks.errors import NodeRefusedError

TIMEOUT_S = 600.0  # mining a hundred thousand blocks is one call
Call = tuple[str, Sequence[object]]


class Node:
    """`url` is Anvil's; nothing of it is secret."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def rpc(self, method: str, *params: object) -> Any:
        """Result of one call. Raises NodeRefusedError."""
        answer = await self._post(_request(0, method, params))
        return _result(method, answer)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls; Anvil runs those of a batch at the same time."""
        answers = await self._post([_request(i, *call) for i, call in enumerate(calls)])
        answers.sort(key=lambda answer: answer["id"])
        return [_result(calls[answer["id"]][0], answer) for answer in answers]

    async def _post(self, body: object) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                headers={"Content-Type": "application/json"},
            )
        async with self._session.post(self.url, data=msgspec.json.encode(body)) as response:
            return msgspec.json.decode(await response.read())

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _request(identifier: int, method: str, params: Sequence[object]) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}


def _result(method: str, answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise NodeRefusedError(method=method, message=answer["error"]["message"])
    return answer["result"]
