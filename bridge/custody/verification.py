"""Checks what custody gave back, field by field, before it may be journalled. Pure."""

from dataclasses import dataclass
from typing import Final

import rlp
import sha3
from hexbytes import HexBytes

from bridge.custody.accounts import accounts
from bridge.custody.protocol import SignRequest
from bridge.errors import Fatal

MAX_RAW_BYTES: Final = 128 * 1024
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class SignatureRefusedError(Fatal):
    """Custody returned something other than what was asked to be signed."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes that are safe to journal, and their transaction hash."""

    raw: bytes
    hash: bytes


def verify(request: SignRequest, raw: bytes) -> SignedTransaction:
    """The signed transaction, if it is exactly the request, by its signer, with a low s.

    Raises :class:`SignatureRefusedError` naming the first difference.
    """
    if len(raw) > MAX_RAW_BYTES:
        raise SignatureRefusedError(
            f"custody returned {len(raw)} bytes, at most {MAX_RAW_BYTES} are taken"
        )
    account = accounts()
    from eth_account.typed_transactions.typed_transaction import TypedTransaction

    try:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = bytes.fromhex(account.recover_transaction(raw)[2:])
    except (ValueError, TypeError, IndexError, KeyError, rlp.exceptions.RLPException) as error:
        raise SignatureRefusedError(
            f"custody returned no readable transaction: {type(error).__name__}"
        ) from None
    asked = {
        "chainId": request.chain_id,
        "nonce": request.nonce,
        "to": request.to_address,
        "value": 0,
        "data": request.data,
        "gas": request.gas_limit,
        "maxFeePerGas": request.max_fee_wei,
        "maxPriorityFeePerGas": request.priority_fee_wei,
        "accessList": (),
    }
    for name, wanted in asked.items():
        given = fields[name]
        if (bytes(given) if isinstance(wanted, bytes) else given) != wanted:
            raise SignatureRefusedError(f"custody returned another {name} than was asked for")
    if sender != request.signer:
        raise SignatureRefusedError("custody signed with another key")
    if fields["s"] > _HALF_ORDER:
        raise SignatureRefusedError("custody returned a signature with a high s")
    return SignedTransaction(raw, sha3.keccak_256(raw).digest())
