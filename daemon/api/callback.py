"""A custodian's callbacks: believed only by their signature, and then nothing but a word to look.

What one says became of a request is not believed, since callbacks come late, twice and in any order: the custodian is
asked. So nothing of it is kept, and the same one again makes us look once more and changes nothing. A daemon that does
not work the signer's lane answers too; whoever does asks by itself every ``poll_interval_s``.
"""

import hashlib
from collections.abc import Sequence
from http import HTTPMethod
from typing import Final, Literal

import structlog
from aiohttp import web
from pydantic import BaseModel

from bridge.custody.errors import CallbackRefusedError
from daemon.api.body import read_body
from daemon.api.layer import Reply, Route, Scope
from daemon.api.problem import ProblemError
from daemon.bridge_wiring import OpenSigner
from daemon.metrics import Metrics

log = structlog.get_logger()

MAX_CALLBACK_BYTES: Final = 64 * 1024


class Heard(BaseModel):
    """It was believed, and the custodian is asked now."""

    status: Literal["heard"] = "heard"


class CallbackRoutes:
    """One for each signer whose custodian asks people."""

    def __init__(self, signers: Sequence[OpenSigner], metrics: Metrics) -> None:
        self._signers = [one for one in signers if one.custody.approving is not None]
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """``/v1/custody/NAME/callback`` for each of them."""
        return [_Callback(signer, self._metrics).route() for signer in self._signers]


class _Callback:
    def __init__(self, signer: OpenSigner, metrics: Metrics) -> None:
        self._signer = signer
        self._metrics = metrics

    def route(self) -> Route:
        return Route(
            method=HTTPMethod.POST,
            path=f"/v1/custody/{self._signer.name}/callback",
            name=f"receiveCallbackOf_{self._signer.name}",
            summary="Hear from a custodian that there is news of a request (Standard Webhooks).",
            scope=Scope.CUSTODIAN,
            handle=self._hear,
            replies={200: Heard},
            problems=(401,),
            raw_body="application/json",
        )

    async def _hear(self, request: web.Request) -> Reply:
        raw = await read_body(request, MAX_CALLBACK_BYTES)
        try:
            ticket = self._signer.custody.parse_callback(request.headers, raw)
        except CallbackRefusedError as error:
            self._metrics.count_callback_refusal(self._signer.name)
            log.warning(
                "callback_refused",
                signer=self._signer.name,
                source=request.remote,
                sha256=hashlib.sha256(raw).hexdigest(),
            )
            raise ProblemError(401, str(error)) from None
        log.info("callback_heard", signer=self._signer.name, ticket=ticket[:100])
        return Reply(Heard())
