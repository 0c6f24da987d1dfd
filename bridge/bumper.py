"""Replaces transactions on their nonces: by a higher offer where they wait too long, and by one that does nothing
where two people have cancelled the mint that they carry."""

from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.breaks import Break, close_breaks, open_break
from bridge.budget import Budget
from bridge.custody.transaction import NOOP_GAS
from bridge.fees import CeilingReached, FeeOffer
from bridge.pricing import Pricing
from bridge.spending import Exceeded, cost_wei
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# The lowest nonces hold up all others, so it is for them that more is offered.
LOWEST: Final = 16
# What a node calls too little is raised at once, and then after growing pauses: what is in its pool may not be ours.
PAUSE_S: Final = 1.0

# Of each nonce the newest form, where that was sent and has waited since: one at a time is replaced, and what nobody
# signs is not tried again at once. What a batch carries beside a cancelled mint is free again with it, and goes into
# another one.
REPLACED: Final = """
    SELECT t.tx_id, t.gas_limit, newest.cancels OR to_cancel.now AS cancels, newest.max_fee_wei, newest.priority_fee_wei
    FROM bridge.tx t CROSS JOIN LATERAL (
        SELECT * FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id AND a.refused IS NULL
        ORDER BY attempt DESC LIMIT 1) AS newest
    CROSS JOIN LATERAL (
        SELECT t.purpose = 'mint' AND NOT newest.cancels AND EXISTS (
            SELECT FROM bridge.tx_operation l JOIN bridge.cancellation c USING (op_id)
            WHERE l.tx_id = t.tx_id AND NOT l.released AND c.approved_by IS NOT NULL) AS now) AS to_cancel
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL
      AND (to_cancel.now OR newest.sends > 0
           AND (SELECT max(a.created_at) FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id)
               < clock_timestamp() - make_interval(secs => CASE newest.last_verdict
                   WHEN 'underpriced' THEN least($3, (newest.attempt - 1) * $5::float8) ELSE $3 END))
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
        budget: Budget,
        bump_after_s: float,
    ) -> None:
        self._pool = pool
        self._chain_id = chain_id
        self._signer = signer
        self._pricing = pricing
        self._budget = budget
        self._bump_after_s = bump_after_s
        # Nobody remembers what the process before this one has told.
        self._may_be_stuck = True

    async def step(self, fence: Fence) -> bool:
        """Journal replacements where they are due; answers whether there were any."""
        async with self._pool.acquire() as connection:
            if await halts.is_halted(connection, "money"):
                return False
            # A nonce in a block without logs, such as one that was cancelled, is the resolver's; a replacement of it
            # is refused as used, and costs nothing.
            rows = await connection.fetch(
                REPLACED, self._chain_id, self._signer, self._bump_after_s, LOWEST, PAUSE_S
            )
        if not rows and not self._may_be_stuck:
            return False
        offers: list[tuple[asyncpg.Record, FeeOffer]] = []
        refused: CeilingReached | Exceeded | None = None
        for row in rows:
            tip = row["priority_fee_wei"]
            last = FeeOffer(int(row["max_fee_wei"]), None if tip is None else int(tip))
            offer = await self._pricing.bump(last)
            if isinstance(offer, CeilingReached):
                refused = offer
            else:
                offers.append((row, offer))
        async with fenced(self._pool, fence) as connection:
            offers, exceeded = await self._within_budget(connection, offers)
            for cancels in (False, True):
                chosen = [
                    (row["tx_id"], offer) for row, offer in offers if row["cancels"] is cancels
                ]
                if chosen:
                    await journal.add_attempts(connection, chosen, cancels=cancels)
            await self._tell(connection, refused or exceeded)
        if offers:
            log.warning("transactions_replaced", tx_ids=[row["tx_id"] for row, _ in offers])
        return bool(offers)

    async def _within_budget(
        self, connection: Connection, offers: list[tuple[asyncpg.Record, FeeOffer]]
    ) -> tuple[list[tuple[asyncpg.Record, FeeOffer]], Exceeded | None]:
        """Those that may be spent on, and why the others may not."""
        asked = [
            (row["tx_id"], cost_wei(NOOP_GAS if row["cancels"] else row["gas_limit"], offer))
            for row, offer in offers
        ]
        verdicts = await self._budget.judge(connection, asked)
        exceeded = next((one for one in verdicts if isinstance(one, Exceeded)), None)
        allowed = [
            one
            for one, verdict in zip(offers, verdicts, strict=True)
            if not isinstance(verdict, Exceeded)
        ]
        return allowed, exceeded

    async def _tell(
        self, connection: Connection, refused: CeilingReached | Exceeded | None
    ) -> None:
        subject = f"signer:0x{self._signer.hex()}"
        self._may_be_stuck = refused is not None
        if refused is None:
            await close_breaks(connection, ["stuck"], subject, "nothing waits that costs too much")
            return
        detail = f"transactions wait, and {refused}: raise that ceiling of [sender], or wait"
        await open_break(connection, Break("stuck", "critical", subject, detail))
