"""What a seed stands for: a setting, and a list of actions, each with a time and a chance of its own.

Everything is drawn beforehand, so an action can be left out without changing the others: that is how a failing
scenario is made shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal, get_args

from indexer.contract import Verify

Kind = Literal[
    "mine", "fork", "switch", "sink", "finalize", "announce", "flaw", "cut", "kill", "restart", "takeover",
    "want", "replace", "drop", "look", "push", "deep", "absence",
]  # fmt: skip

# How often each happens, of so many actions together.
WEIGHTS: Final[dict[Kind, int]] = {
    "mine": 30,
    "fork": 12,
    "switch": 10,
    "sink": 4,
    "finalize": 9,
    "announce": 6,
    "flaw": 9,
    "cut": 8,
    "kill": 4,
    "restart": 2,
    "takeover": 3,
    "look": 8,
    "push": 5,
    "absence": 2,
}
GAPS_S: Final = (0.0, 0.1, 0.3, 0.5, 0.8, 1.2, 1.7)
SOURCES: Final = ("coin", "factory", "child", "pong", "gold", "note")
# Nothing else depends on these.
DISPENSABLE: Final = frozenset({"pong", "gold", "note"})
VERIFY: Final[tuple[Verify, ...]] = get_args(Verify)


@dataclass(frozen=True, slots=True)
class Action:
    """``salt`` seeds what the action draws when it is its turn."""

    place: int
    at_s: float
    kind: Kind
    salt: str

    @property
    def chance(self) -> Random:
        return Random(self.salt)

    def __str__(self) -> str:
        return f"{self.place:3} {self.at_s:6.2f} s  {self.kind}"


@dataclass(frozen=True, slots=True)
class Setting:
    """``machines``: how many each node has. ``later`` are the contracts that are wanted only in the course of it.
    ``pruned``: how many rows each step of removal takes; 0 where everything is kept."""

    machines: tuple[int, ...]
    timed: tuple[bool, ...]
    quorum: int
    depth_blocks: int | None
    chunk_blocks: int
    history: int
    final_lag: int
    wanted: tuple[str, ...]
    later: tuple[str, ...]
    verify: dict[str, Verify]
    with_heads: bool
    huge: float
    deep: bool
    pruned: int = 0

    @property
    def proven(self) -> bool:
        return "full" in self.verify.values()

    @property
    def all_compared(self) -> bool:
        return "none" not in self.verify.values()

    @property
    def all_proven(self) -> bool:
        return set(self.verify.values()) == {"full"}


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    setting: Setting
    actions: tuple[Action, ...]

    @classmethod
    def of(cls, seed: int) -> Scenario:
        random = Random(f"{seed}/scenario")
        setting = replace(_setting(random), pruned=_pruned(Random(f"{seed}/pruned")))
        return cls(seed, setting, tuple(_actions(random, seed, setting)))

    def without(self, places: Iterable[int]) -> Scenario:
        left_out = set(places)
        kept = tuple(action for action in self.actions if action.place not in left_out)
        return Scenario(self.seed, self.setting, kept)


def _setting(random: Random) -> Setting:
    deep = random.random() < 0.12
    nodes = random.choices((1, 2, 3, 4), (20, 35, 30, 15))[0]
    by_depth = not deep and random.random() < 0.1
    wanted, later = _wanted(random)
    return Setting(
        machines=tuple(2 if random.random() < 0.2 else 1 for _ in range(nodes)),
        timed=tuple(random.random() < 0.5 for _ in range(nodes)),
        quorum=1 if by_depth else random.randint(1, min(nodes, 2)),
        depth_blocks=random.choice((6, 9)) if by_depth else None,
        chunk_blocks=random.choice((2, 4, 8, 64)),
        history=random.choice((0, 3, 12, 25, 40, 60)),
        final_lag=random.choice((2, 4, 8)),
        wanted=wanted,
        later=later,
        verify=_verify(random),
        with_heads=random.random() < 0.5,
        huge=0.5 if random.random() < 0.03 else 0.01,
        deep=deep,
    )


def _pruned(random: Random) -> int:
    """Drawn apart, so that what else a seed stands for is the same with it or without."""
    return random.choice((1, 3, 10, 1000)) if random.random() < 0.3 else 0


def _wanted(random: Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Some contracts at first, the others later or never; a factory is never wanted after its children."""
    first = {name for name in SOURCES if random.random() < 0.6}
    later = {name for name in SOURCES if name not in first and random.random() < 0.7}
    if (first | later) & {"child", "pong"}:
        if first & {"child", "pong"}:
            first.add("factory")
            later.discard("factory")
        elif "factory" not in first:
            later.add("factory")
    return tuple(sorted(first)), tuple(sorted(later))


def _verify(random: Random) -> dict[str, Verify]:
    """One way for all contracts, or ways of their own."""
    if random.random() < 0.7:
        way = random.choices(VERIFY, (50, 30, 20))[0]
        return dict.fromkeys(SOURCES, way)
    return {name: random.choice(VERIFY) for name in SOURCES}


def _actions(random: Random, seed: int, setting: Setting) -> list[Action]:
    count = random.choice((10, 16, 24))
    kinds: list[Kind] = random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
    once: list[Kind] = []
    if setting.later:
        once.append("want")
    if random.random() < 0.04 and "coin" in setting.wanted:
        once.append("replace")
    if random.random() < 0.04 and DISPENSABLE & set(setting.wanted):
        once.append("drop")
    if setting.deep:
        once.append("deep")
    for kind in once:
        kinds.insert(random.randrange(count // 3, len(kinds)), kind)
    at_s, actions = 0.5, []
    for place, kind in enumerate(kinds):
        at_s += random.choice(GAPS_S)
        actions.append(Action(place, at_s, kind, f"{seed}/{place}"))
    return actions
