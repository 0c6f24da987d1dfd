"""Custody by AWS KMS: a key of the curve secp256k1 that never leaves it, and signs 32 bytes that we hashed.

Credentials come as they always do to AWS's own tools (role, environment, profile), and are not ours to hold.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from bridge.custody.errors import (
    CustodyAccessError,
    CustodyUnavailableError,
    SignatureUnreadableError,
)
from bridge.custody.immediate import ImmediateCustody, finished, side_by_side
from bridge.custody.protocol import Capabilities, Health, Outcome, Unknown
from bridge.custody.requests import OpenRequest
from bridge.custody.signature import address_of, read_der, read_public_key

CAPABILITIES: Final = Capabilities(
    # AWS's own limit for elliptic keys of an account and region, unless it was raised.
    signs="digest",
    broadcasts=False,
    approval=False,
    max_signatures_per_s=300.0,
)
KEY_SPEC: Final = "ECC_SECG_P256K1"
KEY_USAGE: Final = "SIGN_VERIFY"
ALGORITHM: Final = "ECDSA_SHA_256"
# What waiting does not mend. Throttling, and KMS's own faults, are not among it.
_DENIED: Final = frozenset(
    {
        "AccessDeniedException",
        "DisabledException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidKeyUsageException",
        "InvalidSignatureException",
        "KMSInvalidStateException",
        "NotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


@dataclass(frozen=True, slots=True)
class AwsKmsSettings:
    """``section`` is what the settings call this signer. ``key_id``: an id, an ARN or ``alias/…``."""

    section: str
    key_id: str
    region: str
    endpoint_url: str | None = None
    timeout_s: float = 10.0
    at_once: int = 32


class AwsKmsCustody(ImmediateCustody):
    """One key in KMS; :meth:`open` is the way to make one."""

    def __init__(
        self, settings: AwsKmsSettings, client: Any, connections: AsyncExitStack, address: bytes
    ) -> None:
        super().__init__(address)
        self._settings = settings
        self._client = client
        self._connections = connections

    @classmethod
    async def open(cls, settings: AwsKmsSettings) -> "AwsKmsCustody":
        """Connect and read the public key.

        Raises :class:`CustodyAccessError` if KMS refuses us or the key, :class:`CustodyUnavailableError` if it does
        not answer.
        """
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(await _client(settings))
            address = await _address(client, settings)
            return cls(settings, client, stack.pop_all(), address)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def health(self) -> Health:
        try:
            address = await _address(self._client, self._settings)
        except (CustodyAccessError, CustodyUnavailableError) as error:
            return Health(ok=False, detail=str(error))
        if address != self._address:
            return Health(ok=False, detail="KMS has another key under this name by now")
        return Health(ok=True, detail=f"KMS in {self._settings.region} has the key")

    async def close(self) -> None:
        self._requests.clear()
        await self._connections.aclose()

    async def _sign(self, requests: Sequence[OpenRequest]) -> list[Outcome]:
        return await side_by_side(requests, self._sign_one, self._settings.at_once)

    async def _sign_one(self, one: OpenRequest) -> Outcome:
        try:
            answer = await _asked(
                self._client.sign(
                    KeyId=self._settings.key_id,
                    Message=one.digest,
                    # Without it KMS would hash the hash.
                    MessageType="DIGEST",
                    SigningAlgorithm=ALGORITHM,
                ),
                self._settings,
            )
            return finished(one, *read_der(answer["Signature"]))
        except CustodyUnavailableError as error:
            return Unknown(str(error))
        except SignatureUnreadableError as error:
            return Unknown(f"what KMS gave is of no use: {error}")


async def _client(settings: AwsKmsSettings) -> AbstractAsyncContextManager[Any]:
    def load() -> AbstractAsyncContextManager[Any]:
        from bridge.custody.aws_http import kms_client

        return kms_client(
            settings.region, settings.endpoint_url, settings.timeout_s, settings.at_once
        )

    try:
        return await asyncio.to_thread(load)
    except ImportError:
        raise CustodyAccessError(
            f'{settings.section}.kind: "aws_kms" needs the extra "kms" of this package'
        ) from None


async def _address(client: Any, settings: AwsKmsSettings) -> bytes:
    answer = await _asked(client.get_public_key(KeyId=settings.key_id), settings)
    try:
        if answer["KeyUsage"] != KEY_USAGE:
            raise SignatureUnreadableError("it is not for signing")
        return address_of(read_public_key(answer["PublicKey"]))
    except (SignatureUnreadableError, KeyError, TypeError) as error:
        raise CustodyAccessError(
            f"{settings.section}.key_id: this key of KMS cannot sign for Ethereum ({error}); make one with "
            f"KeySpec {KEY_SPEC} and KeyUsage {KEY_USAGE}"
        ) from None


async def _asked(question: Awaitable[Any], settings: AwsKmsSettings) -> Any:
    """KMS's answer. Raises :class:`CustodyAccessError` or :class:`CustodyUnavailableError`, in our own words."""
    from aiohttp import ClientError as TransportError
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    section = settings.section
    try:
        async with asyncio.timeout(settings.timeout_s):
            return await question
    except NoCredentialsError:
        raise CustodyAccessError(
            f"{section}: there are no credentials for AWS; give the daemon a role, or AWS_… variables"
        ) from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))[:100]
        if code in _DENIED:
            raise CustodyAccessError(
                f"{section}.key_id: KMS refuses ({code}): the key must be enabled, and the daemon's role needs "
                "kms:GetPublicKey and kms:Sign on it"
            ) from None
        raise CustodyUnavailableError(f"KMS answers {code}") from None
    except (BotoCoreError, TransportError, TimeoutError, OSError, ValueError) as error:
        raise CustodyUnavailableError(
            f"KMS in {settings.region} does not answer ({type(error).__name__})"
        ) from None
