"""ECDSA over secp256k1, as Ethereum wants it: a low s, and the parity that gives the sender back. Pure.

Keys in hardware and in clouds give any s, in DER or as 64 bytes, and no parity.
"""

from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

from bridge.custody.errors import SignatureUnreadableError
from indexer.keccak import keccak

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER: Final = ORDER // 2
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_MAX_DER_BYTES: Final = 72
# What stands before a public key of this curve in the form of RFC 5480, the mark of an uncompressed point included.
_SPKI_HEAD: Final = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a03420004")


@dataclass(frozen=True, slots=True)
class Signature:
    """``s`` is low, and ``y_parity`` is 0 or 1."""

    r: int
    s: int
    y_parity: int


def address_of(public_key: bytes) -> bytes:
    """The address of a key whose point is given as 64 bytes."""
    return keccak(public_key)[-20:]


def recover(digest: bytes, signature: Signature) -> bytes | None:
    """The address of whoever signed; None if nobody could have."""
    if not (0 < signature.r < ORDER and 0 < signature.s < ORDER):
        return None
    compact = b"%b%b%c" % (
        signature.r.to_bytes(32, "big"),
        signature.s.to_bytes(32, "big"),
        signature.y_parity,
    )
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except Exception:  # noqa: BLE001 - the library raises a bare Exception for what is no point of the curve
        return None
    return address_of(key.format(compressed=False)[1:])


def finish(digest: bytes, r: int, s: int, signer: bytes) -> Signature:
    """What a key gave, with a low s and its parity. Raises :class:`SignatureUnreadableError` if it is not the
    signer's signature of the digest."""
    low_s = min(s, ORDER - s)
    for y_parity in (0, 1):
        signature = Signature(r, low_s, y_parity)
        if recover(digest, signature) == signer:
            return signature
    raise SignatureUnreadableError("it is not a signature of this digest by this key")


def read_compact(signature: bytes) -> tuple[int, int]:
    """r and s of 64 bytes, as PKCS#11 gives them."""
    if len(signature) != 64:
        raise SignatureUnreadableError(f"it has {len(signature)} bytes instead of 64")
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def read_der(signature: bytes) -> tuple[int, int]:
    """r and s of a sequence of two integers in DER, nothing else and nothing after it."""
    if len(signature) > _MAX_DER_BYTES:
        raise SignatureUnreadableError(f"it has {len(signature)} bytes, over {_MAX_DER_BYTES}")
    if len(signature) < 2 or signature[0] != _SEQUENCE or signature[1] != len(signature) - 2:
        raise SignatureUnreadableError("it is no sequence in DER")
    r, rest = _read_integer(signature[2:])
    s, rest = _read_integer(rest)
    if rest:
        raise SignatureUnreadableError("something stands after its two integers")
    return r, s


def read_public_key(spki: bytes) -> bytes:
    """The point of a SubjectPublicKeyInfo in DER, as 64 bytes."""
    if not spki.startswith(_SPKI_HEAD) or len(spki) != len(_SPKI_HEAD) + 64:
        raise SignatureUnreadableError("it is no public key of the curve secp256k1")
    return spki[len(_SPKI_HEAD) :]


def _read_integer(der: bytes) -> tuple[int, bytes]:
    """A positive integer without needless zeros, and what stands after it."""
    if len(der) < 3 or der[0] != _INTEGER or not 0 < der[1] <= 33 or len(der) < 2 + der[1]:
        raise SignatureUnreadableError("it has no integer in DER where one should be")
    value, rest = der[2 : 2 + der[1]], der[2 + der[1] :]
    if value[0] >= 0x80 or (len(value) > 1 and value[0] == 0 and value[1] < 0x80):
        raise SignatureUnreadableError("an integer of it is negative, or has needless zeros")
    return int.from_bytes(value, "big"), rest
