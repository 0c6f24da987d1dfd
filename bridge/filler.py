"""Fills nonces whose transactions this database has lost with ones that do nothing, so that the lane can go on."""

import time
from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.node import Node
from bridge.pricing import Pricing
from indexer.lease import Fence, fenced

log = structlog.get_logger()

LIMIT: Final = 64
# A nonce that the chain has used needs nothing, unless a reorg takes that back.
LOOK_EVERY_S: Final = 5.0

UNFILLED = """
    SELECT t.tx_id, t.nonce FROM bridge.tx t
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL AND t.purpose = 'unknown'
      AND NOT EXISTS (SELECT FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id)
    ORDER BY t.nonce LIMIT $3"""


class Filler:
    """Of one signer's lane."""

    def __init__(
        self, pool: asyncpg.Pool, node: Node, chain_id: int, signer: bytes, pricing: Pricing
    ) -> None:
        self._pool = pool
        self._node = node
        self._chain_id = chain_id
        self._signer = signer
        self._pricing = pricing
        self._looked_s: float | None = None

    async def step(self, fence: Fence) -> bool:
        """Journal a filling for each of the lowest that the chain has not used; answers whether there were any."""
        now_s = time.monotonic()
        if self._looked_s is not None and now_s - self._looked_s < LOOK_EVERY_S:
            return False
        rows = await self._pool.fetch(UNFILLED, self._chain_id, self._signer, LIMIT)
        if not rows or await halts.is_halted(self._pool, "money"):
            return False
        used = await self._node.nonce(self._signer, "latest")
        self._looked_s = now_s
        free = [row["tx_id"] for row in rows if row["nonce"] >= used]
        if not free:
            return False
        offer = await self._pricing.offer()
        async with fenced(self._pool, fence) as connection:
            await journal.add_attempts(connection, [(one, offer) for one in free], cancels=True)
        log.warning("lost_nonces_filled", tx_ids=free)
        return True
