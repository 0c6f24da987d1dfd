"""Takes operations into the lane: chooses them, and gives them nonces, many at a time."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from bridge import aside, batching, halts, intents, journal, ready
from bridge.breaks import Break, close_breaks, close_breaks_of, open_break
from bridge.budget import RETRY_S, Budget
from bridge.fees import FeeOffer
from bridge.forbidden import forbidden
from bridge.node import Node
from bridge.preparing import Batch, Preparing
from bridge.pricing import Pricing
from bridge.ready import Ready
from bridge.rules import ANYTHING, Rules
from bridge.spending import Exceeded, cost_wei
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# Transactions that are prepared in one step.
AT_ONCE: Final = 4

# What stands in a block is counted by the token itself.
IN_FLIGHT = """
    SELECT EXISTS (SELECT FROM bridge.signer s
                   WHERE s.chain_id = $1 AND s.address = $2 AND s.state = 'active') AS is_active,
           count(*) AS transactions,
           coalesce(sum(t.minted_minor) FILTER (
               WHERE t.minted_minor IS NOT NULL AND NOT bridge.is_in_a_block(t)), 0)::bigint AS minting_minor
    FROM bridge.tx t WHERE t.chain_id = $1 AND t.signer = $2 AND t.outcome IS NULL"""
BURNING = """
    UPDATE bridge.operation SET state = 'burning', reason = 'nonce allocated' WHERE operation_id = ANY ($1)"""
# Of a mint, in minor units.
ANY_AMOUNT: Final = (0, 2**63 - 1)
OVER_LIMIT_SQLSTATE: Final = "LB007"


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
class _InFlight:
    """How many transactions may be added, and what those in flight mint."""

    room: int
    minting_minor: int


class Taker:
    """Chooses what the lane carries next. Nothing here is signed or sent. ``amounts``: the least and the most that it
    mints for one operation, in minor units; what is beyond is somebody else's to take."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        token: Token,
        signer: bytes,
        pricing: Pricing,
        budget: Budget,
        settings: TakerSettings,
        rules: Rules = ANYTHING,
        amounts: tuple[int, int] = ANY_AMOUNT,
    ) -> None:
        self._pool = pool
        self._node = node
        self._token = token
        self._signer = signer
        self._pricing = pricing
        self._budget = budget
        self._paused_until_s = 0.0
        self._settings = settings
        self._rules = rules
        self._amounts = amounts
        self._preparing = Preparing(pool, node, token, signer, settings.batch_items)

    async def step(self, fence: Fence) -> bool:
        """Take the next operations; answers whether there were any."""
        prepared, offer = await self._next(fence)
        return await self._allocate(fence, prepared, offer) if prepared and offer else False

    async def batches(self, fence: Fence) -> list[Batch]:
        """The next operations that the chain would carry out, as transactions; nothing is taken."""
        prepared, _ = await self._next(fence)
        return prepared

    async def whole(self, fence: Fence, op_ids: Sequence[bytes], approved: bytes) -> Batch | None:
        """Just these operations in this order, if all of them can be carried out now; nothing is taken."""
        async with self._pool.acquire() as connection:
            chosen = await ready.select_these(
                connection,
                self._token,
                op_ids,
                mint_deadline_s=self._settings.mint_deadline_s,
                retry_refused_s=self._settings.retry_refused_s,
            )
        chosen = await self._without_forbidden(fence, chosen)
        if len(chosen) < len(op_ids):
            return None
        return await self._preparing.whole(fence, chosen, approved)

    async def take(self, fence: Fence, prepared: Sequence[Batch]) -> bool:
        """Nonces for these, at the price of now; answers whether any were given."""
        return await self._allocate(fence, prepared, await self._pricing.offer())

    async def room(self) -> int:
        """How many more transactions the lane may have in flight."""
        async with self._pool.acquire() as connection:
            return (await self._in_flight(connection)).room

    async def _next(self, fence: Fence) -> tuple[list[Batch], FeeOffer | None]:
        """The next transactions, and the price by which they were divided; None if there are no operations."""
        chosen = await self._choose()
        if chosen and len(chosen) < self._preparing.items(chosen[0].purpose):
            await asyncio.sleep(self._settings.window_s)
            chosen = await self._choose()
        chosen = await self._without_forbidden(fence, chosen)
        if not chosen:
            return [], None
        offer = await self._pricing.offer()
        most_gas = self._budget.most_gas(offer)
        return await self._preparing.batches(fence, chosen, most_gas), offer

    async def _in_flight(self, connection: Connection) -> _InFlight:
        is_paused = time.monotonic() < self._paused_until_s
        if is_paused or await halts.is_halted(connection, "money"):
            return _InFlight(0, 0)
        [row] = await connection.fetch(IN_FLIGHT, self._token.chain_id, self._signer)
        room = self._settings.max_in_flight - row["transactions"] if row["is_active"] else 0
        return _InFlight(max(room, 0), row["minting_minor"])

    async def _choose(self) -> list[Ready]:
        """As many as there is room for, and of the mints those that the token's limits leave room for."""
        async with self._pool.acquire() as connection:
            in_flight = await self._in_flight(connection)
            if not in_flight.room:
                return []
            chosen = await ready.select(
                connection,
                self._token,
                self._signer,
                min(in_flight.room, AT_ONCE) * self._preparing.items("mint"),
                purposes=self._rules.purposes,
                amounts=self._amounts,
                mint_deadline_s=self._settings.mint_deadline_s,
                retry_refused_s=self._settings.retry_refused_s,
            )
        minting = in_flight.minting_minor
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

    async def _without_forbidden(self, fence: Fence, chosen: Sequence[Ready]) -> list[Ready]:
        """Those that the rules let the signer carry out now. The others wait, and nothing waits behind them."""
        mints = [one for one in chosen if one.purpose == "mint"]
        if not mints:
            return list(chosen)
        async with self._pool.acquire() as connection:
            found = await forbidden(connection, self._token, self._signer, self._rules, mints)
        if not found:
            return list(chosen)
        async with fenced(self._pool, fence) as connection:
            await aside.put_off(connection, found)
        return [one for one in chosen if one not in found]

    async def _allocate(self, fence: Fence, prepared: Sequence[Batch], offer: FeeOffer) -> bool:
        """Nonces for all that may be spent on, in one transaction; none if another lane has taken one of them
        meanwhile, or minted so much that they are over a limit."""
        try:
            async with fenced(self._pool, fence) as connection:
                prepared = await self._within_budget(connection, prepared, offer)
                chosen = [one for batch in prepared for one in batch.chosen]
                approved = [one.approved for one in prepared if one.approved is not None]
                if not prepared or not await ready.are_still_ready(connection, chosen, approved):
                    return False
                tx_ids = await self._give_nonces(connection, prepared, offer)
                if not tx_ids:
                    return False
                await intents.use(connection, approved)
        except asyncpg.PostgresError as error:
            if error.sqlstate == halts.HALTED_SQLSTATE:
                return False  # a halt that came meanwhile
            if error.sqlstate != OVER_LIMIT_SQLSTATE:
                raise
            # Another lane was quicker; the next round sees what it took.
            log.warning("operations_over_limit", why=str(error))
            return False
        for tx_id, batch in zip(tx_ids, prepared, strict=True):
            purpose = batch.chosen[0].purpose
            log.info("nonce_allocated", tx_id=tx_id, purpose=purpose, operations=len(batch.chosen))
        return True

    async def _give_nonces(
        self, connection: Connection, prepared: Sequence[Batch], offer: FeeOffer
    ) -> list[int]:
        chosen = [one for batch in prepared for one in batch.chosen]
        tx_ids = await journal.allocate(
            connection,
            self._token.chain_id,
            self._signer,
            [batch.intent(self._token.address) for batch in prepared],
            offer,
        )
        burning = [one.operation_id for one in chosen if one.purpose == "settle"]
        if tx_ids and burning:
            await connection.execute(BURNING, burning)
        if tx_ids:
            ids = [one.operation_id for one in chosen]
            await close_breaks_of(
                connection, ["policy", "limit", "approval"], ids, "the chain takes it now"
            )
        return tx_ids

    async def _within_budget(
        self, connection: Connection, prepared: Sequence[Batch], offer: FeeOffer
    ) -> list[Batch]:
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
