"""How a request is written as a transaction, unsigned and signed: EIP-1559, or EIP-155 before it. Pure."""

from collections.abc import Sequence
from typing import Final

from bridge.custody.protocol import SignRequest
from bridge.custody.signature import Signature
from indexer import rlp
from indexer.keccak import keccak

TYPE_2: Final = b"\x02"
NOOP_GAS: Final = 21_000
# EIP-155 adds it to twice the chain id and the parity.
V_OFFSET: Final = 35
_EMPTY: Final = rlp.string(b"")
_EMPTY_LIST: Final = rlp.sequence(b"")

NAMES_TYPE_2: Final = (
    "chainId",
    "nonce",
    "maxPriorityFeePerGas",
    "maxFeePerGas",
    "gas",
    "to",
    "value",
    "data",
    "accessList",
)
NAMES_LEGACY: Final = ("nonce", "gasPrice", "gas", "to", "value", "data")


def noop(
    request_id: str,
    signer: bytes,
    chain_id: int,
    nonce: int,
    *,
    max_fee_wei: int,
    priority_fee_wei: int | None,
) -> SignRequest:
    """A transaction that fills its nonce and does nothing else."""
    return SignRequest(
        request_id=request_id,
        signer=signer,
        chain_id=chain_id,
        nonce=nonce,
        to_address=signer,
        data=b"",
        gas_limit=NOOP_GAS,
        max_fee_wei=max_fee_wei,
        priority_fee_wei=priority_fee_wei,
    )


def is_noop(request: SignRequest) -> bool:
    """Whether it does nothing but fill its nonce."""
    return request.to_address == request.signer and not request.data


def number(value: int) -> bytes:
    """A number from 0 on, encoded."""
    return rlp.string(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def items(request: SignRequest) -> list[bytes]:
    """The unsigned fields in their order, each encoded; their names are ``NAMES_…``."""
    tail = [
        number(request.gas_limit),
        rlp.string(request.to_address),
        _EMPTY,
        rlp.string(request.data),
    ]
    if request.priority_fee_wei is None:
        return [number(request.nonce), number(request.max_fee_wei), *tail]
    return [
        number(request.chain_id),
        number(request.nonce),
        number(request.priority_fee_wei),
        number(request.max_fee_wei),
        *tail,
        _EMPTY_LIST,
    ]


def digest(request: SignRequest, encoded: Sequence[bytes] | None = None) -> bytes:
    """The 32 bytes that are signed; ``encoded`` are its :func:`items`, if they are at hand."""
    body = b"".join(items(request) if encoded is None else encoded)
    if request.priority_fee_wei is None:
        return keccak(rlp.sequence(body + number(request.chain_id) + _EMPTY + _EMPTY))
    return keccak(TYPE_2 + rlp.sequence(body))


def assemble(request: SignRequest, signature: Signature) -> bytes:
    """The raw signed transaction."""
    body = b"".join(items(request))
    r_and_s = number(signature.r) + number(signature.s)
    if request.priority_fee_wei is None:
        v = 2 * request.chain_id + V_OFFSET + signature.y_parity
        return rlp.sequence(body + number(v) + r_and_s)
    return TYPE_2 + rlp.sequence(body + number(signature.y_parity) + r_and_s)
