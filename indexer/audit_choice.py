"""What the auditor looks at next. Pure: chance is an argument.

Every other range, by chance, is drawn: each final block of each contract is as likely as any other, so nobody
can tell what will not be looked at. The others go over the blocks in order, the contracts taking turns, so that
nothing is left out for ever; once such a sweep has reached what was the newest final block, it begins anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from indexer.spans import Span

Kind = Literal["random", "sweep"]
KINDS: Final[tuple[Kind, ...]] = ("random", "sweep")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that may be audited from ``start_block`` on. ``swept_to`` is the last block of its last swept
    range, None before the first, and ``swept_final`` what was final when that was chosen; ``turn`` grows with each
    range that is swept of any source, 0 before."""

    source_id: int
    start_block: int
    swept_to: int | None = None
    swept_final: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A range of one source; ``final`` is the newest final block."""

    source_id: int
    kind: Kind
    span: Span
    final: int


def choose(
    candidates: Sequence[Candidate], final: int, blocks: int, chance: Random
) -> Choice | None:
    """At most ``blocks`` blocks, none above ``final``; None if no source has a final block yet."""
    begun = [one for one in candidates if one.start_block <= final]
    if not begun:
        return None
    kind = chance.choice(KINDS)
    if kind == "random":
        (source,) = chance.choices(begun, [final - one.start_block + 1 for one in begun])
        first = chance.randint(source.start_block, final)
    else:
        source = min(begun, key=lambda one: (one.turn, one.source_id))
        first = _next_of(source)
    return Choice(source.source_id, kind, Span(first, min(final, first + blocks - 1)), final)


def _next_of(source: Candidate) -> int:
    """Where its sweep goes on. What has become final since is left to the next one: following it block by block
    would never come to an end."""
    if source.swept_to is None or source.swept_to >= source.swept_final:
        return source.start_block
    return max(source.start_block, source.swept_to + 1)
