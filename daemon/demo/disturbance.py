"""The bad moments of the demo: the chain takes blocks back, the daemon is killed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from daemon.demo.token import MINTED, REQUESTED, Token
from daemon.demo.watch import Snapshot, Watch
from daemon.demo.world import BLOCK_TIME_S, FINALITY_BLOCKS, World
from daemon.embedded.anvil import Anvil

# The deepest that leaves the finalized block alone.
DEPTH_BLOCKS = FINALITY_BLOCKS - 1
PATIENCE_S = 60.0
BETWEEN_REORG_AND_KILL_S = 1.0
DOWN_S = 1.0


class ReorgFailedError(Exception):
    """The chain did not do what `anvil_reorg` should make it do."""


@dataclass(frozen=True, slots=True)
class Reorg:
    """What a reorg took back: blocks, and in them mints and redemption requests."""

    depth_blocks: int
    unminted: int
    dropped_requests: int


async def reorg(token: Token, depth_blocks: int = DEPTH_BLOCKS) -> Reorg:
    """Replace the newest blocks by empty ones, with the interval stopped meanwhile to count exactly.

    Anvil forgets the transactions of those blocks: who sent them must send them again.
    """
    node = token.node
    await node.rpc("evm_setIntervalMining", 0)
    try:
        head = int(await node.rpc("eth_blockNumber"), 16)
        heights = range(head - depth_blocks + 1, head + 1)
        if heights[0] <= await _finalized(node):
            raise ReorgFailedError(f"a reorg of {depth_blocks} blocks would undo a finalized one")
        lost = await token.events(heights[0])
        before = [await _block_hash(node, height) for height in heights]
        await node.rpc("anvil_reorg", depth_blocks, [])
        after = [await _block_hash(node, height) for height in heights]
        if any(old == new for old, new in zip(before, after, strict=True)):
            raise ReorgFailedError(f"anvil_reorg left a block of {heights} as it was")
    finally:
        await node.rpc("evm_setIntervalMining", BLOCK_TIME_S)
    kinds = [event.kind for event in lost]
    return Reorg(depth_blocks, kinds.count(MINTED), kinds.count(REQUESTED))


async def while_minting(world: World, watch: Watch, minted_before: int) -> Reorg:
    """Undo mints under a running daemon, and kill it while it is busy with that."""
    await watch.until(
        "mints in the newest blocks, to undo them",
        lambda seen: (
            seen.minted >= minted_before and newest(seen, MINTED) > 0 and will_notice(seen)
        ),
        PATIENCE_S,
    )
    undone = await reorg(world.token)
    await asyncio.sleep(BETWEEN_REORG_AND_KILL_S)
    await world.daemon.kill()
    await asyncio.sleep(DOWN_S)
    await world.daemon.start()
    return undone


async def while_redeeming(world: World, watch: Watch, requested_before: int) -> Reorg:
    """Kill the daemon and undo redemption requests before it is back."""
    await watch.until(
        "redemption requests in the newest blocks, to undo them",
        lambda seen: (
            seen.requested >= requested_before
            and newest(seen, REQUESTED) > 0
            and seen.reorgs > 0
            and will_notice(seen)
        ),
        PATIENCE_S,
    )
    await world.daemon.kill()
    undone = await reorg(world.token)
    await asyncio.sleep(DOWN_S)
    await world.daemon.start()
    return undone


def newest(seen: Snapshot, kind: bytes) -> int:
    """How many events of a kind are in blocks that a reorg can still reach, one block from now."""
    reach = seen.head - DEPTH_BLOCKS + 2
    return sum(event.block_number >= reach for event in seen.of(kind))


def will_notice(seen: Snapshot) -> bool:
    """Whether the daemon has blocks that a reorg now takes back: otherwise it would miss it."""
    return seen.followed >= seen.head - 1


async def _finalized(node: Anvil) -> int:
    block = await node.rpc("eth_getBlockByNumber", "finalized", False)
    return int(block["number"], 16)


async def _block_hash(node: Anvil, height: int) -> str:
    block = await node.rpc("eth_getBlockByNumber", hex(height), False)
    return str(block["hash"])
