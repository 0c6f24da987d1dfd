"""What is final and safe, and where the cursor stands after a step."""

from __future__ import annotations

import pytest

from indexer.block import BlockRef, Header
from indexer.change import Block, Change, FeedEntry, Retraction, finalization, following
from indexer.cursor import Cursor
from indexer.errors import FinalityInconsistent
from indexer.finality import NodeFinality, OurChain, finalized, safe_number
from indexer.reorg import Window
from indexer.rows import Rows


def hash_of(number: int, branch: int = 0) -> bytes:
    return bytes([number, branch]).ljust(32, b"\0")


def ref(number: int, branch: int = 0) -> BlockRef:
    return BlockRef(number, hash_of(number, branch))


def header(number: int, branch: int = 0) -> Header:
    return Header(number, hash_of(number, branch), hash_of(number - 1, branch), number, bytes(256))


def chain(kept: int, *added: Header) -> OurChain:
    """Blocks 0 to 9 are stored; those up to ``kept`` stay."""
    return OurChain(Window(0, None, tuple(hash_of(n) for n in range(10))), ref(kept), added)


def cursor(head: int, final: int | None, safe: int | None = None) -> Cursor:
    finals = None if final is None else ref(final)
    return Cursor(bytes(32), 0, ref(head), final if safe is None else safe, finals, 100, head)


def change(
    *added: Header, to: int | None = None, final: int | None = None, safe: int | None = None
) -> Change:
    blocks = tuple(Block(one, Rows()) for one in added)
    retraction = None if to is None else Retraction(ref(to))
    return Change(1, ref(9), retraction, blocks, None if final is None else ref(final), safe, 12)


def test_the_nodes_finalized_block_is_ours_to_finalize() -> None:
    assert finalized(chain(9), NodeFinality(finalized=ref(6)), 9) == ref(6)
    assert finalized(chain(9, header(10)), NodeFinality(finalized=ref(10)), 12) == ref(10)


def test_blocks_that_were_just_read_below_the_nodes_finalized_one_are_final() -> None:
    assert finalized(chain(9, header(10)), NodeFinality(finalized=ref(50)), 60) == ref(10)


def test_an_old_head_is_not_final_on_the_word_of_a_block_above_it() -> None:
    assert finalized(chain(9), NodeFinality(finalized=ref(50)), 60) is None


def test_another_block_at_the_finalized_height_writes_nothing() -> None:
    with pytest.raises(FinalityInconsistent):
        finalized(chain(9), NodeFinality(finalized=ref(6, branch=1)), 9)


def test_depth_counts_from_the_nodes_head() -> None:
    assert finalized(chain(9), NodeFinality(depth_blocks=4), 9) == ref(5)
    assert finalized(chain(9), NodeFinality(depth_blocks=20), 9) is None
    assert finalized(chain(9), NodeFinality(), 9) is None


def test_safe_needs_the_same_block() -> None:
    assert safe_number(chain(9), NodeFinality(safe=ref(8))) == 8
    assert safe_number(chain(9), NodeFinality(safe=ref(8, branch=1))) is None
    assert safe_number(chain(9), NodeFinality()) is None
    assert safe_number(chain(5, header(6, 1)), NodeFinality(safe=ref(8))) == 6


def test_only_new_final_blocks_are_fed() -> None:
    assert finalization(cursor(9, 4), change(final=7).finalized) == FeedEntry(
        "finalize", 5, 7, hash_of(7)
    )
    assert finalization(cursor(9, None), change(final=7).finalized) == FeedEntry(
        "finalize", 0, 7, hash_of(7)
    )
    assert finalization(cursor(9, 7), change(final=7).finalized) is None
    assert finalization(cursor(9, 7), change(final=6).finalized) is None


def test_neither_final_nor_safe_goes_back() -> None:
    after = following(cursor(9, 7, safe=8), change(final=5, safe=6), feed_rows=0)
    assert (after.finalized, after.safe_number, after.feed_seq) == (ref(7), 8, 100)


def test_a_reorg_below_the_safe_block_takes_that_claim_back() -> None:
    added = (header(6, 1), header(7, 1))
    after = following(cursor(9, 4, safe=8), change(*added, to=5), feed_rows=6)
    assert (after.head, after.safe_number, after.feed_seq) == (ref(7, 1), 5, 106)


def test_final_blocks_are_safe() -> None:
    after = following(cursor(9, 4, safe=5), change(final=7), feed_rows=1)
    assert after.safe_number == 7
