"""The token's roles: which ones a signer needs for its work, and the calls that give and take them. Pure."""

from collections.abc import Iterable
from typing import Final

from bridge.journal import Purpose
from indexer.keccak import keccak

_ROLE_OF: Final[dict[Purpose, str]] = {
    "mint": "MINTER_ROLE",
    "void": "MINTER_ROLE",
    "settle": "REDEEMER_ROLE",
    "reject": "REDEEMER_ROLE",
}
MINTER: Final = _ROLE_OF["mint"]
ROLES: Final = tuple(dict.fromkeys(_ROLE_OF.values()))


def roles_for(purposes: Iterable[Purpose]) -> list[str]:
    """The names of the roles that these purposes need, each once."""
    return sorted({_ROLE_OF[one] for one in purposes})


def has_role(role: str, account: bytes) -> bytes:
    """The question whether an account has a role; its answer is one word."""
    return _call("hasRole(bytes32,address)", role, account)


def grant_role(role: str, account: bytes) -> bytes:
    """The administrator's call that gives a role."""
    return _call("grantRole(bytes32,address)", role, account)


def revoke_role(role: str, account: bytes) -> bytes:
    """The administrator's call that takes a role away."""
    return _call("revokeRole(bytes32,address)", role, account)


def configure_minter(minter: bytes, *, allowance: int, burst: int, refill_s: int) -> bytes:
    """The minter administrator's call that bounds a minter; amounts in the token's smallest units."""
    words = b"".join(one.to_bytes(32) for one in (allowance, burst, refill_s))
    return _selector("configureMinter(address,uint256,uint208,uint48)") + _word(minter) + words


def _call(signature: str, role: str, account: bytes) -> bytes:
    return _selector(signature) + keccak(role.encode()) + _word(account)


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


def _word(account: bytes) -> bytes:
    if len(account) != 20:
        raise ValueError("an account has an address of 20 bytes")
    return account.rjust(32, b"\0")
