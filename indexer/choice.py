"""Which provider is asked next. Pure: whoever calls says what time it is.

Providers are given in the order of the configuration, each with its score, or None where it cannot be used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# The first one in the order is taken unless it is that much worse than the best.
TOLERANCE: Final = 0.5
# How long another one must have been the better choice before a usable one is left for it.
STEADY_S: Final = 20.0
# The width that is assumed of a provider that has refused none yet, where others have.
PRESUMED_BLOCKS: Final = 2_000

Scores = Sequence[float | None]


def preferred(scores: Scores) -> int | None:
    """The first whose score is not far below the best one; None if none can be used."""
    usable = [score for score in scores if score is not None]
    if not usable:
        return None
    enough = max(usable) * TOLERANCE
    return next(
        index for index, score in enumerate(scores) if score is not None and score >= enough
    )


class Preference:
    """The provider for live steps: stays with one as long as it can be used and no other one has been
    preferred for a while."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._challenger: int | None = None
        self._since_s = 0.0

    def choose(self, scores: Scores, now_s: float) -> int | None:
        """The index of the provider to ask; None if none can be used."""
        better = preferred(scores)
        current = self._current
        if better is None or current is None or scores[current] is None or better == current:
            self._current = better if better is not None else current
            self._challenger = None
            return better
        if better != self._challenger:
            self._challenger, self._since_s = better, now_s
        if now_s - self._since_s < STEADY_S:
            return current
        self._current, self._challenger = better, None
        return better


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider that may be asked for logs. ``load``: requests under way by how many may be."""

    index: int
    load: float
    score: float


def freest(candidates: Sequence[Candidate]) -> int:
    """The least loaded; of equals the one with the best score, then the first."""
    return min(candidates, key=lambda one: (one.load, -one.score, one.index)).index


def span_blocks(limits: Sequence[int | None]) -> int | None:
    """The widest range worth asking for, from the usable providers' limits (None: it has refused none yet).

    Wide ranges leave the narrow providers out, narrow ones use all: it is the width at which most blocks are
    read at a time. None while no limit is known that matters.
    """
    known = [limit for limit in limits if limit is not None]
    if not known:
        return None
    unknown = len(limits) - len(known)
    widths = {*known, PRESUMED_BLOCKS} if unknown else {*known}

    def at_a_time(width: int) -> int:
        return width * (unknown + sum(limit >= width for limit in known))

    best = max(widths, key=lambda width: (at_a_time(width), width))
    return best if best <= max(known) else None
