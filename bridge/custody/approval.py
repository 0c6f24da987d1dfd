"""Custody by people: a custodian who asks a quorum of approvers, and may take minutes.

A nonce must not wait for that long, for everything behind it waits too. So people approve an intent, before there is
a nonce, and a transaction that carries out an approved intent is signed at once. Callbacks only say that something
is new; what it is, is asked for.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from bridge.bank.errors import WebhookRefused
from bridge.bank.webhook import verify
from bridge.custody.approval_answers import (
    Callback,
    Told,
    intent_outcome,
    signing_outcome,
)
from bridge.custody.endpoint import NO_TLS_FILES, Answer, Endpoint, EndpointSettings, Tls
from bridge.custody.errors import (
    CallbackRefusedError,
    CustodyAccessError,
    CustodyUnavailableError,
    RequestConflictError,
)
from bridge.custody.intent import Intent, typed_data
from bridge.custody.protocol import (
    Approving,
    Capabilities,
    Health,
    IntentOutcome,
    Outcome,
    Pending,
    Rejected,
    SignRequest,
    Unknown,
)
from bridge.custody.transaction import digest
from bridge.custody.wire import said, transaction

CAPABILITIES: Final = Capabilities(
    signs="transaction", broadcasts=False, approval=True, max_signatures_per_s=50.0
)
MAX_KNOWN: Final = 50_000
MAX_CALLBACK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ApprovalSettings:
    """``section`` is what the settings call this signer. A callback is believed with one of ``callback_keys`` (of an
    HMAC) or of ``callback_public_keys`` (Ed25519). A ticket that waits is asked about every ``poll_interval_s``."""

    section: str
    url: SecretStr
    account: str
    api_key: SecretStr
    address: bytes
    callback_keys: tuple[bytes, ...] = field(default=(), repr=False)
    callback_public_keys: tuple[bytes, ...] = ()
    timeout_s: float = 10.0
    poll_interval_s: float = 1.0
    tls: Tls = NO_TLS_FILES
    at_once: int = 16


class ApprovalCustody:
    """One account at a custodian; :meth:`open` is the way to make one."""

    def __init__(
        self,
        settings: ApprovalSettings,
        endpoint: Endpoint,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._now_s = now_s
        # What has arrived there, by its id, and when we last asked about it.
        self._arrived: OrderedDict[str, bytes] = OrderedDict()
        self._refused: OrderedDict[str, str] = OrderedDict()
        self._asked_s: OrderedDict[str, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"ApprovalCustody(0x{self._settings.address.hex()})"

    @classmethod
    async def open(cls, settings: ApprovalSettings) -> "ApprovalCustody":
        """Make sure that the account is of the key that shall sign.

        Raises :class:`CustodyAccessError` if it is not, :class:`CustodyUnavailableError` if the custodian does not
        answer.
        """
        headers = {
            "Authorization": SecretStr(f"Bearer {settings.api_key.get_secret_value()}"),
        }
        endpoint = Endpoint(
            EndpointSettings(
                settings.section,
                settings.url,
                settings.timeout_s,
                settings.at_once,
                settings.tls,
                headers,
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

    @property
    def approving(self) -> Approving:
        return self

    async def identity(self) -> bytes:
        return self._settings.address

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        await self._submit(
            [(one.request_id, digest(one), _transaction_body(one)) for one in requests]
        )
        return [one.request_id for one in requests]

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        return [signing_outcome(told) for told in await self._look(tickets)]

    async def propose(self, intents: Sequence[Intent]) -> list[str]:
        """Ask people to approve intents; answers with a ticket for each. Errors are those of :meth:`submit`."""
        tickets = [f"intent-{intent.hash.hex()}" for intent in intents]
        await self._submit(
            [
                (ticket, intent.hash, {"kind": "intent", "typed_data": typed_data(intent)})
                for ticket, intent in zip(tickets, intents, strict=True)
            ]
        )
        return tickets

    async def approvals(self, tickets: Sequence[str]) -> list[IntentOutcome]:
        """What people have decided about each intent."""
        return [intent_outcome(told) for told in await self._look(tickets)]

    async def cancel(self, ticket: str) -> bool:
        try:
            answer = await self._endpoint.call("POST", f"v1/requests/{ticket}/cancel", {})
        except CustodyUnavailableError:
            return False
        self._asked_s.pop(ticket, None)
        return answer.status == 200

    def parse_callback(self, headers: Mapping[str, str], raw: bytes) -> str:
        if not self._settings.callback_keys and not self._settings.callback_public_keys:
            raise CallbackRefusedError("there is no key by which a callback could be believed")
        if len(raw) > MAX_CALLBACK_BYTES:
            raise CallbackRefusedError(f"a callback has at most {MAX_CALLBACK_BYTES} bytes")
        try:
            verify(
                headers,
                raw,
                self._settings.callback_keys,
                int(time.time()),
                public_keys=self._settings.callback_public_keys,
            )
            told = msgspec.json.decode(raw, type=Callback)
        except WebhookRefused as error:
            raise CallbackRefusedError(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise CallbackRefusedError("the callback does not say what it is about") from None
        self._asked_s.pop(told.id, None)
        return told.id

    async def health(self) -> Health:
        try:
            await self._require_account()
        except (CustodyAccessError, CustodyUnavailableError) as error:
            return Health(ok=False, detail=str(error))
        return Health(ok=True, detail=f"the custodian at {self._endpoint.name} has the account")

    async def close(self) -> None:
        await self._endpoint.close()

    # Asking.

    async def _submit(self, asked: Sequence[tuple[str, bytes, dict[str, Any]]]) -> None:
        payloads: dict[str, bytes] = {}
        for ticket, payload, _ in asked:
            if payloads.setdefault(ticket, self._arrived.get(ticket, payload)) != payload:
                raise _conflict(ticket)
        new = [one for one in asked if one[0] not in self._arrived]
        found = await asyncio.gather(
            *(self._submit_one(*one) for one in new), return_exceptions=True
        )
        for error in found:
            if error is not None:
                raise error

    async def _submit_one(self, ticket: str, payload: bytes, body: dict[str, Any]) -> None:
        answer = await self._call(
            "POST",
            "v1/requests",
            {
                "id": ticket,
                "account": self._settings.account,
                "payload": f"0x{payload.hex()}",
                **body,
            },
        )
        if answer.status == 409:
            told = await self._call("GET", f"v1/requests/{ticket}")
            if told.status != 200 or not isinstance(held := told.json(), dict):
                raise CustodyUnavailableError("the custodian knows a request and does not show it")
            if held.get("payload") != f"0x{payload.hex()}":
                raise _conflict(ticket)
        elif answer.status == 422:
            self._refused[ticket] = said(answer.json().get("reason"))
            _bound(self._refused)
        elif answer.status not in (200, 201):
            raise CustodyUnavailableError(
                f"the custodian at {self._endpoint.name} answers HTTP {answer.status}"
            )
        self._arrived[ticket] = payload
        _bound(self._arrived)

    async def _look(self, tickets: Sequence[str]) -> list[Told]:
        return list(await asyncio.gather(*map(self._look_at, tickets)))

    async def _look_at(self, ticket: str) -> Told:
        """What the custodian shows of a request, or an outcome where it shows nothing."""
        if ticket in self._refused:
            return Rejected(self._refused[ticket])
        now_s = self._now_s()
        if now_s - self._asked_s.get(ticket, -float("inf")) < self._settings.poll_interval_s:
            return Pending()
        try:
            answer = await self._call("GET", f"v1/requests/{ticket}")
            if answer.status == 404:
                self._arrived.pop(ticket, None)
                return Unknown()
            told = answer.json()
        except CustodyUnavailableError as error:
            return Unknown(str(error))
        if answer.status != 200 or not isinstance(told, dict) or told.get("id") != ticket:
            return Unknown(f"the custodian answers HTTP {answer.status}, and not about the request")
        if told.get("status") == "pending":
            self._asked_s[ticket] = now_s
            _bound(self._asked_s)
        return told

    async def _require_account(self) -> None:
        answer = await self._call("GET", f"v1/accounts/{self._settings.account}")
        told = answer.json()
        address = told.get("address") if isinstance(told, dict) else None
        if answer.status == 404:
            raise CustodyAccessError(
                f"{self._settings.section}.account: the custodian has no account {self._settings.account}"
            )
        if answer.status != 200 or not isinstance(address, str):
            raise CustodyUnavailableError(
                f"the custodian at {self._endpoint.name} does not show the account (HTTP {answer.status})"
            )
        if address.lower() != f"0x{self._settings.address.hex()}":
            raise CustodyAccessError(
                f"{self._settings.section}.address: the account's address at the custodian is another one; correct "
                "the account or the address"
            )

    async def _call(self, method: str, path: str, body: object = None) -> Answer:
        answer = await self._endpoint.call(method, path, body)
        if answer.status in (401, 403):
            raise CustodyAccessError(
                f"{self._settings.section}.api_key: the custodian refuses it (HTTP {answer.status}); give a valid one"
            )
        return answer


def _transaction_body(request: SignRequest) -> dict[str, Any]:
    return {
        "kind": "transaction",
        "transaction": transaction(request),
        "intent": None if request.intent is None else f"0x{request.intent.hex()}",
    }


def _conflict(ticket: str) -> RequestConflictError:
    return RequestConflictError(f"custody was asked to sign another payload as {ticket}")


def _bound(known: OrderedDict[str, Any]) -> None:
    while len(known) > MAX_KNOWN:
        known.popitem(last=False)
