"""Which chain event belongs to which operation. Pure: more than one answer, or none, is never a guess."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MintSeen:
    """A mint. ``amount`` in token units, which are the currency's minor units; ``op_id`` is None where neither the
    token nor our journal names an operation."""

    op_id: bytes | None
    to: bytes
    amount: int
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class MintExpected:
    """The issuance of that op_id, and every transaction hash that its journal ever signed."""

    state: str
    wallet: bytes
    amount_minor: int
    journalled_hashes: frozenset[bytes]


def unauthorized_mint(seen: MintSeen, expected: MintExpected | None) -> str | None:
    """Why a mint is not one of ours, or None if it is exactly what an operation asked for."""
    if expected is None:
        return "no operation has this op_id"
    if seen.tx_hash not in expected.journalled_hashes:
        return "its transaction is not in the journal"
    if seen.to != expected.wallet or seen.amount != expected.amount_minor:
        return "it differs from its operation in wallet or amount"
    if expected.state not in ("signed", "submitted"):
        return f"its operation is {expected.state}"
    return None
