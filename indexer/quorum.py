"""Which block enough providers call final, for the same one. Pure.

Each provider claims a finalized block. Providers are never equally far, so those that are ahead are asked which
block they have at the heights that the others claim. A block is agreed on if providers of at least ``quorum``
distinct operators call it, or one above it, final and have that very block there. Two different blocks at a height
that both call final are a dispute, however many are on either side: one of them follows another chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from indexer.block import BlockRef


@dataclass(frozen=True, slots=True)
class Claim:
    """What a provider calls finalized. Names are unique; an operator may run several providers."""

    provider: str
    operator: str
    finalized: BlockRef


@dataclass(frozen=True, slots=True)
class Question:
    """Which block a provider has at a height below its own claim."""

    provider: str
    number: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """The highest block that enough operators agree on."""

    finalized: BlockRef


@dataclass(frozen=True, slots=True)
class Undecided:
    """Too few operators agree on any block."""


@dataclass(frozen=True, slots=True)
class Disputed:
    """``says``: the hash that each provider has at ``number``, by the provider's name."""

    number: int
    says: Mapping[str, bytes]


Outcome: TypeAlias = Agreed | Undecided | Disputed
Answers: TypeAlias = Mapping[Question, bytes | None]


def questions(claims: Sequence[Claim]) -> list[Question]:
    """What is to be asked before :func:`decide` can tell: nothing if all claim the same height."""
    heights = {claim.finalized.number for claim in claims}
    return [
        Question(claim.provider, number)
        for claim in claims
        for number in sorted(heights)
        if number < claim.finalized.number
    ]


def decide(claims: Sequence[Claim], answers: Answers, quorum: int) -> Outcome:
    """``answers``: the hash that each question was answered with; None, or none at all, where it was not, which
    then counts for nothing."""
    if quorum < 1:
        raise ValueError("a quorum is at least 1")
    agreed: BlockRef | None = None
    for number in sorted({claim.finalized.number for claim in claims}, reverse=True):
        says: dict[str, bytes] = {}
        operators = set()
        for claim in claims:
            block_hash = _hash_at(claim, number, answers)
            if block_hash is not None:
                says[claim.provider] = block_hash
                operators.add(claim.operator)
        if len(set(says.values())) > 1:
            return Disputed(number, says)
        if agreed is None and len(operators) >= quorum:
            agreed = BlockRef(number, next(iter(says.values())))
    return Undecided() if agreed is None else Agreed(agreed)


def _hash_at(claim: Claim, number: int, answers: Answers) -> bytes | None:
    if claim.finalized.number == number:
        return claim.finalized.hash
    return answers.get(Question(claim.provider, number))
