"""Custody: submit a transaction to be signed, poll until it is. What comes back is never trusted.

A request id names one payload for ever: submitting it again answers with the same ticket, and another
payload under it is refused. An outcome that is not known is looked up by that id; nothing is ever
signed again on a new nonce because an answer was lost.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SignRequest:
    """An EIP-1559 transaction to be signed by one key. Fees in wei per unit of gas; no value is ever sent."""

    request_id: str
    signer: bytes
    chain_id: int
    nonce: int
    to_address: bytes
    data: bytes
    gas_limit: int
    max_fee_wei: int
    priority_fee_wei: int


@dataclass(frozen=True, slots=True)
class Pending:
    """Not decided yet: poll again."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The raw transaction, as custody gives it."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """Custody will not sign this, ever."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Custody does not know the ticket, or cannot say: look it up again, do not submit anew."""


Outcome = Pending | Signed | Rejected | Unknown


class Custody(Protocol):
    """One backend that holds keys."""

    async def identity(self) -> bytes:
        """The 20-byte address of the key."""

    async def submit(self, request: SignRequest) -> str:
        """Ask for a signature; answers with a ticket, the same one for the same request."""

    async def poll(self, ticket: str) -> Outcome:
        """What became of a ticket."""
