"""Custody by a signer that speaks JSON-RPC: Web3Signer, Clef, a node that holds the key. Over TLS, both sides proved.

It sees whole transactions, and may sign only some. An answer is the raw transaction, or, as geth gives it, an object
that has it as ``raw``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from bridge.custody.endpoint import NO_TLS_FILES, Endpoint, EndpointSettings, Tls
from bridge.custody.errors import CustodyAccessError, CustodyUnavailableError
from bridge.custody.immediate import ImmediateCustody, side_by_side
from bridge.custody.protocol import (
    Capabilities,
    Health,
    Outcome,
    Rejected,
    Signed,
    Unknown,
)
from bridge.custody.requests import OpenRequest
from bridge.custody.wire import said, transaction

CAPABILITIES: Final = Capabilities(
    signs="transaction", broadcasts=False, approval=False, max_signatures_per_s=500.0
)
_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
# Invalid parameters; the sender is not authorized (Web3Signer); a person said no (EIP-1193). Any other error may
# pass, such as that of a vault behind the signer.
_DEFINITE: Final = frozenset({-32602, -32007, 4001})


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """``section`` is what the settings call this signer. ``address`` is the key that shall sign."""

    section: str
    url: SecretStr
    address: bytes
    timeout_s: float = 10.0
    tls: Tls = NO_TLS_FILES
    at_once: int = 16


class RemoteCustody(ImmediateCustody):
    """One account of a remote signer; :meth:`open` is the way to make one."""

    def __init__(self, settings: RemoteSettings, endpoint: Endpoint) -> None:
        super().__init__(settings.address)
        self._settings = settings
        self._endpoint = endpoint

    @classmethod
    async def open(cls, settings: RemoteSettings) -> "RemoteCustody":
        """Make sure that the signer has the account.

        Raises :class:`CustodyAccessError` if it has not, :class:`CustodyUnavailableError` if it does not answer.
        """
        endpoint = Endpoint(
            EndpointSettings(
                settings.section, settings.url, settings.timeout_s, settings.at_once, settings.tls
            )
        )
        opened = cls(settings, endpoint)
        try:
            await opened._require_account()
        except BaseException:
            await endpoint.close()
            raise
        return opened

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def health(self) -> Health:
        try:
            await self._require_account()
        except (CustodyAccessError, CustodyUnavailableError) as error:
            return Health(ok=False, detail=str(error))
        return Health(ok=True, detail=f"the signer at {self._endpoint.name} has the account")

    async def close(self) -> None:
        self._requests.clear()
        await self._endpoint.close()

    async def _sign(self, requests: Sequence[OpenRequest]) -> list[Outcome]:
        return await side_by_side(requests, self._sign_one, self._settings.at_once)

    async def _sign_one(self, one: OpenRequest) -> Outcome:
        try:
            answer = await self._ask("eth_signTransaction", [transaction(one.request)])
        except CustodyUnavailableError as error:
            return Unknown(str(error))
        return _judged(answer)

    async def _require_account(self) -> None:
        answer = await self._ask("eth_accounts", [])
        listed = answer.get("result")
        if not isinstance(listed, list) or not all(
            isinstance(each, str) and _ADDRESS.fullmatch(each) for each in listed
        ):
            raise CustodyUnavailableError(
                f"the signer at {self._endpoint.name} does not list its accounts"
            )
        if f"0x{self._address.hex()}" not in {each.lower() for each in listed}:
            raise CustodyAccessError(
                f"{self._settings.section}.address: the signer at {self._endpoint.name} does not have "
                f"0x{self._address.hex()} among its {len(listed)} accounts; load the key there, or correct the address"
            )

    async def _ask(self, method: str, params: list[object]) -> dict[str, Any]:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self._endpoint.call("POST", body=question)
        if answer.status in (401, 403):
            raise CustodyUnavailableError(
                f"the signer at {self._endpoint.name} lets us not in (HTTP {answer.status})"
            )
        told = answer.json()
        if not isinstance(told, dict) or told.get("id") != 1:
            raise CustodyUnavailableError(
                f"the signer at {self._endpoint.name} gives no answer to the question"
            )
        return told


def _judged(answer: dict[str, Any]) -> Outcome:
    """A definite answer becomes an outcome; any other one is no outcome."""
    raw = answer.get("result")
    if isinstance(raw, dict):
        raw = raw.get("raw")
    if isinstance(raw, str) and _HEX.fullmatch(raw):
        return Signed(bytes.fromhex(raw[2:]))
    error = answer.get("error")
    if not isinstance(error, dict):
        return Unknown("the signer's answer is neither a transaction nor an error")
    text = said(error.get("message"))
    return Rejected(text) if error.get("code") in _DEFINITE else Unknown(text)
