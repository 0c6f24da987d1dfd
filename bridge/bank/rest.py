"""A bank that speaks REST and signed webhooks.

The one rule that matters here: after a payment order may have left this process, only a readable
answer of the bank itself is an outcome. Anything else (time-out, broken connection, 5xx, a refusal
without the bank's reason, an unreadable body) is BankOutcomeUnknown.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from pydantic import SecretStr
from yarl import URL

from bridge.bank.amounts import format_minor
from bridge.bank.connector import (
    Accepted,
    Ack,
    Balance,
    BankEntry,
    Declares,
    EntriesPage,
    PaymentOrder,
    PaymentReport,
    PaymentStatus,
    Rejected,
)
from bridge.bank.errors import (
    BankAccessRefused,
    BankMessageError,
    BankOutcomeUnknown,
    BankPaymentConflict,
    BankUnavailable,
)
from bridge.bank.messages import (
    MAX_PAGE_BYTES,
    decode_balance,
    decode_page,
    decode_payment,
    decode_reason,
    decode_webhook,
)
from bridge.bank.webhook import decode_secret, verify

# What aiohttp raises for a peer that is away, slow, or does not speak HTTP.
_TRANSPORT_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)
_MAX_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class RestBankSettings:
    """How to reach one account. `webhook_secrets`: one or two of the form whsec_<base64>."""

    base_url: str
    api_key: SecretStr
    account_id: str
    currency: str
    exponent: int
    webhook_secrets: tuple[SecretStr, ...]
    timeout_s: float = 10.0
    connect_timeout_s: float = 3.0
    page_limit: int = 200
    not_found_final_after_s: int | None = 3600


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = field(repr=False)


class RestBank:
    """A BankConnector over HTTP; an async context manager that owns its connections.

    Raises ValueError at once if a webhook secret is malformed.
    """

    def __init__(self, settings: RestBankSettings, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._base = URL(settings.base_url)
        self._keys = tuple(
            decode_secret(secret.get_secret_value()) for secret in settings.webhook_secrets
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(
                total=self._settings.timeout_s, sock_connect=self._settings.connect_timeout_s
            ),
            connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS),
            # A compressed answer could be far larger than the bytes that we bound.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "Accept": "application/json"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def declares(self) -> Declares:
        return Declares(
            stable_entry_key="entry_key",
            deduplicates_by="end_to_end_id",
            not_found_final_after_s=self._settings.not_found_final_after_s,
        )

    async def submit_payment(self, order: PaymentOrder) -> Ack:
        try:
            answer = await self._call("POST", "payments", body=_order_body(order))
            return _judge_submission(answer, order)
        except (*_TRANSPORT_FAILURES, BankMessageError) as error:
            raise BankOutcomeUnknown(
                f"payment {order.end_to_end_id}: no definite answer ({_kind(error)}); "
                "ask for its status"
            ) from error

    async def payment_status(self, end_to_end_id: str) -> PaymentReport:
        answer = await self._read(f"payments/{end_to_end_id}")
        if answer.status == 404:
            # A proxy or a wrong base URL answers 404 too; only the bank gives this reason.
            known = decode_reason(answer.body) == "not_found"
            return PaymentReport(PaymentStatus.NOT_FOUND if known else PaymentStatus.UNKNOWN)
        _expect_ok(answer, "payment status")
        try:
            return decode_payment(answer.body, end_to_end_id)
        except BankMessageError:
            return PaymentReport(PaymentStatus.UNKNOWN)

    async def entries(self, after_sequence: int) -> EntriesPage:
        answer = await self._read(
            f"accounts/{self._settings.account_id}/entries",
            query={"after": str(after_sequence), "limit": str(self._settings.page_limit)},
        )
        _expect_ok(answer, "entries")
        return decode_page(answer.body, self._settings.account_id, after_sequence)

    async def balance(self) -> Balance:
        answer = await self._read(f"accounts/{self._settings.account_id}/balance")
        _expect_ok(answer, "balance")
        return decode_balance(answer.body, self._settings.currency, self._settings.exponent)

    def verify_webhook(self, headers: Mapping[str, str], raw: bytes) -> str:
        return verify(headers, raw, self._keys, int(self._now_s()))

    def parse_webhook(self, raw: bytes) -> BankEntry:
        return decode_webhook(raw)

    async def _read(self, path: str, query: Mapping[str, str] | None = None) -> _Answer:
        try:
            answer = await self._call("GET", path, query=query)
        except _TRANSPORT_FAILURES as error:
            raise BankUnavailable(
                f"the bank at {self._base.host}:{self._base.port} (bank.base_url) does not answer "
                f"({_kind(error)}); it is tried again"
            ) from error
        _refuse_access(answer)
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> _Answer:
        if self._session is None:
            raise RuntimeError("RestBank is used outside of its `async with` block")
        async with self._session.request(
            method,
            self._base / "v1" / path,
            params=query,
            data=body,
            headers={
                "Authorization": f"Bearer {self._settings.api_key.get_secret_value()}",
                "Content-Type": "application/json",
            },
            # A redirect would carry the order and our key to another place.
            allow_redirects=False,
        ) as response:
            return _Answer(response.status, await _bounded_body(response))


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            raise BankMessageError(f"$: more than {MAX_PAGE_BYTES} bytes")
    return bytes(body)


def _order_body(order: PaymentOrder) -> bytes:
    """The same order always gives the same bytes: the bank compares them under one id."""
    return msgspec.json.encode(
        {
            "end_to_end_id": order.end_to_end_id,
            "account": order.account_id,
            "amount": format_minor(order.amount_minor, order.exponent),
            "currency": order.currency,
            "creditor": {"name": order.creditor_name, "iban": order.creditor_iban},
            "expires_at": order.expires_at.astimezone(UTC),
        }
    )


def _judge_submission(answer: _Answer, order: PaymentOrder) -> Ack:
    """A definite answer becomes a value; every other one raises."""
    _refuse_access(answer)
    if answer.status in (200, 202):
        report = decode_payment(answer.body, order.end_to_end_id)
        if report.status in (PaymentStatus.ACCEPTED, PaymentStatus.BOOKED):
            return Accepted()
        if report.status is PaymentStatus.REJECTED and report.reason is not None:
            return Rejected(report.reason)
        raise BankMessageError("$.status: neither accepted nor rejected with a reason")
    reason = decode_reason(answer.body)
    if answer.status == 409:
        raise BankPaymentConflict(
            f"the bank holds another payment under {order.end_to_end_id} "
            f"({reason or 'no reason given'}): compare it with the journal before anything else"
        )
    if answer.status in (400, 422) and reason is not None:
        return Rejected(reason)
    raise BankMessageError(f"$: HTTP {answer.status}")


def _refuse_access(answer: _Answer) -> None:
    if answer.status in (401, 403):
        raise BankAccessRefused(
            f"the bank refuses our API key (HTTP {answer.status}); set a valid bank.api_key"
        )


def _expect_ok(answer: _Answer, what: str) -> None:
    if answer.status == 200:
        return
    if answer.status >= 500 or answer.status == 429:
        raise BankUnavailable(f"{what}: the bank answers HTTP {answer.status}")
    reason = decode_reason(answer.body)
    raise BankMessageError(f"$: {what}: HTTP {answer.status} ({reason or 'no reason given'})")


def _kind(error: Exception) -> str:
    """Our own messages are safe to show; a library's are named by type only."""
    return str(error) if isinstance(error, BankMessageError) else type(error).__name__
