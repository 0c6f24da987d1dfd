"""The holders who want their money back: they ask, look whether it was heard, and ask again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from daemon.demo.scenario import Redemption
from daemon.demo.token import REQUESTED
from daemon.demo.watch import Snapshot, Watch
from daemon.demo.world import World

POLL_S = 0.4
# How long people give a transaction before they think that it was lost.
PATIENCE_S = 4.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a holder remembers of asking: when, and whether the request was seen on the chain."""

    at_s: float
    was_seen: bool = False


def must_ask(redemption: Redemption, asked: Asked | None, snapshot: Snapshot, now_s: float) -> bool:
    """Whether the holder sends a request now: for the first time, or because it was dropped."""
    wallet = redemption.holder.wallet.address
    if is_on_chain(redemption, snapshot) or snapshot.balances()[wallet] < redemption.amount_minor:
        return False
    return asked is None or asked.was_seen or now_s - asked.at_s > PATIENCE_S


def is_on_chain(redemption: Redemption, snapshot: Snapshot) -> bool:
    """Whether the chain, as it is now, has the holder's request."""
    wallet = redemption.holder.wallet.address
    return any(event.address(1) == wallet for event in snapshot.of(REQUESTED))


class Crowd:
    """All holders. `resent` counts the requests that had to be sent more than once."""

    def __init__(self, world: World, redemptions: tuple[Redemption, ...], watch: Watch) -> None:
        self.resent = 0
        self._world = world
        self._redemptions = redemptions
        self._watch = watch
        self._asked: dict[int, Asked] = {}

    async def run(self) -> None:
        """Act for ever; stops when cancelled."""
        while True:
            snapshot, now_s = self._watch.latest, time.monotonic()
            self._notice(snapshot)
            for redemption in due(self._redemptions, self._asked, snapshot, now_s):
                await self._ask(redemption)
            await asyncio.sleep(POLL_S)

    def _notice(self, snapshot: Snapshot) -> None:
        """Remember who has seen the own request."""
        heard = {event.address(1) for event in snapshot.of(REQUESTED)}
        for redemption in self._redemptions:
            asked = self._asked.get(redemption.holder.number)
            if asked is not None and redemption.holder.wallet.address in heard:
                self._asked[redemption.holder.number] = Asked(asked.at_s, was_seen=True)

    async def _ask(self, redemption: Redemption) -> None:
        number = redemption.holder.number
        reference = number.to_bytes(32)
        await self._world.token.send_again(
            redemption.holder.wallet,
            "requestRedeem(uint256,bytes32)",
            redemption.amount_minor,
            reference,
        )
        self.resent += number in self._asked
        self._asked[number] = Asked(time.monotonic())


def due(
    redemptions: tuple[Redemption, ...],
    asked: Mapping[int, Asked],
    snapshot: Snapshot,
    now_s: float,
) -> list[Redemption]:
    """Everybody who sends a request now."""
    return [
        each
        for each in redemptions
        if must_ask(each, asked.get(each.holder.number), snapshot, now_s)
    ]
