"""Puts the HTTP API together."""

import json
from collections.abc import Callable
from http import HTTPMethod

import asyncpg
from aiohttp import web
from redis.asyncio import Redis

from daemon.api.callback import CallbackRoutes
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope, make_application
from daemon.api.observation import ObservationRoutes
from daemon.api.openapi import document
from daemon.api.probes import ProbeRoutes
from daemon.api.webhook import WebhookRoute
from daemon.bridge_wiring import BridgeParts
from daemon.cache import StatusCache
from daemon.facts import ProcessFacts
from daemon.metrics import Metrics
from daemon.settings import Settings
from daemon.status import version


def make_app(
    pool: asyncpg.Pool,
    bridge: BridgeParts | None,
    facts: Callable[[], ProcessFacts],
    settings: Settings,
    cache: StatusCache | None = None,
    redis: Redis | None = None,
) -> web.Application:
    """The application with every route. ``facts`` tells how this daemon fares right now; without a ``bridge``
    nobody is listened to, without a ``cache`` the database is asked each time, and without ``redis`` no stream."""
    counted = Metrics()
    database = ApiDatabase(pool, at_most=max(1, pool.get_max_size() // 3))
    routes = [
        *ObservationRoutes(database, facts, settings, counted, cache, redis).routes(),
        *ProbeRoutes(database, facts, settings).routes(),
    ]
    if bridge is not None:
        routes += WebhookRoute(database, bridge.bank, bridge.token, counted).routes()
        routes += CallbackRoutes(bridge.signers, counted).routes()
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
