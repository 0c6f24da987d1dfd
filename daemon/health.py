"""Is this daemon alive, is it ready, and if not, why? Facts in, a judgement with reasons out. Pure.

*Live* means that the process turns its event loop; only a restart helps one that does not. *Ready*
means that its part of the work is being done: the database answers at the right schema, every loop
runs here or under another daemon's lease, and the chain is followed closely. *Lagging* is a daemon
that does all this and is merely behind the chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FOLLOW_ROLE: Final = "follow"
"""The role whose loop reads the chain."""


@dataclass(frozen=True, slots=True)
class LoopFacts:
    """How one loop of this daemon fares. ``last_success_age_s`` is None before its first full step."""

    name: str
    role: str
    running: bool
    last_success_age_s: float | None
    last_error: str | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that has not expired."""

    role: str
    holder: str


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What the database says. ``lag_blocks`` is None until the first block has been read."""

    schema_fault: str | None
    leases: Sequence[Lease]
    lag_blocks: int | None


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
    """How far behind the node's head, and how long ago read, the chain may be."""

    lag_blocks: int
    head_age_s: float


class State(StrEnum):
    """The judgement in a word."""

    LIVE = "live"
    STALLED = "stalled"
    READY = "ready"
    LAGGING = "lagging"
    NOT_READY = "not_ready"


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


def judge_readiness(facts: Facts, limits: Limits) -> Judgement:
    """Judge whether this daemon's part of the work is being done."""
    if facts.database is None:
        return Judgement(State.NOT_READY, ("the database (database.url) does not answer",))
    if facts.database.schema_fault is not None:
        return Judgement(State.NOT_READY, (facts.database.schema_fault,))
    holders = {lease.role: lease.holder for lease in facts.database.leases}
    reasons = tuple(
        reason
        for loop in facts.loops
        if (reason := _missing(loop, holders, facts.holder, limits)) is not None
    )
    if reasons:
        return Judgement(State.NOT_READY, reasons)
    return _judge_lag(facts.database.lag_blocks, limits)


def _missing(
    loop: LoopFacts, holders: Mapping[str, str], ourselves: str, limits: Limits
) -> str | None:
    """Why a loop's work is not being done, by us or by another daemon."""
    if loop.running:
        return _stale_head(loop, limits) if loop.role == FOLLOW_ROLE else None
    holder = holders.get(loop.role)
    if holder is not None and holder != ourselves:
        return None
    why = "" if loop.last_error is None else f": {loop.last_error}"
    whose = "nobody holds its lease" if holder is None else "its lease is ours"
    return f"loop {loop.name} (role {loop.role}) does not run, and {whose}{why}"


def _stale_head(loop: LoopFacts, limits: Limits) -> str | None:
    if loop.last_success_age_s is None:
        return "the chain has not been read yet"
    if loop.last_success_age_s > limits.head_age_s:
        return (
            f"the chain was last read {loop.last_success_age_s:.0f} s ago; "
            f"{limits.head_age_s:g} s are allowed"
        )
    return None


def _judge_lag(lag_blocks: int | None, limits: Limits) -> Judgement:
    if lag_blocks is None:
        return Judgement(State.NOT_READY, ("no block has been stored yet",))
    if lag_blocks > limits.lag_blocks:
        return Judgement(
            State.LAGGING,
            (f"{lag_blocks} blocks behind the node; {limits.lag_blocks} are allowed",),
        )
    return Judgement(State.READY)
