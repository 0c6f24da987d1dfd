"""Which ranges the auditor takes: all blocks come up in order, and any block by chance."""

from collections import Counter
from random import Random

from indexer.audit_choice import Candidate, Choice, choose
from indexer.spans import Span

FINAL = 999
LONG, SHORT = 1, 2


class Always(Random):
    """Chance that takes one kind whenever it is asked for one."""

    def __init__(self, kind: str) -> None:
        super().__init__(7)
        self._kind = kind

    def choice(self, seq: object) -> str:  # type: ignore[override]
        return self._kind


def chosen(candidates: list[Candidate], kind: str, blocks: int = 100) -> Choice:
    found = choose(candidates, FINAL, blocks, Always(kind))
    assert found is not None
    return found


def test_nothing_is_chosen_before_something_is_final() -> None:
    assert choose([], FINAL, 10, Random(1)) is None
    assert choose([Candidate(LONG, FINAL + 1)], FINAL, 10, Random(1)) is None


def test_a_sweep_begins_at_the_start_and_goes_on_where_it_ended() -> None:
    assert chosen([Candidate(LONG, 5)], "sweep").span == Span(5, 104)
    assert chosen([Candidate(LONG, 5, 104, FINAL, 1)], "sweep").span == Span(105, 204)


def test_a_sweep_ends_at_what_is_final_and_begins_anew_though_the_chain_has_grown() -> None:
    assert chosen([Candidate(LONG, 5, 950, 990, 1)], "sweep").span == Span(951, FINAL)
    assert chosen([Candidate(LONG, 5, FINAL, FINAL, 1)], "sweep").span == Span(5, 104)
    assert chosen([Candidate(LONG, 5, 990, 990, 1)], "sweep").span == Span(5, 104)


def test_contracts_are_swept_in_turns() -> None:
    swept = [Candidate(LONG, 0, 99, FINAL, turn=4), Candidate(SHORT, 900, 920, FINAL, turn=3)]
    assert chosen(swept, "sweep").source_id == SHORT
    assert chosen([*swept, Candidate(3, 990)], "sweep").source_id == 3


def test_sweeping_looks_at_every_block_of_every_contract() -> None:
    seen: dict[int, set[int]] = {LONG: set(), SHORT: set()}
    state = {LONG: Candidate(LONG, 0), SHORT: Candidate(SHORT, 500)}
    for turn in range(1, 60):
        found = choose(list(state.values()), FINAL, 37, Always("sweep"))
        assert found is not None
        seen[found.source_id].update(range(found.span.first, found.span.last + 1))
        start = state[found.source_id].start_block
        swept_to = found.span.last
        state[found.source_id] = Candidate(found.source_id, start, swept_to, found.final, turn)
    assert seen == {LONG: set(range(1000)), SHORT: set(range(500, 1000))}


def test_any_block_of_any_contract_is_drawn_as_often_as_any_other() -> None:
    chance = Always("random")
    candidates = [Candidate(LONG, 0), Candidate(SHORT, 900)]
    drawn: Counter[tuple[int, int]] = Counter()
    for _ in range(11_000):
        found = choose(candidates, FINAL, 1, chance)
        assert found is not None
        drawn[found.source_id, found.span.first] += 1
    assert sum(count for (source, _), count in drawn.items() if source == SHORT) in range(850, 1150)
    assert len(drawn) == 1100
    assert max(drawn.values()) < 40


def test_a_range_never_passes_what_is_final_and_never_begins_before_the_start() -> None:
    chance = Random(3)
    for _ in range(2000):
        found = choose([Candidate(LONG, 100, 400, FINAL, 1)], FINAL, 300, chance)
        assert found is not None
        assert 100 <= found.span.first <= found.span.last <= FINAL
        assert found.span.blocks <= 300


def test_half_of_the_ranges_are_drawn() -> None:
    chance = Random(5)
    kinds: Counter[str] = Counter()
    for _ in range(2000):
        found = choose([Candidate(LONG, 0)], FINAL, 10, chance)
        assert found is not None
        kinds[found.kind] += 1
    assert kinds["random"] in range(900, 1100)
