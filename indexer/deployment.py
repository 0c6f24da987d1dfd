"""Finding the block in which a contract was deployed, by bisection over its code."""

from collections.abc import Sequence

import structlog

from indexer.errors import RpcError
from indexer.rpc import Rpc

log = structlog.get_logger()


async def first_block(rpc: Rpc, name: str, addresses: Sequence[bytes], head_number: int) -> int:
    """The block of the oldest of ``addresses``; 0 where the node keeps no old states, which is safe and slow."""
    try:
        return min([await _first_block(rpc, address, head_number) for address in addresses])
    except RpcError as error:
        log.warning(
            "start_block_unknown",
            contract=name,
            reason=error.message,
            remedy="set the contract's start_block; until then it is indexed from block 0",
        )
        return 0


async def _first_block(rpc: Rpc, address: bytes, head_number: int) -> int:
    """Without code at the head it may come yet: its first block is then the next one."""
    without, with_ = -1, head_number + 1
    while with_ - without > 1:
        middle = (without + with_) // 2
        if await rpc.code(address, middle):
            with_ = middle
        else:
            without = middle
    return with_
