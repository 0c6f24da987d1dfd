"""A lane: one signer and its nonces, the only user of both, under the lease of role ``submit:<address>``.

Each step commits before the next one begins, so a kill between any two of them leaves a journal from
which the following start goes on: a nonce without bytes is signed, bytes without an answer are sent
again, and nothing is ever sent that the journal does not hold.
"""

from dataclasses import dataclass, field, replace

import asyncpg

from bridge import intents, journal, minted
from bridge.budget import Budget
from bridge.bumper import Bumper
from bridge.custody.protocol import Approving, Custody
from bridge.filler import Filler
from bridge.journal import Purpose
from bridge.node import Node
from bridge.pricing import Pricing
from bridge.proposing import Proposing
from bridge.purse import Purse, PurseSettings
from bridge.resolver import Resolver
from bridge.rules import ANYTHING, Rules
from bridge.sender import Sender
from bridge.signing import Signing
from bridge.spending import SpendingCeilings
from bridge.taker import ANY_AMOUNT, Taker, TakerSettings
from bridge.token import Token
from indexer.lease import Fence, fenced


def role(signer: bytes) -> str:
    """The lease under which a signer's lane is worked."""
    return f"submit:0x{signer.hex()}"


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """How a lane behaves. Fees in wei per unit of gas. ``bump_after_s``: when more is offered for a transaction that
    still waits; ``resend_after_s``: when its bytes are given to the node again. ``intent_valid_s``: how long
    what people have approved may be carried out."""

    max_fee_wei: int
    lowest_tip_wei: int
    resend_after_s: float = 10.0
    bump_after_s: float = 60.0
    intent_valid_s: int = 86_400
    taking: TakerSettings = field(default_factory=TakerSettings)
    ceilings: SpendingCeilings = field(default_factory=SpendingCeilings)
    purse: PurseSettings = field(default_factory=PurseSettings)
    rules: Rules = ANYTHING


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
        self._rules = settings.rules
        chain_id = token.chain_id
        pricing = Pricing(
            node, ceiling_wei=settings.max_fee_wei, lowest_tip_wei=settings.lowest_tip_wei
        )
        budget = Budget(chain_id, signer, settings.ceilings)
        self._resolver = Resolver(pool, node, token, signer)
        # Nobody can say which mint of a plain token was approved; who signs is asked about each transaction.
        approving = custody.approving if token.kind == "deposit" else None
        self._taker, self._proposing = _takers(
            pool, node, token, signer, pricing, budget, approving, settings
        )
        self._asks_about_all = approving is not None
        self._signing = Signing(pool, custody, token, signer, pricing, settings.rules)
        self._purse = Purse(pool, node, chain_id, signer, pricing, settings.purse)
        self._sender = Sender(pool, node, chain_id, signer, settings.resend_after_s, self._purse)
        self._filler = Filler(pool, node, chain_id, signer, pricing)
        self._bumper = Bumper(pool, chain_id, signer, pricing, budget, settings.bump_after_s)

    async def open(self, fence: Fence, name: str) -> None:
        """Open the signer's journal, and let Postgres hold it to its limits."""
        self._resolver.forget()
        async with fenced(self._pool, fence) as connection:
            await journal.open_signer(connection, self._token.chain_id, self._signer, name)
            await minted.declare(
                connection,
                self._token.chain_id,
                self._signer,
                self._token.account_id,
                of_signer=self._rules.of_signer,
                of_account=self._rules.of_account,
            )
            await intents.declare(connection, self._token.account_id, self._rules.approval)

    async def step(self, fence: Fence) -> bool:
        """One round; answers whether there was anything to do."""
        resolved = await self._resolver.step(fence)
        # First what is journalled already: that taking fails must not keep it back.
        filled = await self._filler.step(fence)
        bumped = await self._bumper.step(fence)
        sent = await self._dispatch(fence)
        taken = False if self._asks_about_all else await self._taker.step(fence)
        if self._proposing is not None:
            taken = await self._proposing.step(fence) or taken
        if taken:
            await self._dispatch(fence)
        await self._purse.step(fence)
        return resolved or filled or bumped or sent or taken

    async def _dispatch(self, fence: Fence) -> bool:
        signed = await self._signing.step(fence)
        sent = await self._sender.step(fence)
        return signed or sent


def _takers(
    pool: asyncpg.Pool,
    node: Node,
    token: Token,
    signer: bytes,
    pricing: Pricing,
    budget: Budget,
    approving: Approving | None,
    settings: LaneSettings,
) -> tuple[Taker, Proposing | None]:
    """Who takes operations, and who takes by way of people what needs their approval: a custodian that asks people is
    asked about everything, and our own people about mints above their amount."""
    rules, rule = settings.rules, settings.rules.approval
    least, most = ANY_AMOUNT

    def taker(purposes: tuple[Purpose, ...], amounts: tuple[int, int]) -> Taker:
        ruled = replace(rules, purposes=purposes)
        return Taker(pool, node, token, signer, pricing, budget, settings.taking, ruled, amounts)

    def proposing(by: Taker) -> Proposing:
        return Proposing(pool, token, signer, approving, rule, by, settings.intent_valid_s)

    if approving is not None:
        everything = taker(rules.purposes, ANY_AMOUNT)
        return everything, proposing(everything)
    if rule is None or "mint" not in rules.purposes:
        return taker(rules.purposes, ANY_AMOUNT), None
    return (
        taker(rules.purposes, (least, rule.above)),
        proposing(taker(("mint",), (rule.above + 1, most))),
    )
