"""Is this daemon alive, is it ready, and how does it follow each chain? Facts in, a judgement with reasons out. Pure.

*Live* means that the process turns its event loop; only a restart helps one that does not. *Ready*
means that its part of the work is being done: the database answers at the right schema, every loop
runs here or under another daemon's lease, and every chain is followed closely. *Lagging* is a daemon
that does all this and is merely behind a chain. A contract that is being backfilled takes nothing from
what is there already, so it makes no daemon unready; a chain is *synced* only once all have joined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LAG_LIMIT_BLOCKS: Final = 20
"""How far behind the node's head a chain may be and still count as followed closely."""
REWRITTEN: Final = "DeepReorg"
"""The kind of error that says that a chain was rewritten below what was final."""
STANDING_BY: Final = "LeaseLost"
"""The kind of error that says that another daemon does it."""


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """How one loop of this daemon fares. ``last_success_age_s`` is None before its first full step;
    ``error_kind`` is the class of ``last_error``. A daemon is ready without a loop that is not ``needed``."""

    name: str
    role: str
    running: bool
    last_success_age_s: float | None
    last_error: str | None
    restarts: int
    error_kind: str | None = None
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that has not expired."""

    role: str
    holder: str


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the database says of a chain. ``lag_blocks`` is None until the first block has been read;
    ``backfilling`` counts the sources that have not joined."""

    name: str
    role: str
    lag_blocks: int | None
    backfilling: int = 0

    @property
    def follower(self) -> str:
        """The loop that reads it."""
        return f"follower:{self.name}"


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the database says."""

    schema_fault: str | None
    leases: Sequence[Lease]
    chains: Sequence[ChainFacts]


@dataclass(frozen=True, slots=True)
class Facts:
    """What readiness is judged by; ``database`` is None where Postgres could not be reached.

    ``holder`` is the name with which this daemon signs its leases.
    """

    holder: str
    loops: Sequence[LoopFacts]
    database: DatabaseFacts | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How far behind the node's head, and how long ago read, each chain may be; ``head_age_s`` is by its name."""

    lag_blocks: int
    head_age_s: Mapping[str, float]


class State(StrEnum):
    """The judgement in a word."""

    LIVE = "live"
    STALLED = "stalled"
    READY = "ready"
    LAGGING = "lagging"
    NOT_READY = "not_ready"


class ChainState(StrEnum):
    """How a chain is followed."""

    WAITING = "waiting"
    """No block of it has been stored yet."""
    REWRITTEN = "rewritten"
    """Its node's chain differs below what was final: nothing is written until an operator acts."""
    STOPPED = "stopped"
    """Nobody follows it."""
    FAILING = "failing"
    """Its follower cannot go on; it tries again."""
    CATCHING_UP = "catching_up"
    BACKFILLING = "backfilling"
    """It is followed closely, and some contract's history is still being read."""
    SYNCED = "synced"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A state, and every reason why it is not a better one."""

    state: State
    reasons: tuple[str, ...] = ()


def judge_liveness(turn_s: float, limit_s: float) -> Judgement:
    """Judge by how long the event loop took for one turn."""
    if turn_s <= limit_s:
        return Judgement(State.LIVE)
    return Judgement(
        State.STALLED,
        (f"the event loop took {turn_s:.1f} s for a turn; {limit_s:g} s are allowed",),
    )


def judge_chain(chain: ChainFacts, *, followed: bool) -> ChainState:
    """By what the database says; ``followed``: whether somebody holds the lease of its role."""
    if not followed:
        return ChainState.STOPPED
    if chain.lag_blocks is None:
        return ChainState.WAITING
    if chain.lag_blocks > LAG_LIMIT_BLOCKS:
        return ChainState.CATCHING_UP
    return ChainState.BACKFILLING if chain.backfilling else ChainState.SYNCED


def judge_follower(follower: LoopFacts | None) -> ChainState | None:
    """What its own loop knows of a chain and the database does not; None if that is nothing."""
    if follower is None or follower.error_kind in (None, STANDING_BY):
        return None
    return ChainState.REWRITTEN if follower.error_kind == REWRITTEN else ChainState.FAILING


def judge_readiness(facts: Facts, limits: Limits) -> Judgement:
    """Judge whether this daemon's part of the work is being done."""
    if facts.database is None:
        return Judgement(State.NOT_READY, ("the database (database.url) does not answer",))
    if facts.database.schema_fault is not None:
        return Judgement(State.NOT_READY, (facts.database.schema_fault,))
    holders = {lease.role: lease.holder for lease in facts.database.leases}
    chains = {chain.follower: chain for chain in facts.database.chains}
    reasons = [
        reason
        for loop in facts.loops
        if (reason := _missing(loop, holders, facts.holder)) is not None
        or (reason := _stale(loop, chains.get(loop.name), limits)) is not None
    ]
    reasons += [
        f"no block of chain {chain.name} has been stored yet"
        for chain in facts.database.chains
        if chain.lag_blocks is None
    ]
    if reasons:
        return Judgement(State.NOT_READY, tuple(reasons))
    behind = tuple(
        f"{chain.lag_blocks} blocks behind the node of chain {chain.name}; {limits.lag_blocks} are allowed"
        for chain in facts.database.chains
        if chain.lag_blocks is not None and chain.lag_blocks > limits.lag_blocks
    )
    return Judgement(State.LAGGING if behind else State.READY, behind)


def _missing(loop: LoopFacts, holders: Mapping[str, str], ourselves: str) -> str | None:
    """Why a loop's work is not being done, by us or by another daemon."""
    if loop.running or not loop.needed:
        return None
    holder = holders.get(loop.role)
    if holder is not None and holder != ourselves:
        return None
    why = "" if loop.last_error is None else f": {loop.last_error}"
    whose = "nobody holds its lease" if holder is None else "its lease is ours"
    return f"loop {loop.name} (role {loop.role}) does not run, and {whose}{why}"


def _stale(loop: LoopFacts, chain: ChainFacts | None, limits: Limits) -> str | None:
    """Why a chain that we follow is not followed closely; None for every other loop."""
    if chain is None or not loop.running:
        return None
    if loop.last_success_age_s is None:
        return f"chain {chain.name} has not been read yet"
    allowed_s = limits.head_age_s[chain.name]
    if loop.last_success_age_s > allowed_s:
        return (
            f"chain {chain.name} was last read {loop.last_success_age_s:.0f} s ago; "
            f"{allowed_s:g} s are allowed"
        )
    return None
