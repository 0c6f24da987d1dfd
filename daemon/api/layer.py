"""Typed routes over aiohttp.

A route is a value: what it takes, what it answers, and whom it lets in. The same value makes the
dispatch and the OpenAPI document, so the two cannot disagree. An application with a route that was
not declared here, and so has no scope, refuses to start.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPMethod
from typing import Any, get_type_hints

from aiohttp import web
from pydantic import BaseModel, ValidationError

from daemon.api.body import MAX_BODY_BYTES, read_body
from daemon.api.problem import HEADERS, FieldError, ProblemError, answer_problems


class Scope(StrEnum):
    """Whom a route lets in."""

    OPEN = "open"
    """Whoever reaches the address; it must tell no secrets and change nothing."""
    BANK = "bank"
    """The bank: the message itself proves by its signature who sent it."""
    CUSTODIAN = "custodian"
    """A custodian, likewise."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a model, sent as JSON, or text of the media type that the route declares."""

    body: BaseModel | bytes
    status: int = 200


Handler = Callable[..., Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the API.

    ``handle`` takes the request and, if it has a parameter ``body`` whose type is a pydantic model,
    the JSON body in that shape. ``replies`` names for each status the model or the media type that
    it answers with; ``problems`` the statuses of the problems that it raises. ``raw_body`` is the
    media type of a body that the handler reads by itself, byte for byte.
    """

    method: HTTPMethod
    path: str
    name: str
    summary: str
    scope: Scope
    handle: Handler
    replies: Mapping[int, type[BaseModel] | str]
    problems: Sequence[int] = ()
    raw_body: str | None = None
    body: type[BaseModel] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", get_type_hints(self.handle).get("body"))


class UndeclaredRouteError(Exception):
    """The application has a route that the API does not declare, so nobody said whom it lets in."""


def make_application(routes: Sequence[Route]) -> web.Application:
    """An application that serves these routes, and starts only while there are no others."""
    app = web.Application(middlewares=[answer_problems], client_max_size=MAX_BODY_BYTES)
    declared = {_add(app, route) for route in routes}

    async def refuse_undeclared(started: web.Application) -> None:
        for added in started.router.routes():
            if added not in declared and not _is_head_of(added, declared):
                raise UndeclaredRouteError(
                    f"{added.method} {added.resource and added.resource.canonical} is not declared "
                    "as a Route with a scope"
                )

    app.on_startup.append(refuse_undeclared)
    return app


def _add(app: web.Application, route: Route) -> web.AbstractRoute:
    if route.method is HTTPMethod.GET:
        return app.router.add_get(route.path, _dispatch(route))
    return app.router.add_route(route.method, route.path, _dispatch(route))


def _is_head_of(added: web.AbstractRoute, declared: set[web.AbstractRoute]) -> bool:
    """Whether this is the HEAD that aiohttp serves beside a declared GET."""
    return added.method == "HEAD" and any(
        other.method == "GET" and other.handler is added.handler for other in declared
    )


def _dispatch(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if route.body is None:
            return _response(route, await route.handle(request))
        body = await _read_model(request, route.body)
        return _response(route, await route.handle(request, body=body))

    return handle


async def _read_model(request: web.Request, model: type[BaseModel]) -> BaseModel:
    if request.content_type != "application/json":
        raise ProblemError(415, "send application/json")
    raw = await read_body(request, MAX_BODY_BYTES)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise ProblemError(
            422, "the body is not what is asked for", errors=_faults(error)
        ) from None


def _faults(error: ValidationError) -> list[FieldError]:
    """Every fault with its path; what was sent is not repeated, since it may be secret."""
    found: list[dict[str, Any]] = json.loads(
        error.json(include_url=False, include_input=False, include_context=False)
    )
    return [FieldError(path=_path(fault["loc"]), message=fault["msg"]) for fault in found]


def _path(location: Sequence[str | int]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _response(route: Route, reply: Reply) -> web.Response:
    declared = route.replies[reply.status]
    if isinstance(reply.body, bytes):
        media_type = declared if isinstance(declared, str) else "application/octet-stream"
        return web.Response(
            status=reply.status, body=reply.body, headers={**HEADERS, "Content-Type": media_type}
        )
    return web.Response(
        status=reply.status,
        text=reply.body.model_dump_json(),
        content_type="application/json",
        headers=HEADERS,
    )
