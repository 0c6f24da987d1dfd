"""Is this webhook the sender's? Standard Webhooks: symmetric signatures (v1), and Ed25519 (v1a). Decided purely.

The sender signs `id.timestamp.body`. Two secrets may be live at once, so that one can be replaced
without losing a message. Raw bytes are verified, never a re-encoding of them.
A replayed message carries a good signature inside the tolerance: its id, returned here, is what
the ingest deduplicates by.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from bridge.bank.errors import (
    WebhookHeaderMalformed,
    WebhookHeaderMissing,
    WebhookSignatureWrong,
    WebhookStale,
)

TOLERANCE_S = 300
MAX_LIVE_SECRETS = 2
_SECRET_PREFIX = "whsec_"  # noqa: S105  # the format's marker, not a secret
_PUBLIC_PREFIX = "whpk_"
_PUBLIC_KEY_BYTES = 32
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 24, 64
_MAX_SIGNATURES_TEXT = 1024
# No dot: it separates the signed parts, and an id that held one could be read in two ways.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def decode_secret(text: str) -> bytes:
    """The key inside `whsec_<base64>`, 24 to 64 bytes.

    Raises ValueError, whose text never holds the secret.
    """
    if not text.startswith(_SECRET_PREFIX):
        raise ValueError("a webhook secret starts with whsec_")
    try:
        key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        # `from None`: the original error could carry the text along in a traceback.
        raise ValueError("a webhook secret is base64 after whsec_") from None
    if not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise ValueError(
            f"a webhook secret is {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES} bytes; it has {len(key)}"
        )
    return key


def decode_public_key(text: str) -> bytes:
    """The key inside `whpk_<base64>`, the 32 bytes of Ed25519. Raises ValueError."""
    from Crypto.Signature import eddsa

    try:
        key = base64.b64decode(text.removeprefix(_PUBLIC_PREFIX), validate=True)
        eddsa.import_public_key(key)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PUBLIC_PREFIX) or len(key) != _PUBLIC_KEY_BYTES:
        raise ValueError("a public key is whpk_ and base64 of the 32 bytes of an Ed25519 key")
    return key


def verify(
    headers: Mapping[str, str],
    raw: bytes,
    keys: Sequence[bytes],
    now_s: int,
    tolerance_s: int = TOLERANCE_S,
    public_keys: Sequence[bytes] = (),
) -> str:
    """The message id of a webhook that was signed with one of `keys`, or by one of `public_keys`, close to `now_s`.

    `headers` may be in any case; a public key has 32 bytes. Raises a WebhookRefused: header missing, header
    malformed, stale, signature wrong.
    """
    if not 1 <= len(keys) + len(public_keys) <= MAX_LIVE_SECRETS:
        raise ValueError(
            f"one or two webhook secrets can be live, not {len(keys) + len(public_keys)}"
        )
    lowered = {name.lower(): value for name, value in headers.items()}
    message_id = _header(lowered, "webhook-id")
    timestamp = _header(lowered, "webhook-timestamp")
    signatures = _header(lowered, "webhook-signature")
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise WebhookHeaderMalformed(
            "webhook-id is not 1 to 128 letters, digits, underscores or hyphens"
        )
    _check_timestamp(timestamp, now_s, tolerance_s)
    signed = b".".join((message_id.encode(), timestamp.encode(), raw))
    if len(signatures) > _MAX_SIGNATURES_TEXT:
        raise WebhookHeaderMalformed(
            f"webhook-signature is longer than {_MAX_SIGNATURES_TEXT} characters"
        )
    parts = signatures.split(" ")
    if not _any_hmac_matches(parts, signed, keys) and not _any_signer_fits(
        parts, signed, public_keys
    ):
        raise WebhookSignatureWrong("no webhook-signature fits a live secret and this body")
    return message_id


def _header(lowered: Mapping[str, str], name: str) -> str:
    value = lowered.get(name)
    if not value:
        raise WebhookHeaderMissing(f"the header {name} is missing")
    if not value.isascii():
        raise WebhookHeaderMalformed(f"the header {name} is not ASCII")
    return value


def _check_timestamp(timestamp: str, now_s: int, tolerance_s: int) -> None:
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise WebhookHeaderMalformed("webhook-timestamp is not whole seconds since 1970")
    off_s = now_s - int(timestamp)
    if abs(off_s) > tolerance_s:
        side = "old" if off_s > 0 else "in the future"
        raise WebhookStale(
            f"the webhook is {abs(off_s)} s {side}; {tolerance_s} s are allowed: "
            "compare the clocks of bank and bridge"
        )


def _any_hmac_matches(parts: Sequence[str], signed: bytes, keys: Sequence[bytes]) -> bool:
    """Compare every v1 signature with every key, in a time that does not tell which one fitted."""
    expected = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    matches = False
    for part in parts:
        version, _, value = part.partition(",")
        if version != "v1":
            continue  # other versions are other schemes, which may stand beside this one
        given = value.encode()
        for candidate in expected:
            matches |= hmac.compare_digest(given, candidate)
    return matches


def _any_signer_fits(parts: Sequence[str], signed: bytes, public_keys: Sequence[bytes]) -> bool:
    """Whether a v1a signature is by one of the keys: Ed25519, as RFC 8032 has it."""
    given = [
        value for part in parts for version, _, value in [part.partition(",")] if version == "v1a"
    ]
    if not given or not public_keys:
        return False
    from Crypto.Signature import eddsa

    for key in public_keys:
        verifier = eddsa.new(eddsa.import_public_key(key), "rfc8032")
        for value in given:
            try:
                verifier.verify(signed, base64.b64decode(value, validate=True))
            except ValueError:
                continue
            return True
    return False
