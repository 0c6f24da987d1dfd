"""Puts the HTTP API together."""

import json
from collections.abc import Callable
from http import HTTPMethod

import asyncpg
from aiohttp import web

from bridge.bank.connector import BankConnector
from bridge.token import Token
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope, make_application
from daemon.api.observation import ObservationRoutes
from daemon.api.openapi import document
from daemon.api.probes import ProbeRoutes
from daemon.api.webhook import WebhookRoute
from daemon.health import LoopFacts
from daemon.metrics import Metrics
from daemon.settings import Settings
from daemon.status import version
from daemon.wiring import holder_name


def make_app(
    pool: asyncpg.Pool,
    bank: BankConnector,
    token: Token,
    facts: Callable[[], list[LoopFacts]],
    settings: Settings,
) -> web.Application:
    """The application with every route. ``facts`` tells how this daemon's loops fare right now."""
    counted = Metrics()
    database = ApiDatabase(pool, at_most=max(1, settings.database.pool_size // 3))
    routes = [
        *ObservationRoutes(database, token, facts, settings, counted).routes(),
        *ProbeRoutes(database, facts, holder_name(), settings.chain).routes(),
        *WebhookRoute(database, bank, token, counted).routes(),
    ]
    return make_application([*routes, _description(routes)])


def _description(routes: list[Route]) -> Route:
    """The route that describes the others, and itself."""

    async def describe(_: web.Request) -> Reply:
        return Reply(written)

    itself = Route(
        method=HTTPMethod.GET,
        path="/openapi.json",
        name="getOpenapi",
        summary="This API as an OpenAPI 3.1 document.",
        scope=Scope.OPEN,
        handle=describe,
        replies={200: "application/json"},
    )
    written = json.dumps(document([*routes, itself], "Landbridge", version())).encode()
    return itself
