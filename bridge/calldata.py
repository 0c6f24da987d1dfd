"""Calls to the deposit token, and the names of the errors that it answers with. Pure but for the ABI file.

A call is put together by hand: each argument is one word or several, and a batch holds hundreds of them.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias

import sha3

TokenKind: TypeAlias = Literal["deposit", "plain"]
"""A ``plain`` token knows no operations: ``mint(address,uint256)``, and the transfers of an ERC-20."""


def load_abi(kind: TokenKind = "deposit") -> list[dict[str, Any]]:
    """The deposit token's ABI, as the compiler gave it; of a plain one the events that it has."""
    abi: list[dict[str, Any]] = json.loads((files("bridge") / f"{kind}_token.abi.json").read_text())
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


_WORD: Final = 32
_MINT: Final = _selector("mint((bytes32,address,uint256,bytes32,uint64))")
_MINT_PLAINLY: Final = _selector("mint(address,uint256)")
_MINT_BATCH: Final = _selector("mintBatch((bytes32,address,uint256,bytes32,uint64)[])")
_SETTLE: Final = _selector("settleRedeem(bytes32,bytes32)")
_SETTLE_BATCH: Final = _selector("settleBatch((bytes32,bytes32)[])")
_VOID: Final = _selector("voidOperation(bytes32)")
_MINTER_LIMITS: Final = _selector("minterLimits(address)")
_REJECT: Final = _selector("rejectRedeem(bytes32,bytes32)")
PAUSE_MINT: Final = _selector("pause(uint8)") + (1).to_bytes(_WORD)
TOTAL_SUPPLY: Final = _selector("totalSupply()")
DECIMALS: Final = _selector("decimals()")
_ERRORS: Final = _error_names()
# What comes before the bytes of an address and of a uint64 in their words.
_ADDRESS_PAD: Final = bytes(12)
_UINT64_PAD: Final = bytes(24)
# A lone array begins behind the word that says where it begins.
_ARRAY_OFFSET: Final = _WORD.to_bytes(_WORD)


@dataclass(frozen=True, slots=True)
class Mint:
    """One mint. ``deadline_s`` is a Unix time, judged by the block that includes it."""

    op_id: bytes
    to: bytes
    amount: int
    ref: bytes
    deadline_s: int

    def encode(self) -> bytes:
        """The call's bytes. Raises ValueError or OverflowError for a field that does not fit its type."""
        return _MINT + self.words()

    def words(self) -> bytes:
        """The five words of the argument, without the call."""
        if len(self.op_id) != _WORD or len(self.to) != 20 or len(self.ref) != _WORD:
            raise ValueError("a mint has an op_id and a ref of 32 bytes and an address of 20")
        amount, deadline = self.amount.to_bytes(_WORD), self.deadline_s.to_bytes(8)
        return b"".join(
            (self.op_id, _ADDRESS_PAD, self.to, amount, self.ref, _UINT64_PAD, deadline)
        )


@dataclass(frozen=True, slots=True)
class MintPlainly:
    """One mint by a plain token, which cannot tell whether it has seen it before."""

    to: bytes
    amount: int

    def encode(self) -> bytes:
        """The call's bytes. Raises ValueError or OverflowError for a field that does not fit its type."""
        if len(self.to) != 20:
            raise ValueError("an address has 20 bytes")
        return _MINT_PLAINLY + _ADDRESS_PAD + self.to + self.amount.to_bytes(_WORD)


@dataclass(frozen=True, slots=True)
class Settle:
    """Burn the escrow of a redemption that has been paid."""

    redemption_id: bytes
    fiat_ref: bytes

    def encode(self) -> bytes:
        """The call's bytes. Raises ValueError for a field that does not fit its type."""
        return _SETTLE + self.words()

    def words(self) -> bytes:
        """The two words of the arguments, without the call."""
        return _two_words(self.redemption_id, self.fiat_ref)


@dataclass(frozen=True, slots=True)
class Reject:
    """Give the escrow of a redemption back to its holder."""

    redemption_id: bytes
    reason: bytes

    def encode(self) -> bytes:
        """The call's bytes. Raises ValueError for a field that does not fit its type."""
        return _REJECT + _two_words(self.redemption_id, self.reason)


@dataclass(frozen=True, slots=True)
class Void:
    """Consume an operation's id without minting."""

    op_id: bytes

    def encode(self) -> bytes:
        """The call's bytes. Raises ValueError for a field that does not fit its type."""
        if len(self.op_id) != _WORD:
            raise ValueError("an op_id has 32 bytes")
        return _VOID + self.op_id


@dataclass(frozen=True, slots=True)
class MintBatch:
    """Several mints. The contract passes over those that it refuses; :func:`refusals` reads its answer."""

    mints: tuple[Mint, ...]

    def encode(self) -> bytes:
        """The call's bytes. Raises as a single mint does."""
        return _batch(_MINT_BATCH, [mint.words() for mint in self.mints])


@dataclass(frozen=True, slots=True)
class SettleBatch:
    """Several settlements. The contract passes over those that are not open, as with mints."""

    settlements: tuple[Settle, ...]

    def encode(self) -> bytes:
        """The call's bytes. Raises as a single settlement does."""
        return _batch(_SETTLE_BATCH, [settlement.words() for settlement in self.settlements])


def minter_limits(minter: bytes) -> bytes:
    """The question what a minter may mint; its answer is the allowance, burst, refill time, and what is left of both
    now."""
    if len(minter) != 20:
        raise ValueError("a minter has an address of 20 bytes")
    return _MINTER_LIMITS + _ADDRESS_PAD + minter


def error_name(data: bytes) -> str | None:
    """The token's custom error that revert data, or the reason of an item that was passed over, stands for, such as
    ``AccountFrozen``. The first four bytes say it."""
    return _ERRORS.get(data[:4])


def refusals(answer: bytes) -> list[str | None]:
    """What a batch answers when it is called and not sent: None for each item that it carries out, and for each other
    the name of the error with which the item alone would revert, or that error's selector if it has no name here.

    Raises ValueError for an answer that is not of that form.
    """
    count = int.from_bytes(answer[_WORD : 2 * _WORD])
    if answer[:_WORD] != _ARRAY_OFFSET or len(answer) != (2 + count) * _WORD:
        raise ValueError("a batch answers with an array of bytes4")
    reasons = [answer[at : at + 4] for at in range(2 * _WORD, len(answer), _WORD)]
    return [
        error_name(reason) or f"0x{reason.hex()}" if any(reason) else None for reason in reasons
    ]


def _two_words(first: bytes, second: bytes) -> bytes:
    if len(first) != _WORD or len(second) != _WORD:
        raise ValueError("the id and the reference of a redemption have 32 bytes each")
    return first + second


def _batch(selector: bytes, items: list[bytes]) -> bytes:
    return b"".join((selector, _ARRAY_OFFSET, len(items).to_bytes(_WORD), *items))
