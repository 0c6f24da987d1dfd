"""Offers more for transactions that wait too long: the same nonce, the same call, a higher fee."""

from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.breaks import Break, close_breaks, open_break
from bridge.fees import CeilingReached, FeeOffer
from bridge.pricing import Pricing
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# The lowest nonces hold up all others, so it is for them that more is offered.
LOWEST: Final = 16

# Of each nonce the newest form, where that was sent and has waited since: one at a time is replaced.
STUCK = """
    SELECT t.tx_id, newest.cancels, newest.max_fee_wei, newest.priority_fee_wei
    FROM bridge.tx t CROSS JOIN LATERAL (
        SELECT * FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id AND a.refused IS NULL
        ORDER BY attempt DESC LIMIT 1) AS newest
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL AND newest.sends > 0
      AND newest.created_at < clock_timestamp() - make_interval(secs => $3)
      AND NOT bridge.is_in_a_block(t)
    ORDER BY t.nonce LIMIT $4"""


class Bumper:
    """Of one signer's lane. ``bump_after_s``: how long an offer is given."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        chain_id: int,
        signer: bytes,
        pricing: Pricing,
        bump_after_s: float,
    ) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._signer = signer
        self._pricing = pricing
        self._bump_after_s = bump_after_s

    async def step(self, fence: Fence) -> bool:
        """Journal higher offers where they are due; answers whether there were any."""
        async with self._pool.acquire() as connection:
            if await halts.is_halted(connection, "money"):
                return False
            rows = await connection.fetch(
                STUCK, self._chain_id, self._signer, self._bump_after_s, LOWEST
            )
        # A nonce in a block without logs, such as one that was cancelled, is the resolver's; a bump of it is refused
        # as used, and costs nothing.
        offers: dict[bool, list[tuple[int, FeeOffer]]] = {False: [], True: []}
        reached: CeilingReached | None = None
        for row in rows:
            tip = row["priority_fee_wei"]
            last = FeeOffer(int(row["max_fee_wei"]), None if tip is None else int(tip))
            next_offer = await self._pricing.bump(last)
            if isinstance(next_offer, CeilingReached):
                reached = next_offer
            else:
                offers[row["cancels"]].append((row["tx_id"], next_offer))
        if not rows:
            return False
        subject = f"signer:0x{self._signer.hex()}"
        async with fenced(self._pool, fence) as connection:
            for cancels, each in offers.items():
                if each:
                    await journal.add_attempts(connection, each, cancels=cancels)
            if reached is not None:
                detail = f"transactions wait, and {reached}: raise sender.max_fee_wei, or wait"
                await open_break(connection, Break("stuck", "critical", subject, detail))
            else:
                await close_breaks(connection, ["stuck"], subject, "more was offered")
        bumped = [tx_id for each in offers.values() for tx_id, _ in each]
        if bumped:
            log.warning("fees_bumped", tx_ids=bumped)
        return bool(bumped)
