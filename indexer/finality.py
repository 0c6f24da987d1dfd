"""Which of our blocks the node calls final or safe. Pure.

The node's tags are read before its headers. So a header that was read by its number afterwards, and is
not above the node's finalized block, is itself final; that is how catching up finalizes what it applies.
Where our chain reaches the node's finalized block, the hashes are compared.
"""

from dataclasses import dataclass

from indexer.block import BlockRef
from indexer.errors import FinalityInconsistent
from indexer.hexadecimal import to_data
from indexer.reorg import Branch, Window


@dataclass(frozen=True, slots=True)
class NodeFinality:
    """The node's tags; None where it names no block. With ``depth_blocks`` they are not asked for: a block
    is final that many blocks below the node's head.

    ``agreed``: several providers say so of this very block. What one of them has below it proves nothing
    then, so nothing is final by its height alone.
    """

    finalized: BlockRef | None = None
    safe: BlockRef | None = None
    depth_blocks: int | None = None
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class OurChain:
    """Our chain as it will be after the step: the window with a branch on top of ``kept``."""

    window: Window
    kept: BlockRef | None
    branch: Branch

    @property
    def head(self) -> BlockRef | None:
        return self.branch[-1].ref if self.branch else self.kept

    def at(self, number: int) -> BlockRef | None:
        """Our block at a height; None outside the window and the branch."""
        if self.branch and number >= self.branch[0].number:
            index = number - self.branch[0].number
            return self.branch[index].ref if index < len(self.branch) else None
        if self.kept is None or number > self.kept.number:
            return None
        block_hash = self.window.hash_at(number)
        return None if block_hash is None else BlockRef(number, block_hash)


def finalized(chain: OurChain, node: NodeFinality, node_head_number: int) -> BlockRef | None:
    """Our newest final block as far as this step can tell; None if it tells nothing.

    Raises :class:`FinalityInconsistent` if the node's finalized block is not ours at its height.
    """
    if node.depth_blocks is not None:
        return _at_or_below(chain, node_head_number - node.depth_blocks)
    if node.finalized is None:
        return None
    ours = chain.at(node.finalized.number)
    if ours is not None and ours != node.finalized:
        raise FinalityInconsistent(
            number=node.finalized.number, hash=to_data(node.finalized.hash), ours=to_data(ours.hash)
        )
    return ours if node.agreed else _at_or_below(chain, node.finalized.number)


def safe_number(chain: OurChain, node: NodeFinality) -> int | None:
    """The height up to which our chain is safe by the node's word; None if it does not say so."""
    if node.safe is None:
        return None
    ours = chain.at(node.safe.number)
    if ours is not None:
        return ours.number if ours == node.safe else None
    below = _at_or_below(chain, node.safe.number)
    return None if below is None else below.number


def _at_or_below(chain: OurChain, number: int) -> BlockRef | None:
    """Our block at a height, or our head if it is lower and was read in this step."""
    head = chain.head
    if head is not None and head.number < number:
        return head if chain.branch else None
    return chain.at(number)
