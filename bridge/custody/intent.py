"""An intent: what is to be done on chain, said before there is a nonce, a fee or a transaction. Pure.

People who take minutes approve an intent, so nothing waits behind a nonce meanwhile. It is typed data of EIP-712,
which a hardware wallet shows in words; its hash is what every approval is bound to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.custody.calls import Call
from bridge.custody.signature import HALF_ORDER, Signature, recover
from indexer.keccak import keccak

NAME: Final = "Landbridge"
VERSION: Final = "1"
_DOMAIN_FIELDS: Final = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
_INTENT_FIELDS: Final = (
    ("function", "string"),
    ("ids", "bytes32"),
    ("count", "uint256"),
    ("amount", "uint256"),
    ("validUntil", "uint64"),
)
_V_OFFSET: Final = 27


@dataclass(frozen=True, slots=True)
class Intent:
    """``ids_digest`` stands for the ``count`` operations in the order of the call; ``amount`` is their sum in the
    token's smallest units; ``valid_until_s`` is a Unix time."""

    chain_id: int
    token: bytes
    function: str
    ids_digest: bytes
    count: int
    amount: int
    valid_until_s: int

    @classmethod
    def of(cls, chain_id: int, token: bytes, call: Call, valid_until_s: int) -> "Intent":
        """To make this very call."""
        return cls(
            chain_id=chain_id,
            token=token,
            function=call.function,
            ids_digest=keccak(b"".join(call.ids)),
            count=len(call.ids),
            amount=call.amount,
            valid_until_s=valid_until_s,
        )

    @property
    def hash(self) -> bytes:
        """What approvers sign."""
        return keccak(b"\x19\x01" + _domain(self) + _struct(self))


@dataclass(frozen=True, slots=True)
class Approval:
    """``signature``: r, s and v, 65 bytes, of the intent's hash by whoever is called ``approver``."""

    approver: str
    signature: bytes


def describes(intent: Intent, chain_id: int, token: bytes, call: Call) -> bool:
    """Whether a call is what the intent says, no more and no less."""
    return intent == Intent.of(chain_id, token, call, intent.valid_until_s)


def approvers_of(
    intent: Intent, approvals: Iterable[Approval], approvers: Mapping[str, bytes]
) -> frozenset[str]:
    """Who of the named approvers has approved this very intent. An approval that is not right counts for nothing."""
    digest = intent.hash
    return frozenset(
        approval.approver
        for approval in approvals
        if approval.approver in approvers
        and _signer_of(digest, approval.signature) == approvers[approval.approver]
    )


def typed_data(intent: Intent) -> dict[str, Any]:
    """The intent as wallets and custodians take it; numbers as decimal text, as JSON's own are not exact."""
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in _DOMAIN_FIELDS],
            "Intent": [{"name": name, "type": kind} for name, kind in _INTENT_FIELDS],
        },
        "primaryType": "Intent",
        "domain": {
            "name": NAME,
            "version": VERSION,
            "chainId": str(intent.chain_id),
            "verifyingContract": f"0x{intent.token.hex()}",
        },
        "message": {
            "function": intent.function,
            "ids": f"0x{intent.ids_digest.hex()}",
            "count": str(intent.count),
            "amount": str(intent.amount),
            "validUntil": str(intent.valid_until_s),
        },
    }


def _domain(intent: Intent) -> bytes:
    return keccak(
        _type_hash("EIP712Domain", _DOMAIN_FIELDS)
        + keccak(NAME.encode())
        + keccak(VERSION.encode())
        + _word(intent.chain_id)
        + intent.token.rjust(32, b"\0")
    )


def _struct(intent: Intent) -> bytes:
    return keccak(
        _type_hash("Intent", _INTENT_FIELDS)
        + keccak(intent.function.encode())
        + intent.ids_digest
        + _word(intent.count)
        + _word(intent.amount)
        + _word(intent.valid_until_s)
    )


def _type_hash(name: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    return keccak(f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})".encode())


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _signer_of(digest: bytes, signature: bytes) -> bytes | None:
    if len(signature) != 65:
        return None
    parity = signature[64] - _V_OFFSET if signature[64] >= _V_OFFSET else signature[64]
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    if parity not in (0, 1) or s > HALF_ORDER:
        return None
    return recover(digest, Signature(r, s, parity))
