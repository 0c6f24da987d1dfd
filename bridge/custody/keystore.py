"""Custody by an encrypted keystore file (Web3 Secret Storage). Signing is deterministic (RFC 6979)."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from bridge.custody.accounts import accounts
from bridge.custody.protocol import Outcome, Rejected, Signed, SignRequest, Unknown
from bridge.errors import Fatal

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

MAX_KEYSTORE_BYTES = 64 * 1024


class KeystoreError(Fatal):
    """The keystore cannot be opened: the text names the setting to mend."""


class KeystoreCustody:
    """Holds one decrypted key in memory; :meth:`open` is the way to make one."""

    def __init__(self, account: "LocalAccount") -> None:
        self._account = account
        self._requests: dict[str, SignRequest] = {}

    def __repr__(self) -> str:
        return f"KeystoreCustody({self._account.address})"

    @classmethod
    async def open(cls, path: Path, password: SecretStr) -> "KeystoreCustody":
        """Decrypt the file off the event loop (its key derivation takes about half a second).

        Raises :class:`KeystoreError` for a missing, malformed or locked file.
        """
        return cls(await asyncio.to_thread(_decrypt, path, password))

    async def identity(self) -> bytes:
        """The address of the key."""
        return bytes.fromhex(self._account.address[2:])

    async def submit(self, request: SignRequest) -> str:
        """Remember the request; the ticket is its id."""
        known = self._requests.setdefault(request.request_id, request)
        if known != request:
            raise Fatal(f"custody was asked to sign another payload as {request.request_id}")
        return request.request_id

    async def poll(self, ticket: str) -> Outcome:
        """Sign now, once: the key is at hand and needs nobody's consent."""
        request = self._requests.pop(ticket, None)
        if request is None:
            return Unknown()
        if request.signer != await self.identity():
            return Rejected("this keystore holds another key")
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": request.chain_id,
                "nonce": request.nonce,
                "to": request.to_address,
                "value": 0,
                "data": request.data,
                "gas": request.gas_limit,
                "maxFeePerGas": request.max_fee_wei,
                "maxPriorityFeePerGas": request.priority_fee_wei,
            }
        )
        return Signed(bytes(signed.raw_transaction))


def _decrypt(path: Path, password: SecretStr) -> "LocalAccount":
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEYSTORE_BYTES)
    except OSError as error:
        raise KeystoreError(
            f"custody.keystore: cannot read {path}: {error.strerror}; give the path of an encrypted keystore file"
        ) from None
    try:
        keystore = json.loads(text)
        key = accounts().decrypt(keystore, password.get_secret_value())
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise KeystoreError(
                f"custody.password: it does not open {path}; set the right one as LANDBRIDGE_CUSTODY__PASSWORD"
            ) from None
        raise _not_a_keystore(path) from None
    except (KeyError, TypeError, AttributeError, NotImplementedError):
        raise _not_a_keystore(path) from None
    account: LocalAccount = accounts().from_key(key)
    return account


def _not_a_keystore(path: Path) -> KeystoreError:
    return KeystoreError(
        f"custody.keystore: {path} is not an encrypted keystore file (Web3 Secret Storage, version 3); "
        "give the path of one"
    )
