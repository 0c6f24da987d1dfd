"""Reading an HTTP answer within bounds."""

import json
from typing import Any

from aiohttp import ClientResponse


async def read_json(response: ClientResponse, max_bytes: int) -> Any:
    """The body as JSON. Raises ``ValueError`` if it is none, or longer than ``max_bytes``."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise ValueError(f"the answer has over {max_bytes} bytes")
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None
