"""Takes operations by way of people: they approve an intent first, and only then there is a nonce.

So nothing waits behind a nonce while somebody thinks. A kill at any point leaves an intent that stands in Postgres
under its hash, about which the next start asks under the same ticket.
"""

import time
from collections.abc import Sequence
from typing import Final

import asyncpg
import structlog

from bridge import intents, ready
from bridge.breaks import Break, open_break
from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.calls import read_call
from bridge.custody.intent import Intent, describes
from bridge.custody.protocol import (
    Approved,
    Approving,
    Expired,
    IntentOutcome,
    Pending,
    Rejected,
)
from bridge.intents import LiveIntent
from bridge.preparing import Batch
from bridge.taker import AT_ONCE, Taker
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# So many wait for people at most; those of them that are slow do not make the lane ask without end.
MOST_LIVE: Final = 256


class Proposing:
    """Of one signer's lane. Whoever is asked is the custodian, who has people of its own, or those whom ``rule`` names,
    or both. ``valid_s``: how long an intent may be carried out."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        token: Token,
        signer: bytes,
        approving: Approving | None,
        rule: ApprovalRule | None,
        taker: Taker,
        valid_s: int,
    ) -> None:
        self._pool = pool
        self._token = token
        self._signer = signer
        self._approving = approving
        self._rule = rule
        self._taker = taker
        self._valid_s = valid_s

    async def step(self, fence: Fence) -> bool:
        """Propose what is ready, hear what was decided, take what was approved; answers whether any was."""
        async with self._pool.acquire() as connection:
            live = await intents.live(connection, self._token.chain_id, self._signer)
            works = await intents.works(connection, self._token.chain_id, self._signer)
        proposed = await self._propose(fence) if len(live) < MOST_LIVE else False
        now_s = time.time()
        late = [
            one
            for one in live
            if not works or not one.is_possible or now_s > one.intent.valid_until_s
        ]
        current = [one for one in live if one not in late]
        decided = await self._hear(fence, [one for one in current if not one.is_approved], late)
        taken = await self._take(fence, [one for one in current if one.is_approved])
        return proposed or decided or taken

    async def _propose(self, fence: Fence) -> bool:
        """Write down what people shall be asked; nothing of it is asked yet."""
        batches = await self._taker.batches(fence)
        if not batches:
            return False
        chosen = [one for batch in batches for one in batch.chosen]
        until_s = int(time.time()) + self._valid_s
        async with fenced(self._pool, fence) as connection:
            if not await ready.are_still_ready(connection, chosen):
                return False
            for batch in batches:
                intent = Intent.of(
                    self._token.chain_id, self._token.address, read_call(batch.data), until_s
                )
                op_ids = [one.op_id for one in batch.chosen]
                await intents.add(connection, self._signer, intent, batch.chosen[0].purpose, op_ids)
        log.info("intents_written", intents=len(batches), operations=len(chosen))
        return True

    async def _hear(
        self, fence: Fence, waiting: Sequence[LiveIntent], late: Sequence[LiveIntent]
    ) -> bool:
        """Ask about what waits, and keep what was decided; what is too late to carry out is over, approved or
        not."""
        told = [
            (one, outcome)
            for one, outcome in zip(waiting, await self._outcomes(waiting), strict=True)
            if isinstance(outcome, Approved | Rejected | Expired)
        ]
        told += [(one, Expired()) for one in late]
        if not told:
            return False
        async with fenced(self._pool, fence) as connection:
            for one, outcome in told:
                await self._keep(connection, one, outcome)
        return True

    async def _outcomes(self, waiting: Sequence[LiveIntent]) -> list[IntentOutcome]:
        """What the custodian's people have decided, and ours with them."""
        outcomes: list[IntentOutcome] = [Approved(())] * len(waiting)
        if waiting and self._approving is not None:
            # The same intent is the same ticket, however often it is proposed.
            tickets = await self._approving.propose([one.intent for one in waiting])
            outcomes = await self._approving.approvals(tickets)
        if not waiting or self._rule is None:
            return outcomes
        async with self._pool.acquire() as connection:
            given = await intents.approvals(connection, [one.intent.hash for one in waiting])
        met = [self._rule.is_met(one.intent, given[one.intent.hash]) for one in waiting]
        return [
            outcome if is_met or not isinstance(outcome, Approved) else Pending()
            for outcome, is_met in zip(outcomes, met, strict=True)
        ]

    async def _keep(
        self, connection: Connection, one: LiveIntent, outcome: Approved | Rejected | Expired
    ) -> None:
        log.info("intent_decided", intent_id=one.intent_id, outcome=type(outcome).__name__)
        match outcome:
            case Approved(approvals):
                await intents.approve(connection, one.intent_id, approvals)
            case Expired():
                await intents.decide(connection, one.intent_id, "expired")
            case Rejected(reason):
                await intents.decide(connection, one.intent_id, "rejected", reason)
                detail = f"people rejected intent {one.intent_id}, which has it among {len(one.op_ids)}: {reason}"
                for operation_id in one.operation_ids:
                    subject = f"operation:{operation_id}"
                    await open_break(
                        connection, Break("approval", "warning", subject, detail, operation_id)
                    )

    async def _take(self, fence: Fence, approved: Sequence[LiveIntent]) -> bool:
        """Nonces for what was approved, oldest first."""
        batches: list[Batch] = []
        room = min(AT_ONCE, await self._taker.room()) if approved else 0
        for one in approved:
            if len(batches) >= room:
                break
            batch = await self._batch(fence, one)
            if batch is not None:
                batches.append(batch)
        return await self._taker.take(fence, batches) if batches else False

    async def _batch(self, fence: Fence, one: LiveIntent) -> Batch | None:
        """Exactly what was approved, if all of it can be carried out now; otherwise it waits."""
        batch = await self._taker.whole(fence, one.op_ids, one.intent.hash)
        if batch is not None:
            call = read_call(batch.data)
            if not describes(one.intent, self._token.chain_id, self._token.address, call):
                raise ValueError(f"intent {one.intent_id} does not describe its own operations")
        return batch
