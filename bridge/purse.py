"""What a signer has to pay gas with: looked at now and then, so that somebody sends it more in time."""

import time
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from bridge import expenses
from bridge.breaks import Break, close_breaks, open_break
from bridge.node import Node
from bridge.pricing import Pricing
from bridge.spending import Runway, is_low, runway
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

LOOK_EVERY_S: Final = 15.0
# Of a signer that has not sent anything yet: one mint.
FIRST_GAS: Final = 150_000

KEEP: Final = """
    INSERT INTO bridge.signer_balance (chain_id, address, balance_wei, at_stake_wei, transactions_left, left_s, at)
    VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
    ON CONFLICT (chain_id, address) DO UPDATE
    SET balance_wei = excluded.balance_wei, at_stake_wei = excluded.at_stake_wei,
        transactions_left = excluded.transactions_left, left_s = excluded.left_s, at = excluded.at"""


@dataclass(frozen=True, slots=True)
class PurseSettings:
    """When somebody is told: below so many transactions, or so many seconds at the pace of the last day."""

    alarm_below_transactions: int = 100
    alarm_below_s: int = 86_400


@dataclass(frozen=True, slots=True)
class _Held:
    """In wei: what is there, and what may be taken of it by transactions that wait."""

    balance_wei: int
    at_stake_wei: int
    left: Runway


class Purse:
    """Of one signer's lane."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        chain_id: int,
        signer: bytes,
        pricing: Pricing,
        settings: PurseSettings,
    ) -> None:
        self._pool = pool
        self._node = node
        self._chain_id = chain_id
        self._signer = signer
        self._pricing = pricing
        self._settings = settings
        self._looked_at_s: float | None = None

    async def step(self, fence: Fence) -> None:
        """Look, if the last look was long ago; open or close what is to be told of it."""
        now_s = time.monotonic()
        if self._looked_at_s is not None and now_s - self._looked_at_s < LOOK_EVERY_S:
            return
        held = await self._look()
        self._looked_at_s = now_s
        async with fenced(self._pool, fence) as connection:
            await self._keep(connection, held)
            await self._tell(connection, held)

    async def fell_short(self, fence: Fence) -> None:
        """A node has said that the signer cannot pay for a transaction."""
        held = await self._look()
        log.error(
            "signer_without_funds", balance_wei=held.balance_wei, needed_wei=held.at_stake_wei
        )
        detail = (
            f"signer 0x{self._signer.hex()} has {held.balance_wei} wei, and what waits may cost "
            f"{held.at_stake_wei} wei: send it more; it goes on by itself"
        )
        async with fenced(self._pool, fence) as connection:
            await self._keep(connection, held)
            await open_break(connection, Break("no_funds", "critical", self._subject, detail))

    async def _look(self) -> _Held:
        balance_wei = await self._node.balance(self._signer)
        market = await self._pricing.market()
        async with self._pool.acquire() as connection:
            known = await expenses.read(connection, self._chain_id, self._signer)
        left = runway(
            balance_wei=balance_wei - known.at_stake_wei,
            gas_price_wei=(market.base_fee_wei or 0) + market.tip_wei,
            gas_per_transaction=known.gas or FIRST_GAS,
            transactions_per_day=known.transactions,
        )
        return _Held(balance_wei, known.at_stake_wei, left)

    async def _keep(self, connection: Connection, held: _Held) -> None:
        await connection.execute(
            KEEP,
            self._chain_id,
            self._signer,
            held.balance_wei,
            held.at_stake_wei,
            held.left.transactions,
            held.left.left_s,
        )

    async def _tell(self, connection: Connection, held: _Held) -> None:
        if held.balance_wei >= held.at_stake_wei:
            await close_breaks(
                connection, ["no_funds"], self._subject, "it can pay for what waits now"
            )
        low = is_low(
            held.left,
            alarm_below_transactions=self._settings.alarm_below_transactions,
            alarm_below_s=self._settings.alarm_below_s,
        )
        if not low:
            await close_breaks(connection, ["signer_low"], self._subject, "it has enough again")
            return
        hours = (
            "" if held.left.left_s is None else f", {held.left.left_s / 3600:.1f} h at this pace"
        )
        detail = (
            f"signer 0x{self._signer.hex()} has {held.balance_wei} wei, of which {held.at_stake_wei} wei may be used "
            f"up by what waits; the rest is enough for {held.left.transactions} transactions{hours}: send it more"
        )
        await open_break(connection, Break("signer_low", "warning", self._subject, detail))

    @property
    def _subject(self) -> str:
        return f"signer:0x{self._signer.hex()}"
