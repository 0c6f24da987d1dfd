"""An HTTP server that signs, asked within bounds: of time, of bytes, of connections, and of whom it may be."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from pydantic import SecretStr
from yarl import URL

from bridge.custody.errors import CustodyAccessError, CustodyUnavailableError

MAX_ANSWER_BYTES: Final = 512 * 1024
"""A raw transaction of the largest size that is taken, as hexadecimal digits, and what stands around it."""
CONNECT_TIMEOUT_S: Final = 3.0
_TRANSPORT_FAILURES: Final = (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM: who we are, and whose word makes the server believed (else the system's)."""

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None


NO_TLS_FILES: Final = Tls()


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """``section`` is what the settings call this signer, for errors. ``headers`` may hold secrets."""

    section: str
    url: SecretStr
    timeout_s: float
    at_once: int = 16
    tls: Tls = NO_TLS_FILES
    headers: Mapping[str, SecretStr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and the body as it came."""

    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Raises :class:`CustodyUnavailableError` if it is none: a proxy's page is no answer."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise CustodyUnavailableError(
                f"the signer's answer (HTTP {self.status}) is not JSON"
            ) from None


class Endpoint:
    """Opened when it is made; :meth:`close` it."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._base = URL(settings.url.get_secret_value())
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, settings.timeout_s)
            ),
            connector=aiohttp.TCPConnector(limit=settings.at_once, ssl=_context(settings)),
            # A compressed answer could be far larger than the bytes that we bound.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.name})"

    @property
    def name(self) -> str:
        """All of its URL that may be shown."""
        return f"{self._base.host}:{self._base.port}"

    async def close(self) -> None:
        await self._session.close()

    async def call(self, method: str, path: str = "", body: object = None) -> Answer:
        """One question. Raises :class:`CustodyUnavailableError` where no whole answer came, for which nobody knows
        whether the question arrived."""
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._session.request(
                method,
                self._base / path if path else self._base,
                data=data,
                headers={**headers, "Content-Type": "application/json"},
                # A redirect would carry what we ask, and our key, to another place.
                allow_redirects=False,
            ) as response:
                return Answer(response.status, await _bounded(response))
        except aiohttp.ClientConnectorCertificateError:
            raise CustodyUnavailableError(
                f"the signer at {self.name} shows a certificate that {self._settings.section}.ca_certificate "
                "does not vouch for"
            ) from None
        except _TRANSPORT_FAILURES as error:
            raise CustodyUnavailableError(
                f"the signer at {self.name} ({self._settings.section}.url) does not answer ({type(error).__name__})"
            ) from None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise CustodyUnavailableError(f"the signer's answer has over {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _context(settings: EndpointSettings) -> ssl.SSLContext | bool:
    """How TLS is spoken; True where nothing is said about it."""
    tls = settings.tls
    if tls == NO_TLS_FILES:
        return True
    section = settings.section
    try:
        context = ssl.create_default_context(cafile=tls.authority)
    except (OSError, ssl.SSLError):
        raise CustodyAccessError(
            f"{section}.ca_certificate: {tls.authority} has no certificate in PEM; give the path of one"
        ) from None
    if tls.certificate is not None:
        try:
            # A key with a passphrase would ask for it at the terminal; a callable keeps it from doing so.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
        except (OSError, ssl.SSLError):
            raise CustodyAccessError(
                f"{section}.client_certificate: {tls.certificate} and {section}.client_key are no pair of "
                "certificate and key in PEM, the key without a passphrase; give the paths of both"
            ) from None
    return context
