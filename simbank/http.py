"""The bank's HTTP manners: bearer key, bounded bodies, errors as problem+json (RFC 9457)."""

import hmac
from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

MAX_BODY_BYTES = 64 * 1024

_T = TypeVar("_T")


class Problem(Exception):
    """An answer that is an error. `reason` is its machine-readable name."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason


def json_answer(value: object, status: int = 200) -> web.Response:
    """An answer with a JSON body."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json"
    )


async def read_body(request: web.Request, shape: type[_T]) -> _T:
    """The body as `shape`; raises Problem 400 with the path of the wrong field, 413 if too big."""
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_request", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from error


def whole_number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A query parameter; raises Problem 400 outside of [low, high]."""
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise Problem(400, "invalid_request", f"{name} is a whole number from {low} to {high}")
    return int(text)


def require_key(api_key: str) -> Middleware:
    """A middleware that lets only `Authorization: Bearer <api_key>` pass."""
    expected = f"Bearer {api_key}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, expected):
            raise Problem(401, "unauthorized", "send the API key as a bearer token")
        return await handler(request)

    return check


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as problem+json, aiohttp's own (404, 405, 413) included."""
    try:
        return await handler(request)
    except Problem as problem:
        return _problem(problem.status, problem.reason, str(problem))
    except web.HTTPException as error:
        reason = "route_not_found" if error.status == 404 else HTTPStatus(error.status).name.lower()
        return _problem(error.status, reason, error.reason)


def _problem(status: int, reason: str, detail: str) -> web.Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
    }
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/problem+json"
    )
