"""Custody: ask for signatures, look what became of them. What comes back is never trusted.

A request id names one payload for ever: asking again for the same answers with the same ticket, and another
payload under it is refused. A ticket *is* the request id, so it outlives a restart. An outcome that is not known
is asked for again under the same id; nothing is ever signed on a new nonce because an answer was lost.

Both questions take many at once, so that whoever has 500 transactions waits once. How one of them fares says
nothing about the others: what went wrong with one is its own outcome.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bridge.custody.intent import Approval, Intent


@dataclass(frozen=True, slots=True)
class SignRequest:
    """A transaction to be signed by one key. No value is ever sent.

    Fees are in wei per unit of gas. Without ``priority_fee_wei`` it is a legacy transaction of EIP-155, whose gas
    price is ``max_fee_wei``; with it, it is of EIP-1559. ``intent`` is the hash of the intent that it carries out,
    where the custodian has approved one.
    """

    request_id: str
    signer: bytes
    chain_id: int
    nonce: int
    to_address: bytes
    data: bytes
    gas_limit: int
    max_fee_wei: int
    priority_fee_wei: int | None
    intent: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Not decided yet: poll again."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The raw transaction, as custody gives it."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """Custody will not sign this, ever: its nonce must be filled by something else."""

    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody decided in time, and now nobody will: as :class:`Rejected`."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Custody does not know the ticket, or cannot say: submit the same request again, never another one."""

    reason: str = "the ticket is not known"


@dataclass(frozen=True, slots=True)
class Approved:
    """An intent that enough people stand behind. Who they are is proved by their signatures, not by custody's word."""

    approvals: tuple[Approval, ...]


Outcome = Pending | Signed | Rejected | Expired | Unknown
IntentOutcome = Pending | Approved | Rejected | Expired | Unknown


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend is like.

    ``signs``: whether it sees a whole transaction, or 32 bytes that stand for one. ``broadcasts``: whether it sends
    what it signed by itself. ``approval``: whether people decide, so that an outcome may take minutes.
    """

    signs: Literal["digest", "transaction"]
    broadcasts: bool
    approval: bool
    max_signatures_per_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """Whether custody would sign now; ``detail`` is for people, and holds no secret."""

    ok: bool
    detail: str


class Approving(Protocol):
    """People who decide about intents, before there is a nonce."""

    async def propose(self, intents: Sequence[Intent]) -> list[str]:
        """Ask them to approve; answers with a ticket for each, the same one for the same intent.

        Raises as :meth:`Custody.submit`.
        """

    async def approvals(self, tickets: Sequence[str]) -> list[IntentOutcome]:
        """What they have decided about each."""


class Custody(Protocol):
    """One key, and the backend that holds it."""

    @property
    def capabilities(self) -> Capabilities:
        """What it is like; the same for as long as it is open."""

    @property
    def approving(self) -> Approving | None:
        """Who must approve an intent before a request carries it out; None where nobody is asked."""

    async def identity(self) -> bytes:
        """The 20-byte address of the key."""

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        """Ask for signatures; answers with a ticket for each, the same one for the same request.

        Raises :class:`~bridge.custody.errors.RequestConflictError` if one of the ids is known for another payload,
        :class:`~bridge.custody.errors.CustodyUnavailableError` if it is not known what arrived.
        """

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        """What became of each. One that was told what became of it once may be forgotten, and so unknown."""

    async def cancel(self, ticket: str) -> bool:
        """Whether it will never be signed. False where it is too late, or not known."""

    def parse_callback(self, headers: Mapping[str, str], raw: bytes) -> str:
        """The ticket that a callback is about, once it is proved to be custody's: poll it.

        What it says became of the ticket is not told: callbacks may come late, twice and in any order.
        Raises :class:`~bridge.custody.errors.CallbackRefusedError`.
        """

    async def health(self) -> Health:
        """Whether it would sign now."""

    async def close(self) -> None:
        """Let go of connections, sessions and keys. May be called twice."""
