"""Finality by quorum: distinct operators, one hash, and no majority over a dispute."""

from __future__ import annotations

import pytest

from indexer.block import BlockRef
from indexer.quorum import (
    Agreed,
    Claim,
    Disputed,
    Outcome,
    Question,
    Undecided,
    decide,
    questions,
)


def ref(number: int, fork: str = "x") -> BlockRef:
    return BlockRef(number, f"{fork}{number}".encode().ljust(32, b"."))


def claim(provider: str, number: int, fork: str = "x", operator: str | None = None) -> Claim:
    return Claim(provider, operator or provider, ref(number, fork))


def answers(
    claims: list[Claim], forks: dict[str, str] | None = None
) -> dict[Question, bytes | None]:
    """As each provider would answer from the fork that it follows (x, if not said otherwise)."""
    forks = forks or {}
    return {
        asked: ref(asked.number, forks.get(asked.provider, "x")).hash for asked in questions(claims)
    }


A, B, C = claim("a", 100), claim("b", 100), claim("c", 100)

CASES: list[tuple[str, list[Claim], dict[str, str], int, Outcome]] = [
    ("nobody says anything", [], {}, 2, Undecided()),
    ("one alone is enough for one", [A], {}, 1, Agreed(ref(100))),
    ("one alone is not enough for two", [A], {}, 2, Undecided()),
    ("two at the same height", [A, B], {}, 2, Agreed(ref(100))),
    ("three, of which one lags", [A, B, claim("c", 90)], {}, 2, Agreed(ref(100))),
    ("three, of which one leads", [claim("a", 110), B, claim("c", 90)], {}, 2, Agreed(ref(100))),
    ("all three are needed", [claim("a", 110), B, claim("c", 90)], {}, 3, Agreed(ref(90))),
    (
        "two of one operator are one",
        [claim("a", 100, operator="o"), claim("b", 100, operator="o")],
        {},
        2,
        Undecided(),
    ),
    (
        "two of one operator, and a lagging third of another",
        [
            claim("a", 100, operator="o"),
            claim("b", 100, operator="o"),
            claim("c", 90, operator="p"),
        ],
        {},
        2,
        Agreed(ref(90)),
    ),
    (
        "two hashes at the same height",
        [A, claim("b", 100, "y")],
        {"b": "y"},
        1,
        Disputed(100, {"a": ref(100).hash, "b": ref(100, "y").hash}),
    ),
    (
        "a majority does not settle a dispute",
        [A, B, claim("c", 100, "y")],
        {"c": "y"},
        2,
        Disputed(100, {"a": ref(100).hash, "b": ref(100).hash, "c": ref(100, "y").hash}),
    ),
    (
        "the leader has another block where the others are",
        [claim("a", 110, "y"), B, C],
        {"a": "y"},
        2,
        Disputed(100, {"a": ref(100, "y").hash, "b": ref(100).hash, "c": ref(100).hash}),
    ),
    (
        "the laggard has another block, below what the others agree on",
        [A, B, claim("c", 90, "y")],
        {"c": "y"},
        2,
        Disputed(90, {"a": ref(90).hash, "b": ref(90).hash, "c": ref(90, "y").hash}),
    ),
]


@pytest.mark.parametrize(
    ("claims", "forks", "quorum", "outcome"),
    [each[1:] for each in CASES],
    ids=[each[0] for each in CASES],
)
def test_a_quorum_decides(
    claims: list[Claim], forks: dict[str, str], quorum: int, outcome: Outcome
) -> None:
    given = answers(claims, forks)
    assert decide(claims, given, quorum) == outcome
    assert decide(claims[::-1], given, quorum) == outcome, "whatever the order"


def test_nothing_is_asked_while_all_claim_the_same_height() -> None:
    assert questions([A, B, C]) == []


def test_those_ahead_are_asked_about_the_heights_of_the_others() -> None:
    asked = questions([claim("a", 110), B, claim("c", 90)])
    assert asked == [Question("a", 90), Question("a", 100), Question("b", 90)]


def test_who_did_not_answer_counts_for_nothing() -> None:
    claims = [claim("a", 110), B]
    assert decide(claims, {}, 2) == Undecided()
    assert decide(claims, {Question("a", 100): None}, 2) == Undecided()
    assert decide(claims, {Question("a", 100): None}, 1) == Agreed(ref(110))


def test_a_quorum_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        decide([A], {}, 0)
