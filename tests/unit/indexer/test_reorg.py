"""Every verdict against brute force: two whole chains compared block by block."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.block import BlockRef, Header
from indexer.reorg import (
    Behind,
    Extend,
    Gap,
    NeedAncestor,
    RollBack,
    TooDeep,
    Unchanged,
    Verdict,
    Window,
    step,
)

Chain = list[Header]


def chain_of(salts: str) -> Chain:
    """One block for each letter; two chains share blocks as long as their letters are the same."""
    headers: Chain = []
    parent = bytes(32)
    for number, _ in enumerate(salts):
        block_hash = hashlib.sha256(salts[: number + 1].encode()).digest()
        headers.append(Header(number, block_hash, parent, number, bytes(256)))
        parent = block_hash
    return headers


def window_of(ours: Chain, finalized: int | None = None, start: int = 0) -> Window:
    lowest = start if finalized is None else finalized
    return Window(start, finalized, tuple(header.hash for header in ours[lowest:]))


def ask(window: Window, theirs: Chain, header: Header) -> Verdict:
    """Answer the judge's questions from the node's chain, counting them."""
    verdict = step(window, header)
    if isinstance(verdict, Gap):
        verdict = step(window, theirs[verdict.next_number])
    questions = 0
    while isinstance(verdict, NeedAncestor):
        questions += 1
        assert questions <= len(window.hashes)
        verdict = step(window, theirs[verdict.parent.number], verdict.branch)
    return verdict


def expected(window: Window, ours: Chain, theirs: Chain, header: Header) -> Verdict:
    """The same by comparing the chains from the bottom."""
    start, head = window.start_number, len(ours) - 1
    top = min(header.number, head + 1)
    same = 0
    while same < min(len(ours), top + 1) and ours[same].hash == theirs[same].hash:
        same += 1
    ancestor = same - 1
    if header.number < window.lowest_number:
        return Behind(header.number)
    if ancestor >= top:
        return Unchanged() if top == head else Behind(header.number)
    if ancestor == head:
        return Extend((theirs[top],))
    if window.finalized_number is not None and ancestor < window.finalized_number:
        return TooDeep(
            window.finalized_number, window.hashes[0], theirs[window.finalized_number].hash
        )
    kept = None if ancestor < start else ours[ancestor].ref
    lowest = max(ancestor, start - 1)
    return RollBack(kept, tuple(theirs[lowest + 1 : top + 1]), head - lowest)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Window, Chain, Chain, Header]:
    letters = st.text("ab", min_size=1, max_size=9)
    common = draw(st.text("ab", max_size=9))
    ours = chain_of(common + draw(letters))
    theirs = chain_of(common + draw(letters))
    start = draw(st.integers(0, len(ours) - 1))
    finalized = draw(st.none() | st.integers(start, len(ours) - 1))
    return window_of(ours, finalized, start), ours, theirs, draw(st.sampled_from(theirs))


@given(cases())
def test_the_verdict_is_what_comparing_whole_chains_gives(
    case: tuple[Window, Chain, Chain, Header],
) -> None:
    window, ours, theirs, header = case
    assert ask(window, theirs, header) == expected(window, ours, theirs, header)


@given(cases())
def test_what_is_applied_links_up_and_what_is_final_is_kept(
    case: tuple[Window, Chain, Chain, Header],
) -> None:
    window, _, theirs, header = case
    verdict = ask(window, theirs, header)
    if not isinstance(verdict, RollBack | Extend):
        return
    below = window.head if isinstance(verdict, Extend) else verdict.to
    for one in verdict.headers:
        assert below is None or (one.parent_hash, one.number) == (below.hash, below.number + 1)
        below = one.ref
    if isinstance(verdict, RollBack) and window.finalized_number is not None:
        assert verdict.to is not None
        assert verdict.to.number >= window.finalized_number


OURS = chain_of("aaaaaa")


def test_the_next_block_extends() -> None:
    theirs = chain_of("aaaaaaa")
    assert step(window_of(OURS), theirs[6]) == Extend((theirs[6],))


def test_our_head_again_changes_nothing() -> None:
    assert step(window_of(OURS), OURS[5]) == Unchanged()


def test_a_sibling_of_our_head_replaces_it() -> None:
    sibling = chain_of("aaaaab")[5]
    assert step(window_of(OURS), sibling) == RollBack(OURS[4].ref, (sibling,), 1)


def test_an_older_block_of_ours_means_that_the_node_lags() -> None:
    assert step(window_of(OURS), OURS[2]) == Behind(2)
    assert step(window_of(OURS, finalized=3), chain_of("ab")[1]) == Behind(1)


def test_another_block_below_our_head_is_a_fork() -> None:
    other = chain_of("aaab")[3]
    assert step(window_of(OURS), other) == RollBack(OURS[2].ref, (other,), 3)


def test_a_block_far_above_leaves_a_gap() -> None:
    assert step(window_of(OURS), chain_of("a" * 40)[39]) == Gap(6)
    assert step(Window(7, None, ()), chain_of("a" * 40)[39]) == Gap(7)


def test_a_node_below_the_first_block_that_is_wanted_is_behind() -> None:
    assert step(Window(7, None, ()), OURS[5]) == Behind(5)


def test_the_first_block_needs_no_parent() -> None:
    first = chain_of("a" * 8)[7]
    assert step(Window(7, None, ()), first) == Extend((first,))


def test_a_fork_to_a_higher_head_asks_for_its_ancestors_one_by_one() -> None:
    theirs = chain_of("aaabbbb")
    verdict = step(window_of(OURS), theirs[6])
    assert verdict == NeedAncestor(theirs[5].ref, (theirs[6],))
    verdict = step(window_of(OURS), theirs[5], (theirs[6],))
    assert verdict == NeedAncestor(theirs[4].ref, tuple(theirs[5:]))


def test_a_fork_just_above_finalized_is_followed_and_one_block_deeper_is_not() -> None:
    window = window_of(OURS, finalized=4)
    theirs = chain_of("aaaaab")
    assert step(window, theirs[5]) == RollBack(OURS[4].ref, (theirs[5],), 1)
    deeper = chain_of("aaaabb")
    assert step(window, deeper[5]) == TooDeep(4, OURS[4].hash, deeper[4].hash)


def test_a_header_that_is_not_the_parent_is_a_mistake() -> None:
    theirs = chain_of("aaabbbb")
    with pytest.raises(ValueError, match="parent"):
        step(window_of(OURS), theirs[4], (theirs[6],))


def test_a_window_knows_its_heights() -> None:
    window = window_of(OURS, finalized=2)
    assert window.head == BlockRef(5, OURS[5].hash)
    assert window.hash_at(2) == OURS[2].hash
    assert window.hash_at(1) is None
    assert window.hash_at(6) is None
