"""What the chain asks for gas now, remembered for a moment, and what we offer for it."""

import time
from typing import Final

from bridge.fee_history import market
from bridge.fees import CeilingReached, FeeOffer, Market, bump, offer
from bridge.node import Node

# One block's price is another's, so several are looked at; a block lasts longer than what is remembered.
HISTORY_BLOCKS: Final = 10
PERCENTILE: Final = 60
REMEMBERED_S: Final = 1.0


class Pricing:
    """Offers at most ``ceiling_wei`` for a unit of gas, and at least ``lowest_tip_wei`` on top of the base fee."""

    def __init__(self, node: Node, *, ceiling_wei: int, lowest_tip_wei: int) -> None:
        self._node = node
        self._ceiling_wei = ceiling_wei
        self._lowest_tip_wei = lowest_tip_wei
        self._market: Market | None = None
        self._asked_at_s = 0.0

    async def offer(self) -> FeeOffer:
        """For a new transaction. Raises :class:`FeeCeilingError`."""
        return offer(await self.market(), ceiling_wei=self._ceiling_wei)

    async def bump(self, last: FeeOffer) -> FeeOffer | CeilingReached:
        """For a transaction whose last offer was not enough."""
        return bump(last, await self.market(), ceiling_wei=self._ceiling_wei)

    async def market(self) -> Market:
        """What is asked now, or was a moment ago."""
        now_s = time.monotonic()
        if self._market is None or now_s - self._asked_at_s > REMEMBERED_S:
            self._market = await self._ask()
            self._asked_at_s = now_s
        return self._market

    async def _ask(self) -> Market:
        if await self._node.base_fee_wei() is None:
            return Market(None, await self._node.gas_price_wei())
        history = await self._node.fee_history(HISTORY_BLOCKS, [PERCENTILE])
        return market(history, percentile=0, lowest_tip_wei=self._lowest_tip_wei, has_base_fee=True)
