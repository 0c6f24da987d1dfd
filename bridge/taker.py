"""Takes operations into the lane: chooses them, simulates them, and gives each a nonce."""

from dataclasses import dataclass

import asyncpg
import structlog

from bridge import halts, journal
from bridge.breaks import Break, close_breaks, open_break
from bridge.calldata import Mint, Reject, Settle
from bridge.fees import FeeOffer, Market, offer
from bridge.identity import reference
from bridge.journal import Intent, Purpose
from bridge.node import Node, SimulationRefused
from bridge.token import Token
from indexer.lease import Fence, fenced

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How the lane behaves. Fees in wei per unit of gas."""

    max_fee_wei: int
    priority_fee_wei: int
    mint_deadline_s: int = 3600
    resend_after_s: float = 10.0
    batch: int = 32
    max_in_flight: int = 256
    retry_refused_s: float = 15.0


@dataclass(frozen=True, slots=True)
class _Candidate:
    operation_id: int
    op_id: bytes
    purpose: Purpose
    intent_data: bytes


class Taker:
    """Chooses what the lane carries next. Nothing here is signed or sent."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        token: Token,
        signer: bytes,
        settings: LaneSettings,
    ) -> None:
        self._pool = pool
        self._node = node
        self._token = token
        self._signer = signer
        self._settings = settings

    async def step(self, fence: Fence) -> bool:
        """Take the next operations; answers whether there were any."""
        candidates = await self._candidates()
        if not candidates:
            return False
        fee_offer = await self._fee_offer()
        taken = False
        for candidate in candidates:
            gas_limit = await self._simulate(fence, candidate)
            if gas_limit is not None:
                await self._allocate(fence, candidate, gas_limit, fee_offer)
                taken = True
        return taken

    async def _candidates(self) -> list[_Candidate]:
        async with self._pool.acquire() as connection:
            if await halts.is_halted(connection, "money"):
                return []
            in_flight = await connection.fetchval(
                "SELECT count(*) FROM bridge.tx WHERE chain_id = $1 AND signer = $2 AND outcome IS NULL",
                self._token.chain_id,
                self._signer,
            )
            room = min(self._settings.batch, self._settings.max_in_flight - in_flight)
            rows = await connection.fetch(
                """SELECT o.operation_id, o.op_id, o.state, o.wallet, o.amount_minor, o.redemption_id,
                          e.entry_key, a.end_to_end_id, c.head_timestamp_s, o.reason
                   FROM bridge.operation o
                   JOIN chain.cursor c USING (chain_id)
                   LEFT JOIN bank.entry e USING (entry_id)
                   LEFT JOIN bank.payout_attempt a ON a.op_id = o.op_id AND a.state = 'booked'
                   WHERE o.chain_id = $1 AND o.token = $2 AND c.head_timestamp_s IS NOT NULL
                     AND (o.kind, o.state) IN (('issuance', 'reserved'), ('redemption', 'booked'),
                                               ('redemption', 'rejecting'))
                     AND (o.kind <> 'issuance' OR NOT ops.is_halted('mint'))
                     AND NOT EXISTS (SELECT FROM bridge.tx_operation t
                                     WHERE t.op_id = o.op_id AND NOT t.released)
                     -- One that was refused lately waits, so that it does not keep the others out.
                     AND (o.updated_at < clock_timestamp() - make_interval(secs => $4)
                          OR NOT EXISTS (SELECT FROM recon.break b WHERE b.operation_id = o.operation_id
                                         AND b.kind = 'policy' AND b.closed_at IS NULL)
                          OR o.state = 'reserved')
                   ORDER BY o.operation_id LIMIT $3""",
                self._token.chain_id,
                self._token.address,
                max(room, 0),
                self._settings.retry_refused_s,
            )
        return [self._candidate(row) for row in rows]

    def _candidate(self, row: asyncpg.Record) -> _Candidate:
        call: Mint | Settle | Reject
        purpose: Purpose
        if row["state"] == "reserved":
            purpose = "mint"
            # The deadline counts from the chain's own clock, never from ours.
            call = Mint(
                row["op_id"],
                row["wallet"],
                row["amount_minor"],
                reference(row["entry_key"]),
                row["head_timestamp_s"] + self._settings.mint_deadline_s,
            )
        elif row["state"] == "booked":
            purpose, call = "settle", Settle(row["redemption_id"], reference(row["end_to_end_id"]))
        else:
            purpose, call = "reject", Reject(row["redemption_id"], reference(row["reason"]))
        return _Candidate(row["operation_id"], row["op_id"], purpose, call.encode())

    async def _simulate(self, fence: Fence, candidate: _Candidate) -> int | None:
        """A gas limit with headroom, or None if the chain would refuse: then it is set aside."""
        try:
            estimate = await self._node.estimate_gas(
                self._signer, self._token.address, candidate.intent_data
            )
        except SimulationRefused as refused:
            await self._set_aside(fence, candidate, str(refused))
            return None
        return estimate * 5 // 4

    async def _set_aside(self, fence: Fence, candidate: _Candidate, why: str) -> None:
        log.warning("operation_refused_by_simulation", operation_id=candidate.operation_id, why=why)
        async with fenced(self._pool, fence) as connection:
            await open_break(
                connection,
                Break(
                    "policy",
                    "warning",
                    f"operation:{candidate.operation_id}",
                    f"the chain would refuse the {candidate.purpose}: {why}",
                    candidate.operation_id,
                ),
            )
            await connection.execute(
                """UPDATE bridge.operation
                   SET state = CASE state WHEN 'reserved' THEN 'held' ELSE state END,
                       reason = CASE state WHEN 'reserved' THEN $2 ELSE reason END,
                       updated_at = clock_timestamp()
                   WHERE operation_id = $1 AND state IN ('reserved', 'booked', 'rejecting')""",
                candidate.operation_id,
                f"simulation: {why}",
            )

    async def _allocate(
        self, fence: Fence, candidate: _Candidate, gas_limit: int, fee_offer: FeeOffer
    ) -> None:
        intent = Intent(
            candidate.purpose,
            candidate.op_id,
            self._token.address,
            candidate.intent_data,
            gas_limit,
        )
        async with fenced(self._pool, fence) as connection:
            # The signer's row is locked first: whoever takes a nonce takes it alone.
            tx_id = await journal.allocate(
                connection, self._token.chain_id, self._signer, intent, fee_offer
            )
            if candidate.purpose == "settle":
                await connection.execute(
                    """UPDATE bridge.operation SET state = 'burning', reason = 'nonce allocated'
                       WHERE operation_id = $1""",
                    candidate.operation_id,
                )
            await close_breaks(
                connection,
                ["policy"],
                f"operation:{candidate.operation_id}",
                "the chain takes it now",
            )
        log.info(
            "nonce_allocated",
            operation_id=candidate.operation_id,
            tx_id=tx_id,
            purpose=candidate.purpose,
        )

    async def _fee_offer(self) -> FeeOffer:
        market = Market(await self._node.base_fee_wei(), self._settings.priority_fee_wei)
        return offer(market, ceiling_wei=self._settings.max_fee_wei)
