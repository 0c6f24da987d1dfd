"""Custody by an encrypted keystore file (Web3 Secret Storage). Signing is deterministic (RFC 6979)."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coincurve import PrivateKey
from pydantic import SecretStr

from bridge.custody.accounts import accounts
from bridge.custody.errors import CustodyAccessError
from bridge.custody.immediate import ImmediateCustody
from bridge.custody.protocol import Capabilities, Health, Outcome, Rejected, Signed
from bridge.custody.requests import OpenRequest
from bridge.custody.signature import Signature, address_of
from bridge.custody.transaction import assemble

MAX_KEYSTORE_BYTES: Final = 64 * 1024
CAPABILITIES: Final = Capabilities(
    signs="transaction", broadcasts=False, approval=False, max_signatures_per_s=5000.0
)
INLINE: Final = 16
"""So many signatures take about a millisecond; what takes longer is done off the event loop."""


@dataclass(frozen=True, slots=True)
class KeystoreSettings:
    """``section`` is what the settings call this signer, for errors."""

    section: str
    path: Path
    password: SecretStr


class KeystoreCustody(ImmediateCustody):
    """Holds one decrypted key in memory; :meth:`open` is the way to make one."""

    def __init__(self, key: PrivateKey) -> None:
        super().__init__(address_of(key.public_key.format(compressed=False)[1:]))
        self._key: PrivateKey | None = key

    @classmethod
    async def open(cls, settings: KeystoreSettings) -> "KeystoreCustody":
        """Decrypt the file off the event loop (its key derivation takes about half a second).

        Raises :class:`CustodyAccessError` for a missing, malformed or locked file.
        """
        return cls(PrivateKey(await asyncio.to_thread(_decrypt, settings)))

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def health(self) -> Health:
        if self._key is None:
            return Health(ok=False, detail="the keystore is closed")
        return Health(ok=True, detail="the key is in memory")

    async def close(self) -> None:
        self._key = None
        self._requests.clear()

    async def _sign(self, requests: Sequence[OpenRequest]) -> list[Outcome]:
        if len(requests) <= INLINE:
            return self._sign_all(requests)
        return await asyncio.to_thread(self._sign_all, requests)

    def _sign_all(self, requests: Sequence[OpenRequest]) -> list[Outcome]:
        key = self._key
        if key is None:
            return [Rejected("the keystore is closed")] * len(requests)
        return [_signed(key, one) for one in requests]


def _signed(key: PrivateKey, one: OpenRequest) -> Signed:
    compact = key.sign_recoverable(one.digest, hasher=None)
    r, s = int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:64], "big")
    return Signed(assemble(one.request, Signature(r, s, compact[64])))


def _decrypt(settings: KeystoreSettings) -> bytes:
    section, path = settings.section, settings.path
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEYSTORE_BYTES)
    except OSError as error:
        raise CustodyAccessError(
            f"{section}.keystore: cannot read {path}: {error.strerror}; give the path of an encrypted keystore file"
        ) from None
    try:
        return bytes(accounts().decrypt(json.loads(text), settings.password.get_secret_value()))
    except ValueError as error:
        if "MAC mismatch" in str(error):
            variable = f"LANDBRIDGE_{section.replace('.', '__').upper()}__PASSWORD"
            raise CustodyAccessError(
                f"{section}.password: it does not open {path}; set the right one as {variable}"
            ) from None
        raise _not_a_keystore(settings) from None
    except (KeyError, TypeError, AttributeError, NotImplementedError, RecursionError):
        raise _not_a_keystore(settings) from None


def _not_a_keystore(settings: KeystoreSettings) -> CustodyAccessError:
    return CustodyAccessError(
        f"{settings.section}.keystore: {settings.path} is not an encrypted keystore file (Web3 Secret Storage, "
        "version 3); give the path of one"
    )
