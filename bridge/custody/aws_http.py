"""How AWS is spoken to, within bounds; imported only where a key is in KMS, as AWS's library takes long to load."""

from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession, get_session

from bridge.custody.errors import CustodyUnavailableError

MAX_ANSWER_BYTES: Final = 64 * 1024
CONNECT_TIMEOUT_S: Final = 3.0
ATTEMPTS: Final = 2


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]
    """AWS's answers, none of which may be longer than the largest that makes sense."""

    async def send(self, request: Any) -> Any:
        # Not read at once, since that would be without a bound.
        request.stream_output = True
        response = await super().send(request)
        body = bytearray()
        async for chunk in response.raw.content.iter_chunked(16 * 1024):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                response.raw.close()
                raise CustodyUnavailableError(f"AWS's answer has over {MAX_ANSWER_BYTES} bytes")
        response._content = bytes(body)
        return response


@cache
def _session() -> AioSession:
    """One for the process: each reads the descriptions of AWS's interfaces again, which takes a second."""
    return get_session()


def kms_client(
    region: str, endpoint_url: str | None, timeout_s: float, at_once: int
) -> AbstractAsyncContextManager[Any]:
    """A client of KMS, which is closed on leaving."""
    config = AioConfig(
        connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
        read_timeout=timeout_s,
        max_pool_connections=at_once,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        http_session_cls=BoundedSession,
    )
    client: AbstractAsyncContextManager[Any] = _session().create_client(
        "kms", region_name=region, endpoint_url=endpoint_url, config=config
    )
    return client
