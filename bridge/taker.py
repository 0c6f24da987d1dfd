"""Takes operations into the lane: chooses them, simulates them, and gives them nonces, many at a time."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from bridge import batching, halts, journal, ready
from bridge.batching import BatchSize
from bridge.breaks import Break, close_breaks, close_breaks_of, open_break
from bridge.budget import RETRY_S, Budget
from bridge.calldata import refusals
from bridge.fees import FeeOffer
from bridge.journal import Intent, Purpose
from bridge.node import Node, Simulation, SimulationRefused
from bridge.pricing import Pricing
from bridge.ready import Ready
from bridge.spending import Exceeded, cost_wei
from bridge.state_loss import used_operation
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# Transactions that are prepared in one step.
AT_ONCE: Final = 4
# An operation that the token knows, and that this journal has not sent.
USED: Final = "OperationUsed"

IN_FLIGHT = """
    SELECT count(*) AS transactions,
           coalesce(sum(carried.amount_minor) FILTER (WHERE t.purpose = 'mint'), 0)::bigint AS minting_minor
    FROM bridge.tx t CROSS JOIN LATERAL (
        SELECT sum(o.amount_minor) AS amount_minor FROM bridge.tx_operation l JOIN bridge.operation o USING (op_id)
        WHERE l.tx_id = t.tx_id AND NOT l.released AND o.state IN ('reserved', 'signed', 'submitted')) AS carried
    WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL"""
BURNING = """
    UPDATE bridge.operation SET state = 'burning', reason = 'nonce allocated' WHERE operation_id = ANY ($1)"""
SET_ASIDE = """
    UPDATE bridge.operation
    SET state = CASE state WHEN 'reserved' THEN 'held' ELSE state END,
        reason = CASE state WHEN 'reserved' THEN $2 ELSE reason END, updated_at = clock_timestamp()
    WHERE operation_id = $1 AND state IN ('reserved', 'booked', 'rejecting', 'voiding')"""


@dataclass(frozen=True, slots=True)
class TakerSettings:
    """``batch_items``: most operations in one transaction; 1 for a token without batches. ``window_s``: how long a
    batch that is not full waits for more. ``max_in_flight``: most transactions of the lane without an outcome."""

    mint_deadline_s: int = 3600
    batch_items: int = 250
    window_s: float = 0.03
    max_in_flight: int = 64
    retry_refused_s: float = 15.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Operations that the chain would carry out in one transaction now."""

    chosen: tuple[Ready, ...]
    data: bytes
    gas_limit: int

    def intent(self, token: bytes) -> Intent:
        op_ids = tuple(one.op_id for one in self.chosen)
        return Intent(self.chosen[0].purpose, op_ids, token, self.data, self.gas_limit)


class Taker:
    """Chooses what the lane carries next. Nothing here is signed or sent."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        token: Token,
        signer: bytes,
        pricing: Pricing,
        budget: Budget,
        settings: TakerSettings,
    ) -> None:
        self._pool = pool
        self._node = node
        self._token = token
        self._signer = signer
        self._pricing = pricing
        self._budget = budget
        self._paused_until_s = 0.0
        self._settings = settings
        # Of a plain token the nonce alone says what was minted, so it carries one operation.
        most = settings.batch_items if token.kind == "deposit" else 1
        self._sizes: dict[Purpose, BatchSize] = {
            "mint": BatchSize(most),
            "settle": BatchSize(most),
            "reject": BatchSize(1),
            "void": BatchSize(1),
        }

    async def step(self, fence: Fence) -> bool:
        """Take the next operations; answers whether there were any."""
        if time.monotonic() < self._paused_until_s:
            return False
        chosen = await self._choose()
        if chosen and len(chosen) < self._sizes[chosen[0].purpose].items:
            await asyncio.sleep(self._settings.window_s)
            chosen = await self._choose()
        if not chosen:
            return False
        offer = await self._pricing.offer()
        most_gas = self._budget.most_gas(offer)
        prepared: list[_Batch] = []
        for purpose, size in self._sizes.items():
            same = [one for one in chosen if one.purpose == purpose]
            for batch in batching.batches(same, size.items):
                prepared += await self._prepare(fence, batch, most_gas)
        try:
            return await self._allocate(fence, prepared, offer) if prepared else False
        except asyncpg.PostgresError as error:
            if error.sqlstate != halts.HALTED_SQLSTATE:
                raise
            return False  # a halt that came meanwhile

    async def _choose(self) -> list[Ready]:
        """As many as there is room for, and of the mints those that the token's limits leave room for."""
        async with self._pool.acquire() as connection:
            if await halts.is_halted(connection, "money"):
                return []
            [in_flight] = await connection.fetch(IN_FLIGHT, self._token.chain_id, self._signer)
            room = self._settings.max_in_flight - in_flight["transactions"]
            if room <= 0:
                return []
            chosen = await ready.select(
                connection,
                self._token,
                self._signer,
                min(room, AT_ONCE) * self._sizes["mint"].items,
                mint_deadline_s=self._settings.mint_deadline_s,
                retry_refused_s=self._settings.retry_refused_s,
            )
        minting = in_flight["minting_minor"]
        # With nothing in flight the simulation knows all that there is to know; a plain token tells no limits.
        if (
            not minting
            or self._token.kind == "plain"
            or all(one.purpose != "mint" for one in chosen)
        ):
            return chosen
        left = await self._node.mintable(self._token.address, self._signer) - minting
        amounts = [one.amount_minor if one.purpose == "mint" else 0 for one in chosen]
        fits = batching.within(amounts, max(left, 0))
        return [one for one, fit in zip(chosen, fits, strict=True) if fit]

    async def _prepare(self, fence: Fence, chosen: Sequence[Ready], most_gas: int) -> list[_Batch]:
        """What would succeed now, in one batch or in several that are small enough; the rest is set aside."""
        data = ready.call_data(chosen)
        try:
            simulation = await self._node.simulate(self._signer, self._token.address, data)
        except SimulationRefused as refused:
            for one in chosen:
                await self._set_aside(fence, one, str(refused))
            return []
        if len(chosen) > 1:
            chosen, data = await self._without_refused(fence, chosen, simulation, data)
        if not chosen:
            return []
        self._sizes[chosen[0].purpose].used(len(chosen), simulation.gas_used)
        gas_limit = batching.gas_limit(simulation.gas_used)
        if gas_limit > most_gas and len(chosen) > 1:
            half = (len(chosen) + 1) // 2
            return [
                batch
                for part in batching.batches(chosen, half)
                for batch in await self._prepare(fence, part, most_gas)
            ]
        return [_Batch(tuple(chosen), data, gas_limit)]

    async def _without_refused(
        self, fence: Fence, chosen: Sequence[Ready], simulation: Simulation, data: bytes
    ) -> tuple[Sequence[Ready], bytes]:
        """Those that the token would carry out, and their call: one bad item never sinks the others."""
        reasons = refusals(simulation.output)
        if len(reasons) != len(chosen):
            raise ValueError(f"a batch of {len(chosen)} was answered for {len(reasons)}")
        if not any(reasons):
            return chosen, data
        for one, reason in zip(chosen, reasons, strict=True):
            if reason is not None:
                await self._set_aside(fence, one, reason)
        good = [one for one, reason in zip(chosen, reasons, strict=True) if reason is None]
        return good, ready.call_data(good) if good else b""

    async def _set_aside(self, fence: Fence, one: Ready, why: str) -> None:
        log.warning("operation_refused_by_simulation", operation_id=one.operation_id, why=why)
        async with fenced(self._pool, fence) as connection:
            if one.purpose == "mint" and USED in why:
                # The token has seen it, and this journal has not: it is older than what it tells of.
                await halts.latch(connection, [used_operation(one.operation_id)], "taker")
                return
            await open_break(
                connection,
                Break(
                    "policy",
                    "warning",
                    f"operation:{one.operation_id}",
                    f"the chain would refuse the {one.purpose}: {why}",
                    one.operation_id,
                ),
            )
            await connection.execute(SET_ASIDE, one.operation_id, f"simulation: {why}")

    async def _allocate(self, fence: Fence, prepared: Sequence[_Batch], offer: FeeOffer) -> bool:
        """Nonces for all that may be spent on, in one transaction; none if another lane has taken one of them
        meanwhile."""
        async with fenced(self._pool, fence) as connection:
            prepared = await self._within_budget(connection, prepared, offer)
            chosen = [one for batch in prepared for one in batch.chosen]
            ids = [one.operation_id for one in chosen]
            if not prepared or not await ready.are_still_ready(connection, chosen):
                return False
            tx_ids = await journal.allocate(
                connection,
                self._token.chain_id,
                self._signer,
                [batch.intent(self._token.address) for batch in prepared],
                offer,
            )
            burning = [one.operation_id for one in chosen if one.purpose == "settle"]
            if burning:
                await connection.execute(BURNING, burning)
            await close_breaks_of(connection, ["policy"], ids, "the chain takes it now")
        for tx_id, batch in zip(tx_ids, prepared, strict=True):
            purpose = batch.chosen[0].purpose
            log.info("nonce_allocated", tx_id=tx_id, purpose=purpose, operations=len(batch.chosen))
        return True

    async def _within_budget(
        self, connection: Connection, prepared: Sequence[_Batch], offer: FeeOffer
    ) -> list[_Batch]:
        """Up to the first that a ceiling refuses; what is behind it is taken later."""
        asked = [(None, cost_wei(batch.gas_limit, offer)) for batch in prepared]
        verdicts = await self._budget.judge(connection, asked)
        subject = f"signer:0x{self._signer.hex()}"
        for place, verdict in enumerate(verdicts):
            if isinstance(verdict, Exceeded):
                self._paused_until_s = time.monotonic() + RETRY_S
                detail = f"operations wait, and {verdict}: raise that ceiling of [sender], or wait"
                await open_break(connection, Break("spending", "critical", subject, detail))
                return list(prepared[:place])
        await close_breaks(connection, ["spending"], subject, "it may be spent now")
        return list(prepared)
