"""A lane: one signer and its nonces, the only user of both, under the lease of role ``submit:<address>``.

Each step commits before the next one begins, so a kill between any two of them leaves a journal from
which the following start goes on: a nonce without bytes is signed, bytes without an answer are sent
again, and nothing is ever sent that the journal does not hold.
"""

from dataclasses import dataclass, field

import asyncpg

from bridge import journal
from bridge.budget import Budget
from bridge.bumper import Bumper
from bridge.custody.protocol import Custody
from bridge.filler import Filler
from bridge.node import Node
from bridge.pricing import Pricing
from bridge.purse import Purse, PurseSettings
from bridge.resolver import Resolver
from bridge.sender import Sender
from bridge.signing import Signing
from bridge.spending import SpendingCeilings
from bridge.taker import Taker, TakerSettings
from bridge.token import Token
from indexer.lease import Fence, fenced


def role(signer: bytes) -> str:
    """The lease under which a signer's lane is worked."""
    return f"submit:0x{signer.hex()}"


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How a lane behaves. Fees in wei per unit of gas. ``bump_after_s``: when more is offered for a transaction that
    still waits; ``resend_after_s``: when its bytes are given to the node again."""

    max_fee_wei: int
    lowest_tip_wei: int
    resend_after_s: float = 10.0
    bump_after_s: float = 60.0
    taking: TakerSettings = field(default_factory=TakerSettings)
    ceilings: SpendingCeilings = field(default_factory=SpendingCeilings)
    purse: PurseSettings = field(default_factory=PurseSettings)


class Lane:
    """Sees transactions through, sends what is journalled, then takes more; again and again."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        custody: Custody,
        token: Token,
        signer: bytes,
        settings: LaneSettings,
    ) -> None:
        self._pool = pool
        self._token = token
        self._signer = signer
        chain_id = token.chain_id
        pricing = Pricing(
            node, ceiling_wei=settings.max_fee_wei, lowest_tip_wei=settings.lowest_tip_wei
        )
        budget = Budget(chain_id, signer, settings.ceilings)
        self._resolver = Resolver(pool, node, token, signer)
        self._taker = Taker(pool, node, token, signer, pricing, budget, settings.taking)
        self._signing = Signing(pool, custody, chain_id, signer, pricing)
        self._purse = Purse(pool, node, chain_id, signer, pricing, settings.purse)
        self._sender = Sender(pool, node, chain_id, signer, settings.resend_after_s, self._purse)
        self._filler = Filler(pool, node, chain_id, signer, pricing)
        self._bumper = Bumper(pool, chain_id, signer, pricing, budget, settings.bump_after_s)

    async def open(self, fence: Fence, name: str) -> None:
        """Open the signer's journal."""
        async with fenced(self._pool, fence) as connection:
            await journal.open_signer(connection, self._token.chain_id, self._signer, name)

    async def step(self, fence: Fence) -> bool:
        """One round; answers whether there was anything to do."""
        resolved = await self._resolver.step(fence)
        # First what is journalled already: that taking fails must not keep it back.
        filled = await self._filler.step(fence)
        bumped = await self._bumper.step(fence)
        sent = await self._dispatch(fence)
        taken = await self._taker.step(fence)
        if taken:
            await self._dispatch(fence)
        await self._purse.step(fence)
        return resolved or filled or bumped or sent or taken

    async def _dispatch(self, fence: Fence) -> bool:
        signed = await self._signing.step(fence)
        sent = await self._sender.step(fence)
        return signed or sent
