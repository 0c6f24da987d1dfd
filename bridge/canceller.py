"""Puts transactions that do nothing in the place of those that carry a cancelled mint: same nonce, higher fee."""

from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.breaks import Break, open_break
from bridge.fees import CeilingReached, FeeOffer
from bridge.pricing import Pricing
from indexer.lease import Fence, fenced

log = structlog.get_logger()

AT_ONCE: Final = 16

# What a batch carries besides is free again with the cancelled one, and goes into another.
CANCELLED: Final = """
    SELECT t.tx_id, newest.max_fee_wei, newest.priority_fee_wei
    FROM bridge.tx t CROSS JOIN LATERAL (
        SELECT * FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id ORDER BY attempt DESC LIMIT 1) AS newest
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL AND t.purpose = 'mint' AND NOT newest.cancels
      AND EXISTS (SELECT FROM bridge.tx_operation l JOIN bridge.cancellation c USING (op_id)
                  WHERE l.tx_id = t.tx_id AND NOT l.released AND c.approved_by IS NOT NULL)
      AND NOT EXISTS (SELECT FROM bridge.tx_attempt m JOIN chain.log l ON l.tx_hash = m.hash
                      WHERE m.tx_id = t.tx_id AND l.chain_id = t.chain_id AND l.canonical)
    ORDER BY t.nonce LIMIT $3"""


class Canceller:
    """Of one signer's lane."""

    def __init__(self, pool: asyncpg.Pool, chain_id: int, signer: bytes, pricing: Pricing) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._signer = signer
        self._pricing = pricing

    async def step(self, fence: Fence) -> bool:
        """Journal what shall be mined instead; answers whether there was anything."""
        async with self._pool.acquire() as connection:
            if await halts.is_halted(connection, "money"):
                return False
            rows = await connection.fetch(CANCELLED, self._chain_id, self._signer, AT_ONCE)
        offers: list[tuple[int, FeeOffer]] = []
        reached: CeilingReached | None = None
        for row in rows:
            tip = row["priority_fee_wei"]
            last = FeeOffer(int(row["max_fee_wei"]), None if tip is None else int(tip))
            offer = await self._pricing.bump(last)
            if isinstance(offer, CeilingReached):
                reached = offer
            else:
                offers.append((row["tx_id"], offer))
        if not rows:
            return False
        async with fenced(self._pool, fence) as connection:
            if offers:
                await journal.add_attempts(connection, offers, cancels=True)
            if reached is not None:
                subject = f"signer:0x{self._signer.hex()}"
                detail = (
                    f"a mint shall be cancelled, and {reached}: raise sender.max_fee_wei, or wait"
                )
                await open_break(connection, Break("stuck", "critical", subject, detail))
        if offers:
            log.warning("cancelling", tx_ids=[tx_id for tx_id, _ in offers])
        return bool(offers)
