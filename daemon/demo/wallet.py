"""A key pair of somebody who uses the chain, and the transactions it signs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from eth_account import Account
from eth_account.signers.local import LocalAccount

MAX_FEE_WEI = 200 * 10**9
PRIORITY_FEE_WEI = 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Wallet:
    """One key, kept in memory only."""

    account: LocalAccount = field(repr=False)
    address: bytes

    @classmethod
    def new(cls) -> Self:
        """A wallet with a random key."""
        account: LocalAccount = Account.create()
        return cls(account, bytes.fromhex(account.address[2:]))

    def sign(
        self, *, chain_id: int, nonce: int, to: bytes | None, data: bytes, gas_limit: int
    ) -> bytes:
        """The raw bytes of a type 2 transaction; `to` None creates a contract."""
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "value": 0,
            "data": data,
            "gas": gas_limit,
            "maxFeePerGas": MAX_FEE_WEI,
            "maxPriorityFeePerGas": PRIORITY_FEE_WEI,
        }
        if to is not None:
            transaction["to"] = to
        return bytes(self.account.sign_transaction(transaction).raw_transaction)
