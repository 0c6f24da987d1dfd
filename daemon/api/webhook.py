"""The bank's webhook: believed only by its signature, kept before anything acts on it, then answered.

What an authentic message says is judged later, by the ingest. A message that cannot become an entry is
kept all the same, ends in a break, and is answered with what is wrong with it.
"""

import hashlib
from collections.abc import Mapping
from http import HTTPMethod
from typing import Literal

import structlog
from aiohttp import web
from pydantic import BaseModel

from bridge.bank.amounts import AmountError
from bridge.bank.connector import BankConnector
from bridge.bank.errors import (
    BankMessageError,
    WebhookHeaderMalformed,
    WebhookHeaderMissing,
    WebhookRefused,
    WebhookSignatureWrong,
    WebhookStale,
)
from bridge.bank.messages import MAX_WEBHOOK_BYTES
from bridge.ingest import Receipt, receive
from bridge.token import Token
from daemon.api.body import read_body
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope
from daemon.api.problem import FieldError, ProblemError
from daemon.metrics import Metrics

log = structlog.get_logger()

_REASONS: Mapping[type[WebhookRefused], str] = {
    WebhookHeaderMissing: "header_missing",
    WebhookHeaderMalformed: "header_malformed",
    WebhookStale: "stale",
    WebhookSignatureWrong: "signature_wrong",
}


class Received(BaseModel):
    """``stored``: kept now. ``known``: it had been kept before, and nothing was done."""

    status: Literal["stored", "known"]


class WebhookRoute:
    """Takes the bank's messages in."""

    def __init__(
        self, database: ApiDatabase, bank: BankConnector, token: Token, metrics: Metrics
    ) -> None:
        self._database = database
        self._bank = bank
        self._token = token
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """The one route."""
        return [
            Route(
                method=HTTPMethod.POST,
                path="/v1/bank/webhook",
                name="receiveBankWebhook",
                summary="Take in a signed message of the bank (Standard Webhooks).",
                scope=Scope.BANK,
                handle=self._take_in,
                replies={202: Received, 200: Received},
                problems=(401, 409, 422, 503),
                raw_body="application/json",
            )
        ]

    async def _take_in(self, request: web.Request) -> Reply:
        raw = await read_body(request, MAX_WEBHOOK_BYTES)
        message_id = self._verify(request, raw)
        receipt = await self._keep(message_id, raw)
        if receipt == "conflict":
            raise ProblemError(409, f"another body was received under the id {message_id} before")
        if faults := self._faults(raw):
            log.warning("webhook_faulty", message_id=message_id, faults=[f.path for f in faults])
            detail = "the message was kept and needs a person; sending it again changes nothing"
            raise ProblemError(422, detail, errors=faults)
        if receipt == "known":
            return Reply(Received(status="known"), 200)
        return Reply(Received(status="stored"), 202)

    def _verify(self, request: web.Request, raw: bytes) -> str:
        try:
            return self._bank.verify_webhook(request.headers, raw)
        except WebhookRefused as error:
            reason = _REASONS.get(type(error), "refused")
            self._metrics.count_refusal(reason)
            log.warning(
                "webhook_refused",
                reason=reason,
                source=request.remote,
                sha256=hashlib.sha256(raw).hexdigest(),
            )
            raise ProblemError(401, str(error)) from None

    async def _keep(self, message_id: str, raw: bytes) -> Receipt:
        async with self._database.required() as connection:
            return await receive(connection, "webhook", message_id, raw)

    def _faults(self, raw: bytes) -> list[FieldError]:
        """Why no entry of ours can come of this message, each with the field's path."""
        try:
            entry = self._bank.parse_webhook(raw)
        except BankMessageError as error:
            path, _, message = str(error).partition(": ")
            return [FieldError(path=path, message=message)]
        faults = []
        if entry.account_id != self._token.account_id:
            faults.append(FieldError(path="$.data.account", message="this is not our account"))
        if entry.currency != self._token.currency:
            message = f"{entry.currency!r} is not the account's currency, {self._token.currency}"
            faults.append(FieldError(path="$.data.entry.currency", message=message))
        try:
            entry.amount_minor(self._token.decimals)
        except AmountError as error:
            faults.append(FieldError(path="$.data.entry.amount", message=str(error)))
        return faults
