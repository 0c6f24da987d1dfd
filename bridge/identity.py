"""Names that are derived, never drawn: a restored database computes the same ones.

Both derivations are frozen for ever: money already moved under them.
"""

import base64
from typing import Final

import sha3
from eth_abi.abi import encode

from bridge.operations import Kind

_OPERATION_DOMAIN: Final = b"landbridge.operation.v1"
_PAYMENT_DOMAIN: Final = b"landbridge.payment.v1"


def operation_id(
    *, chain_id: int, token: bytes, reserve_account: str, stable_entry_key: str, kind: Kind
) -> bytes:
    """The 32-byte op_id that the contract consumes.

    ``stable_entry_key`` is the bank's own name of the entry for an issuance, and the redemption id in
    hex for a redemption. Every part is length-prefixed by the ABI encoding, so no two tuples collide.
    """
    return _keccak(
        encode(
            ["bytes", "uint256", "address", "string", "string", "string"],
            [_OPERATION_DOMAIN, chain_id, token, reserve_account, stable_entry_key, str(kind)],
        )
    )


def end_to_end_id(
    *, account_id: str, chain_id: int, token: bytes, redemption_id: bytes, attempt: int
) -> str:
    """32 base32 characters that name one attempt to pay one redemption at the bank."""
    digest = _keccak(
        encode(
            ["bytes", "string", "uint256", "address", "bytes32", "uint256"],
            [_PAYMENT_DOMAIN, account_id, chain_id, token, redemption_id, attempt],
        )
    )
    return base64.b32encode(digest[:20]).decode("ascii")


def reference(text: str) -> bytes:
    """A 32-byte on-chain reference to something that the bank names in text; the text itself stays off chain."""
    return _keccak(text.encode())


def _keccak(data: bytes) -> bytes:
    digest: bytes = sha3.keccak_256(data).digest()
    return digest
