"""Before the first step: is this the chain and are these the contracts that the database knows, and where is a new
chain begun."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import asyncpg
import structlog

from indexer import cursor as cursors
from indexer import registry, sources, writer
from indexer.block import Header
from indexer.contract import Contract
from indexer.database import reachable
from indexer.errors import FinalityUnknown
from indexer.finality import NodeFinality
from indexer.lease import Fence
from indexer.providers import Providers

log = structlog.get_logger()

Look: TypeAlias = tuple[NodeFinality, Header]

# So young a chain may not have a final block yet; it is then followed from its first block.
YOUNG_CHAIN_BLOCKS: Final = 10_000


async def open_chain(
    pool: asyncpg.Pool,
    fence: Fence,
    providers: Providers,
    contracts: Sequence[Contract],
    chain_id: int,
    quorum: int,
    depth_blocks: int | None,
) -> Look | None:
    """Compare nodes, settings and database; begin the cursor if there is none, and end what is wanted no more.
    ``quorum`` and ``depth_blocks`` say what is final. Answers with what was seen, where a first look was needed.

    Raises Fatal errors that name the setting to change.
    """
    async with reachable(), pool.acquire() as connection:
        stored = await cursors.read(connection, chain_id)
        await registry.check(connection, chain_id, contracts)
    genesis = await providers.require_chain(chain_id, stored.genesis_hash if stored else None)
    look = None
    if stored is None:
        look = await providers.look(providers.best(), quorum, depth_blocks)
        start = _first_block(*look, chain_id)
        await cursors.open_chain(pool, fence, chain_id, genesis, start)
    await _retire_unwanted(pool, fence, chain_id, contracts)
    return look


def _first_block(known: NodeFinality, newest: Header, chain_id: int) -> int:
    """Where following begins: what is final now is left to the backfill."""
    if known.finalized is not None:
        return known.finalized.number
    if known.depth_blocks is not None:
        return max(0, newest.number - known.depth_blocks)
    if newest.number > YOUNG_CHAIN_BLOCKS:
        raise FinalityUnknown(chain_id=chain_id, head_number=newest.number)
    return 0


async def _retire_unwanted(
    pool: asyncpg.Pool, fence: Fence, chain_id: int, contracts: Sequence[Contract]
) -> None:
    """End what the configuration has dropped and nothing will replace."""
    async with reachable(), pool.acquire() as connection:
        live = await sources.live(connection, chain_id, contracts)
    wanted = {source.name for source in live if source.wanted}
    gone = [source for source in live if source.name not in wanted]
    if gone:
        log.warning("sources_retired", sources=[source.name for source in gone])
        await writer.retire(pool, fence, chain_id, [source.source_id for source in gone])
