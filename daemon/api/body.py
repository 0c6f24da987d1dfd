"""Reads a request's body within bounds: of size, of time, and without inflating anything."""

import asyncio
from typing import Final

from aiohttp import web

from daemon.api.problem import ProblemError

MAX_BODY_BYTES: Final = 256 * 1024
READ_TIMEOUT_S: Final = 10.0


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """The body as it was sent; raises ProblemError: 408, 413 or, if it is compressed, 415."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(415, "send the body without Content-Encoding")
    if request.content_length is not None and request.content_length > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit_bytes:
                    raise _too_large(limit_bytes)
    except TimeoutError:
        raise ProblemError(408, f"the body did not arrive within {READ_TIMEOUT_S:g} s") from None
    return bytes(body)


def _too_large(limit_bytes: int) -> ProblemError:
    return ProblemError(413, f"at most {limit_bytes} bytes are read here")
