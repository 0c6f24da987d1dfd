"""What a header means for the chain that we hold. Pure: no IO, every answer is a value.

``step(window, header)`` is asked about one header of the node, at first its newest. What it can be:

- our head itself: ``Unchanged``;
- the child of our head: ``Extend``;
- further above, so that blocks between are not known yet: ``Gap``; the caller fetches the block just
  above our head by its number and asks about that one;
- a block that we hold, below our head: the node is ``Behind``, which is no reorg; ask later. The same
  if it is below everything that we hold, where nothing can be compared;
- another block at the height of our head (a sibling), at a height below it, or just above it with
  another parent: a fork. If its parent is ours, ``RollBack`` to it; if not, ``NeedAncestor``: the
  caller fetches the parent by its hash and asks again, with the branch that has been walked so far;
- a fork whose branch differs at our finalized block: ``TooDeep``; nobody may follow that by himself;
- a fork that reaches below the first block that we store, none of them final: ``RollBack`` to nothing.

Every walk ends: it asks for at most one ancestor for each block of the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from indexer.block import BlockRef, Header

Branch: TypeAlias = tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of our chain that can still change, and the finalized block below it.

    ``hashes`` are of consecutive canonical blocks, lowest first: from the finalized block if there is
    one, else from ``start_number``, up to our head. Empty before the first block.
    """

    start_number: int
    finalized_number: int | None
    hashes: tuple[bytes, ...]

    @property
    def lowest_number(self) -> int:
        return self.start_number if self.finalized_number is None else self.finalized_number

    @property
    def next_number(self) -> int:
        """The height just above our head."""
        return self.lowest_number + len(self.hashes)

    @property
    def head(self) -> BlockRef | None:
        return BlockRef(self.next_number - 1, self.hashes[-1]) if self.hashes else None

    def hash_at(self, number: int) -> bytes | None:
        """Our hash at a height; None outside the window."""
        index = number - self.lowest_number
        return self.hashes[index] if 0 <= index < len(self.hashes) else None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The header is our head."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The node is below our head, on our chain as far as can be seen: ask it again later."""

    node_number: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The node is ahead: fetch the block ``next_number`` by its number and ask about it."""

    next_number: int


@dataclass(frozen=True, slots=True)
class Extend:
    """``headers``, lowest first, go on top of our head."""

    headers: Branch


@dataclass(frozen=True, slots=True)
class NeedAncestor:
    """The fork goes deeper: fetch ``parent`` by its hash, and ask about it with ``branch``."""

    parent: BlockRef
    branch: Branch


@dataclass(frozen=True, slots=True)
class RollBack:
    """Take back our blocks above ``to`` (all of them if None), then apply ``headers``, lowest first."""

    to: BlockRef | None
    headers: Branch
    depth_blocks: int


@dataclass(frozen=True, slots=True)
class TooDeep:
    """The node's chain differs from ours at our finalized block ``number``."""

    number: int
    ours: bytes
    theirs: bytes


Verdict: TypeAlias = Unchanged | Behind | Gap | Extend | NeedAncestor | RollBack | TooDeep


def step(window: Window, header: Header, branch: Branch = ()) -> Verdict:
    """Judge one header. ``branch``, lowest first, is what a ``NeedAncestor`` gave with the question.

    Raises ``ValueError`` if ``header`` is not the parent that was asked for.
    """
    if branch:
        if (header.number, header.hash) != (branch[0].number - 1, branch[0].parent_hash):
            raise ValueError(f"block {header.number} is not the parent of block {branch[0].number}")
        return _connect(window, (header, *branch))
    if header.number < window.lowest_number:
        return Behind(header.number)
    if header.number > window.next_number:
        return Gap(window.next_number)
    if window.hash_at(header.number) == header.hash:
        newest = header.number == window.next_number - 1
        return Unchanged() if newest else Behind(header.number)
    return _connect(window, (header,))


def linked(window: Window, headers: Sequence[Header]) -> Branch:
    """Those of ``headers``, in the order in which they were told, that go on top of our head, one on the other, up to
    the newest; none if they do not reach down to it."""
    head = window.head
    run: list[Header] = []
    for header in reversed(headers):
        if run and header.hash != run[0].parent_hash:
            continue
        run.insert(0, header)
        if (
            head is not None
            and header.parent_hash == head.hash
            and header.number == head.number + 1
        ):
            return tuple(run)
    return ()


def _connect(window: Window, branch: Branch) -> Verdict:
    """Where a branch joins our chain. None of its blocks is one of ours."""
    lowest = branch[0]
    parent = BlockRef(lowest.number - 1, lowest.parent_hash)
    head = window.head
    if head is None:
        return Extend(branch)
    if lowest.number == window.lowest_number:
        return _at_the_bottom(window, branch, head)
    if window.hash_at(parent.number) == parent.hash:
        if parent == head:
            return Extend(branch)
        return RollBack(parent, branch, head.number - parent.number)
    if parent.number == window.finalized_number:
        return TooDeep(parent.number, window.hashes[0], parent.hash)
    return NeedAncestor(parent, branch)


def _at_the_bottom(window: Window, branch: Branch, head: BlockRef) -> Verdict:
    """The branch replaces even the lowest block of the window."""
    lowest = branch[0]
    if window.finalized_number is not None:
        return TooDeep(lowest.number, window.hashes[0], lowest.hash)
    return RollBack(None, branch, head.number - lowest.number + 1)
