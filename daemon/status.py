"""Where everything stands. One shape for the HTTP API, the metrics and the command line.

Everything is read in one read-only snapshot, and every age is counted on the database's clock, so that
two daemons say the same. Amounts are integers of minor units here and decimal strings in JSON.
"""

from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Annotated, Any, TypeVar

from pydantic import PlainSerializer, WithJsonSchema

from bridge.halts import open_halts
from daemon import index_status, status_queries
from daemon.bridge_wiring import token_of
from daemon.facts import ProcessFacts
from daemon.index_status import ChainStatus, Part, read_chains
from daemon.settings import Settings
from indexer.database import Connection

MinorUnits = Annotated[
    int,
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"}),
]

P = TypeVar("P", bound=Part)


class OperationCounts(Part):
    """How many operations are in each state."""

    issuance: dict[str, int]
    redemption: dict[str, int]


class InFlight(Part):
    """An operation that has not come to an end; its age counts from its beginning."""

    operation_id: int
    kind: str
    state: str
    age_s: float


class BreakCounts(Part):
    """Open breaks by kind, and how many of all are critical."""

    open: dict[str, int]
    critical: int


class ProofStatus(Part):
    """The newest proof of this token."""

    block: int
    verdict: str
    explanation: str
    age_s: float


class BankStatus(Part):
    """Up to which of the bank's entries every one has been read."""

    read_through: int | None


class SignerStatus(Part):
    """A signer that has not retired. ``worked``: whether some daemon holds the lease of its lane. Its gas money as it
    was looked at last, in wei, and how far what waits leaves it; None is not known, or without end."""

    name: str
    address: str
    state: str
    next_nonce: int
    open_transactions: int
    open_intents: int
    worked: bool
    balance_wei: MinorUnits | None
    at_stake_wei: MinorUnits | None
    transactions_left: int | None
    left_s: int | None


class BridgeStatus(Part):
    """Where both ledgers stand. ``supply`` and ``reserve`` are the ledger's own, in minor units."""

    chain: str
    operations: OperationCounts
    oldest_in_flight: InFlight | None
    in_flight_transactions: int
    signers: list[SignerStatus]
    breaks: BreakCounts
    currency: str
    decimals: int
    supply: MinorUnits | None
    reserve: MinorUnits | None
    proof: ProofStatus | None
    bank: BankStatus


class LeaseStatus(Part):
    """Who may act for a role; below zero seconds anybody may take it."""

    role: str
    holder: str
    epoch: int
    expires_in_s: float


class HaltStatus(Part):
    """A halt in force."""

    halt_id: int
    scope: str
    reason: str
    state_loss: bool
    opened_by: str
    opened_at: datetime


class LoopStatus(Part):
    """How a loop of the answering daemon fares."""

    name: str
    role: str
    running: bool
    last_success_age_s: float | None
    last_error: str | None
    restarts: int
    error_kind: str | None = None
    needed: bool = True


class Status(Part):
    """``holder`` names the process that answers, empty if none does; ``bridge`` is None where there is only an
    index."""

    version: str
    holder: str
    at: datetime
    chains: list[ChainStatus]
    bridge: BridgeStatus | None
    leases: list[LeaseStatus]
    halts: list[HaltStatus]
    loops: list[LoopStatus]


async def read_status(connection: Connection, settings: Settings) -> Status:
    """Everything that the database says."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        at = await status_queries.now(connection)
        return Status(
            version=version(),
            holder="",
            at=at,
            chains=await read_chains(connection, settings, at),
            bridge=await _bridge(connection, settings, at),
            leases=[LeaseStatus(**row) for row in await status_queries.leases(connection, at)],
            halts=[HaltStatus(**asdict(halt)) for halt in await open_halts(connection)],
            loops=[],
        )


def as_seen_by(status: Status, process: ProcessFacts) -> Status:
    """With what a process knows of itself."""
    return status.model_copy(
        update={
            "version": version(),
            "holder": process.holder,
            "chains": [index_status.as_seen_by(chain, process) for chain in status.chains],
            "loops": [LoopStatus(**asdict(loop)) for loop in process.loops],
        }
    )


@cache
def version() -> str:
    """The version of this program, where it is installed and not merely run from its sources."""
    try:
        return metadata.version("landbridge")
    except metadata.PackageNotFoundError:
        return "not installed"


async def _bridge(connection: Connection, settings: Settings, at: datetime) -> BridgeStatus | None:
    bridge = settings.bridge
    if bridge is None:
        return None
    token = token_of(bridge)
    books = await status_queries.books(connection, token)
    return BridgeStatus(
        chain=bridge.chain_name,
        operations=OperationCounts(**await status_queries.operations(connection, token)),
        oldest_in_flight=_maybe(InFlight, await status_queries.oldest(connection, token, at)),
        in_flight_transactions=await status_queries.transactions(connection, token.chain_id),
        signers=[
            SignerStatus(**row) for row in await status_queries.signers(connection, token.chain_id)
        ],
        breaks=BreakCounts(**await status_queries.breaks(connection)),
        currency=token.currency,
        decimals=token.decimals,
        supply=None if books is None else books.supply,
        reserve=None if books is None else books.reserve,
        proof=_maybe(ProofStatus, await status_queries.proof(connection, token, at)),
        bank=BankStatus(read_through=await status_queries.read_through(connection, token)),
    )


def _maybe(part: type[P], row: dict[str, Any] | None) -> P | None:
    return None if row is None else part.model_validate(row)
