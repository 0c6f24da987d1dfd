"""Custody by a hardware security module that speaks PKCS#11.

Its library blocks, so everything is done on a thread of its own. The key never leaves the module; one that could is
refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bridge.custody.errors import (
    CustodyAccessError,
    CustodyUnavailableError,
    SignatureUnreadableError,
)
from bridge.custody.immediate import ImmediateCustody, finished
from bridge.custody.protocol import Capabilities, Health, Outcome, Unknown
from bridge.custody.requests import OpenRequest
from bridge.custody.signature import address_of, read_compact
from bridge.custody.worker import Worker

CAPABILITIES: Final = Capabilities(
    signs="digest", broadcasts=False, approval=False, max_signatures_per_s=3000.0
)
PIECE: Final = 16
"""So many signatures are waited for at a time: a slow module is not taken for one that hangs."""
# The curve's name, as a module keeps it: the object identifier 1.3.132.0.10 in DER.
_SECP256K1: Final = bytes.fromhex("06052b8104000a")
# The head of an octet string of 65 bytes, and the mark of an uncompressed point.
_WRAPPED: Final = bytes.fromhex("044104")


@dataclass(frozen=True, slots=True)
class Pkcs11Settings:
    """``section`` is what the settings call this signer. ``module`` is the vendor's shared library."""

    section: str
    module: Path
    token_label: str
    key_label: str
    pin: SecretStr
    timeout_s: float = 10.0


class Pkcs11Custody(ImmediateCustody):
    """One private key in a token; :meth:`open` is the way to make one."""

    def __init__(
        self, settings: Pkcs11Settings, token: "Token", worker: Worker, address: bytes
    ) -> None:
        super().__init__(address)
        self._settings = settings
        self._token = token
        self._worker = worker

    @classmethod
    async def open(cls, settings: Pkcs11Settings) -> "Pkcs11Custody":
        """Log in and find the key.

        Raises :class:`CustodyAccessError` if the library, the token, the PIN or the key is not right.
        """
        token, worker = Token(settings), Worker(f"hsm of {settings.section}")
        try:
            address = await worker.run(token.address, settings.timeout_s)
        except BaseException:
            worker.stop()
            raise
        return cls(settings, token, worker, address)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def health(self) -> Health:
        try:
            address = await self._worker.run(self._token.address, self._settings.timeout_s)
        except (CustodyAccessError, CustodyUnavailableError) as error:
            return Health(ok=False, detail=str(error))
        if address != self._address:
            return Health(ok=False, detail="the token has another key under this label by now")
        return Health(ok=True, detail="the token is open and has the key")

    async def close(self) -> None:
        self._requests.clear()
        self._worker.do(self._token.close)
        self._worker.stop()

    async def _sign(self, requests: Sequence[OpenRequest]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for start in range(0, len(requests), PIECE):
            piece = requests[start : start + PIECE]
            try:
                outcomes += await self._worker.run(
                    lambda piece=piece: [self._signed(one) for one in piece],  # type: ignore[misc]
                    self._settings.timeout_s,
                )
            except CustodyUnavailableError as error:
                # One that does not answer is not asked for the rest.
                return outcomes + [Unknown(str(error))] * (len(requests) - len(outcomes))
        return outcomes

    def _signed(self, one: OpenRequest) -> Outcome:
        try:
            return finished(one, *read_compact(self._token.sign(one.digest)))
        except SignatureUnreadableError as error:
            return Unknown(f"what the module gave is of no use: {error}")


class Token:
    """The key in the module. Blocking: for one thread alone."""

    def __init__(self, settings: Pkcs11Settings) -> None:
        self._settings = settings
        self._session: Any = None
        self._key: Any = None
        self._lockout: CustodyAccessError | None = None

    def address(self) -> bytes:
        """The address of the key that the token has now; opens the token if it is not open."""
        from pkcs11 import Attribute, ObjectClass
        from pkcs11.exceptions import PKCS11Error

        try:
            self._require_open()
            public = self._find(ObjectClass.PUBLIC_KEY)
            return address_of(_point(public[Attribute.EC_POINT], self._settings))
        except PKCS11Error as error:
            self.close()
            raise _away(error) from None

    def sign(self, digest: bytes) -> bytes:
        """64 bytes: r and s."""
        from pkcs11.exceptions import PKCS11Error

        try:
            return self._signed(digest)
        except PKCS11Error:
            # The session may be gone, as after the module was restarted, or another signer has logged out.
            self.close()
        try:
            return self._signed(digest)
        except PKCS11Error as error:
            self.close()
            raise _away(error) from None

    def close(self) -> None:
        """Log out; the next use logs in again."""
        from pkcs11.exceptions import PKCS11Error

        session, self._session, self._key = self._session, None, None
        try:
            if session is not None:
                session.close()
        except PKCS11Error:
            return

    def _signed(self, digest: bytes) -> bytes:
        from pkcs11 import Mechanism

        self._require_open()
        signature: bytes = self._key.sign(digest, mechanism=Mechanism.ECDSA)
        return signature

    def _require_open(self) -> None:
        if self._key is not None:
            return
        if self._lockout is not None:
            # A module locks itself after some wrong PINs: it is not tried again.
            raise self._lockout
        self._session = self._opened()
        self._key = self._private_key()

    def _opened(self) -> Any:
        from pkcs11 import lib
        from pkcs11.exceptions import (
            NoSuchToken,
            PinIncorrect,
            PinInvalid,
            PinLenRange,
            PinLocked,
            UserAlreadyLoggedIn,
        )

        section, module = self._settings.section, self._settings.module
        try:
            library = lib(str(module))
        except RuntimeError:
            raise CustodyAccessError(
                f"{section}.module: {module} is no PKCS#11 library; give the path of your module's"
            ) from None
        try:
            token = library.get_token(token_label=self._settings.token_label)
        except NoSuchToken:
            raise CustodyAccessError(
                f"{section}.token_label: the module has no token {self._settings.token_label}"
            ) from None
        try:
            return token.open(user_pin=self._settings.pin.get_secret_value())
        except UserAlreadyLoggedIn:
            # By another signer of this process, for all its sessions with this token.
            return token.open()
        except (PinIncorrect, PinInvalid, PinLenRange, PinLocked) as error:
            self._lockout = CustodyAccessError(
                f"{section}.pin: the token refuses it ({type(error).__name__}); it is not tried again, so that the "
                "token does not lock itself"
            )
            raise self._lockout from None

    def _private_key(self) -> Any:
        from pkcs11 import Attribute, ObjectClass

        key = self._find(ObjectClass.PRIVATE_KEY)
        section, label = self._settings.section, self._settings.key_label
        if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
            raise CustodyAccessError(
                f"{section}.key_label: the key {label} can be taken out of the module; make one that is sensitive "
                "and not extractable"
            )
        return key

    def _find(self, kind: Any) -> Any:
        from pkcs11 import Attribute, KeyType

        section, label = self._settings.section, self._settings.key_label
        wanted = {
            Attribute.CLASS: kind,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.LABEL: label,
        }
        # To its end: a search that is left open holds a lock, which only this thread could release.
        found = list(self._session.get_objects(wanted))
        if not found:
            raise CustodyAccessError(
                f"{section}.key_label: the token has no elliptic {kind.name.lower().replace('_', ' ')} {label}"
            )
        if len(found) > 1:
            raise CustodyAccessError(
                f"{section}.key_label: the token has several keys {label}; give each a label of its own"
            )
        key = found[0]
        if key[Attribute.EC_PARAMS] != _SECP256K1:
            raise CustodyAccessError(
                f"{section}.key_label: the key {label} is not of the curve secp256k1"
            )
        return key


def _point(point: bytes, settings: Pkcs11Settings) -> bytes:
    """The 64 bytes of a point, which modules keep as an octet string, and some without its head."""
    if len(point) == 67 and point.startswith(_WRAPPED):
        return point[3:]
    if len(point) == 65 and point[0] == 4:
        return point[1:]
    raise CustodyAccessError(
        f"{settings.section}.key_label: the public key {settings.key_label} is not written as a point"
    )


def _away(error: Exception) -> CustodyUnavailableError:
    return CustodyUnavailableError(f"the signing module does not answer: {type(error).__name__}")
