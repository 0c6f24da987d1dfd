"""Calls to the deposit token, and the names of the errors that it answers with. Pure but for the ABI file."""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import sha3
from eth_abi.abi import encode


def load_abi() -> list[dict[str, Any]]:
    """The deposit token's ABI, as the compiler gave it."""
    abi: list[dict[str, Any]] = json.loads((files("bridge") / "deposit_token.abi.json").read_text())
    return abi


def _selector(signature: str) -> bytes:
    digest: bytes = sha3.keccak_256(signature.encode()).digest()
    return digest[:4]


def _error_names() -> dict[bytes, str]:
    return {
        _selector(f"{item['name']}({','.join(i['type'] for i in item['inputs'])})"): item["name"]
        for item in load_abi()
        if item["type"] == "error"
    }


_MINT_OP: Final = "(bytes32,address,uint256,bytes32,uint64)"
_MINT: Final = _selector(f"mint({_MINT_OP})")
_SETTLE: Final = _selector("settleRedeem(bytes32,bytes32)")
_REJECT: Final = _selector("rejectRedeem(bytes32,bytes32)")
TOTAL_SUPPLY: Final = _selector("totalSupply()")
DECIMALS: Final = _selector("decimals()")
_ERRORS: Final = _error_names()


@dataclass(frozen=True, slots=True)
class Mint:
    """One mint. ``deadline_s`` is a Unix time, judged by the block that includes it."""

    op_id: bytes
    to: bytes
    amount: int
    ref: bytes
    deadline_s: int

    def encode(self) -> bytes:
        """The call's bytes."""
        return _MINT + encode(
            [_MINT_OP], [(self.op_id, self.to, self.amount, self.ref, self.deadline_s)]
        )


@dataclass(frozen=True, slots=True)
class Settle:
    """Burn the escrow of a redemption that has been paid."""

    redemption_id: bytes
    fiat_ref: bytes

    def encode(self) -> bytes:
        """The call's bytes."""
        return _SETTLE + encode(["bytes32", "bytes32"], [self.redemption_id, self.fiat_ref])


@dataclass(frozen=True, slots=True)
class Reject:
    """Give the escrow of a redemption back to its holder."""

    redemption_id: bytes
    reason: bytes

    def encode(self) -> bytes:
        """The call's bytes."""
        return _REJECT + encode(["bytes32", "bytes32"], [self.redemption_id, self.reason])


def error_name(data: bytes) -> str | None:
    """The token's custom error that revert data stands for, such as ``AccountFrozen``."""
    return _ERRORS.get(data[:4])
