"""Errors as RFC 9457 problem details: every error answer of the API has this one shape."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from pydantic import BaseModel, Field

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Sent with every answer."""


class FieldError(BaseModel):
    """One field that is wrong. ``path`` is its JSONPath, such as ``$.data.entry.amount``."""

    path: str
    message: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str | None = None
    errors: list[FieldError] | None = None


class ProblemError(Exception):
    """Raised by a route to answer with a problem; ``headers`` go out with it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        title = HTTPStatus(status).phrase
        self.problem = Problem(title=title, status=status, detail=detail, errors=errors)
        self.headers = dict(headers or {})


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every error into a problem: the routes' own, the router's (404, 405), and bugs (500)."""
    try:
        return await handler(request)
    except ProblemError as error:
        return _response(error.problem, error.headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _response(_of_status(error.status, request), allow)
    except Exception:
        # Told in full to the log, and not at all to whoever asked.
        log.exception("request_failed", method=request.method, path=request.path)
        detail = "the daemon failed on this request; its log says how"
        return _response(ProblemError(500, detail).problem, {})


def _of_status(status: int, request: web.Request) -> Problem:
    details = {
        404: f"there is nothing at {request.path[:200]}; /openapi.json lists what there is",
        405: f"{request.method[:20]} is not allowed here; see the header Allow",
        413: "the body is larger than is read here",
    }
    title = HTTPStatus(status).phrase
    return Problem(title=title, status=status, detail=details.get(status))


def _response(problem: Problem, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=problem.status,
        text=problem.model_dump_json(exclude_none=True),
        content_type=MEDIA_TYPE,
        headers={**HEADERS, **headers},
    )
