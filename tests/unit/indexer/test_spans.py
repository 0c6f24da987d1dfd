"""Spans cover a range exactly once, whatever the node says to them."""

import random

import pytest

from indexer.spans import FIRST_BLOCKS, Span, Spans


def drained(spans: Spans, limit: int | None = None) -> list[Span]:
    taken = []
    while (span := spans.take(limit)) is not None:
        taken.append(span)
    return taken


def test_small_answers_make_spans_grow_up_to_the_nodes_limit() -> None:
    spans = Spans(0, 1_000_000)
    sizes = []
    for _ in range(8):
        span = spans.take(2000)
        assert span is not None
        spans.answered(span, 100)
        sizes.append(span.blocks)
    assert sizes == [FIRST_BLOCKS, 100, 1000, 2000, 2000, 2000, 2000, 2000]


def test_large_answers_make_spans_fit() -> None:
    spans = Spans(0, 1_000_000, target_bytes=1_000_000)
    first = spans.take(None)
    assert first is not None
    spans.answered(first, 5_000_000)
    second = spans.take(None)
    assert second is not None
    assert second.blocks == FIRST_BLOCKS // 5


def test_an_answer_to_few_blocks_does_not_shrink_what_is_asked_for_now() -> None:
    spans = Spans(0, 1_000_000)
    small = spans.take(1)
    assert small == Span(0, 0)
    spans.answered(small, 10)
    following = spans.take(None)
    assert following is not None
    assert following.blocks >= FIRST_BLOCKS


@pytest.mark.parametrize(("accepted", "pieces"), [(None, 2), (4, 3), (9, 2), (1000, 2), (1, 10)])
def test_a_refused_span_comes_back_in_pieces(accepted: int | None, pieces: int) -> None:
    spans = Spans(0, 9)
    span = spans.take(None)
    assert span == Span(0, 9)
    assert spans.refused(span, accepted)
    back = drained(spans)
    assert len(back) == pieces
    assert [block for one in back for block in range(one.first, one.last + 1)] == list(range(10))


def test_one_block_cannot_be_cut() -> None:
    spans = Spans(5, 5)
    assert not spans.refused(Span(5, 5), None)


@pytest.mark.parametrize("seed", range(50))
def test_every_block_is_read_exactly_once(seed: int) -> None:
    chance = random.Random(seed)
    spans = Spans(chance.randrange(100), 5000)
    first = spans.lowest
    read: list[Span] = []
    while (span := spans.take(chance.choice([None, 1, 7, 500]))) is not None:
        if chance.random() < 0.3 and spans.refused(span, chance.choice([None, 3, 50])):
            continue
        spans.answered(span, chance.choice([0, 10_000, 10_000_000]))
        read.append(span)
    blocks = sorted(block for one in read for block in range(one.first, one.last + 1))
    assert blocks == list(range(first, 5001))


def test_rationed_calls_begin_with_a_longer_span_and_take_larger_answers() -> None:
    span = Span(0, 10**6)
    rationed, free = Spans.of(span, 20.0), Spans.of(span, None)
    first, short = rationed.take(None), free.take(None)
    assert first is not None
    assert short is not None
    assert first.blocks > short.blocks
    for spans, taken in ((rationed, first), (free, short)):
        spans.answered(taken, 1_000 * taken.blocks)
    longer, shorter = rationed.take(None), free.take(None)
    assert longer is not None
    assert shorter is not None
    assert longer.blocks > shorter.blocks


def test_one_at_a_time_is_asked_for_until_the_node_has_said_how_long_they_may_be() -> None:
    spans = Spans.of(Span(0, 10**6), 20.0)
    first = spans.take(None)
    assert first is not None
    spans.answered(first, 100)
    assert spans.is_probing
    second = spans.take(None)
    assert second is not None
    spans.refused(second, None)
    assert spans.is_probing
    third = spans.take(None)
    assert third is not None
    spans.refused(third, 2_000)
    assert not spans.is_probing
