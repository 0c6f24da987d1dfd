"""Where both ledgers stand. One shape for the HTTP API, the metrics and the command line.

Everything is read in one read-only snapshot, and every age is counted on the database's clock, so that
two daemons say the same. Amounts are integers of minor units here and decimal strings in JSON.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from bridge.token import Token
from daemon import status_queries
from daemon.health import LoopFacts
from daemon.settings import Chain, Settings
from indexer.database import Connection

MinorUnits = Annotated[
    int,
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^-?(0|[1-9][0-9]*)$"}),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


P = TypeVar("P", bound=_Part)


class ChainStatus(_Part):
    """What of the chain is stored; None where nothing has been read yet."""

    id: int
    start_block: int | None
    head: int | None
    node_head: int | None
    finalized: int | None
    lag_blocks: int | None
    lag_s: float | None
    reorgs: int


class ConsumerStatus(_Part):
    """How far a consumer has come in the feed."""

    seq: int
    lag: int


class FeedStatus(_Part):
    """The feed's last number, and its consumers by name."""

    seq: int
    consumers: dict[str, ConsumerStatus]


class OperationCounts(_Part):
    """How many operations are in each state."""

    issuance: dict[str, int]
    redemption: dict[str, int]


class InFlight(_Part):
    """An operation that has not come to an end; its age counts from its beginning."""

    operation_id: int
    kind: str
    state: str
    age_s: float


class BreakCounts(_Part):
    """Open breaks by kind, and how many of all are critical."""

    open: dict[str, int]
    critical: int


class ProofStatus(_Part):
    """The newest proof of this token."""

    block: int
    verdict: str
    explanation: str
    age_s: float


class BankStatus(_Part):
    """Up to which of the bank's entries every one has been read."""

    read_through: int | None


class ProviderStatus(_Part):
    """Whom finality rests on. Of the URL only scheme, host and port: the rest may be secret."""

    rpc_url: str
    single_provider: bool
    finality: Literal["tag", "depth"]
    finality_depth_blocks: int | None


class LeaseStatus(_Part):
    """Who may act for a role; below zero seconds anybody may take it."""

    role: str
    holder: str
    epoch: int
    expires_in_s: float


class HaltStatus(_Part):
    """A halt in force."""

    scope: str
    reason: str
    opened_by: str
    opened_at: datetime


class LoopStatus(_Part):
    """How a loop of the answering daemon fares."""

    name: str
    role: str
    running: bool
    last_success_age_s: float | None
    last_error: str | None
    restarts: int


class Status(_Part):
    """Where both ledgers stand. ``supply`` and ``reserve`` are the ledger's own, in minor units."""

    version: str
    at: datetime
    chain: ChainStatus
    feed: FeedStatus
    operations: OperationCounts
    oldest_in_flight: InFlight | None
    in_flight_transactions: int
    breaks: BreakCounts
    currency: str
    decimals: int
    supply: MinorUnits | None
    reserve: MinorUnits | None
    proof: ProofStatus | None
    bank: BankStatus
    provider: ProviderStatus
    leases: list[LeaseStatus]
    halts: list[HaltStatus]
    loops: list[LoopStatus]


async def read_status(
    connection: Connection, token: Token, settings: Settings, loops: Sequence[LoopFacts]
) -> Status:
    """Read everything about one token; ``loops`` are those of the process that asks."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        at = await status_queries.now(connection)
        books = await status_queries.books(connection, token)
        return Status(
            version=version(),
            at=at,
            chain=ChainStatus(
                id=token.chain_id, **await status_queries.chain(connection, token.chain_id, at)
            ),
            feed=FeedStatus(**await status_queries.feed(connection, token.chain_id)),
            operations=OperationCounts(**await status_queries.operations(connection, token)),
            oldest_in_flight=_maybe(InFlight, await status_queries.oldest(connection, token, at)),
            in_flight_transactions=await status_queries.transactions(connection, token.chain_id),
            breaks=BreakCounts(**await status_queries.breaks(connection)),
            currency=token.currency,
            decimals=token.decimals,
            supply=None if books is None else books.supply,
            reserve=None if books is None else books.reserve,
            proof=_maybe(ProofStatus, await status_queries.proof(connection, token, at)),
            bank=BankStatus(read_through=await status_queries.read_through(connection, token)),
            provider=provider(settings.chain),
            leases=[LeaseStatus(**row) for row in await status_queries.leases(connection, at)],
            halts=[HaltStatus(**row) for row in await status_queries.halts(connection)],
            loops=[_loop(loop) for loop in loops],
        )


@cache
def version() -> str:
    """The version of this program, where it is installed and not merely run from its sources."""
    try:
        return metadata.version("landbridge")
    except metadata.PackageNotFoundError:
        return "not installed"


def provider(chain: Chain) -> ProviderStatus:
    """The one provider of the settings, without anything of its URL that may be secret."""
    parts = urlsplit(chain.rpc_url)
    return ProviderStatus(
        rpc_url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        single_provider=chain.single_provider,
        finality="tag" if chain.finality_depth_blocks is None else "depth",
        finality_depth_blocks=chain.finality_depth_blocks,
    )


def _maybe(part: type[P], row: dict[str, Any] | None) -> P | None:
    return None if row is None else part.model_validate(row)


def _loop(loop: LoopFacts) -> LoopStatus:
    return LoopStatus(
        name=loop.name,
        role=loop.role,
        running=loop.running,
        last_success_age_s=loop.last_success_age_s,
        last_error=loop.last_error,
        restarts=loop.restarts,
    )
