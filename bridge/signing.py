"""Signs what the journal intends: committed fees become committed bytes, a batch of them in one transaction."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import structlog

from bridge import halts, intents, journal, minted
from bridge.custody.policy import Evidence, Refused, judge
from bridge.custody.protocol import Custody, Expired, Rejected
from bridge.custody.signing import sign
from bridge.custody.verification import SignedTransaction
from bridge.errors import Fatal
from bridge.journal import Attempt
from bridge.limits import Minted
from bridge.pricing import Pricing
from bridge.rules import ANYTHING, Rules
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

AT_ONCE: Final = 200
ASKED_FOR_S: Final = 0.5
"""How long custody may take over what it is asked for at once: what a halt waits for."""
NOTHING: Final = (Minted(), Minted())

SIGNED = """
    UPDATE bridge.operation o SET state = 'signed', reason = 'signed bytes journalled'
    FROM bridge.tx_operation l
    WHERE l.tx_id = ANY ($1) AND NOT l.released AND o.op_id = l.op_id AND o.state = 'reserved'"""
# Whether the nonce has any form that can be mined.
HAS_BYTES = "SELECT EXISTS (SELECT FROM bridge.tx_attempt WHERE tx_id = $1 AND raw IS NOT NULL)"


class CustodyRefusedError(Fatal):
    """Custody refuses to sign even a transaction that does nothing: the lane cannot go on behind its nonce."""


class Signing:
    """Of one signer's lane."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        custody: Custody,
        token: Token,
        signer: bytes,
        pricing: Pricing,
        rules: Rules = ANYTHING,
    ) -> None:
        self._pool = pool
        self._custody = custody
        self._token = token
        self._signer = signer
        self._pricing = pricing
        rate = custody.capabilities.max_signatures_per_s
        self._at_once = max(1, min(AT_ONCE, int(rate * ASKED_FOR_S)))
        self._policy = rules.policy(token)

    async def step(self, fence: Fence) -> bool:
        """Sign what is not signed yet, lowest nonce first; answers whether anything was."""
        async with self._pool.acquire() as connection:
            attempts = await journal.unsigned(
                connection, self._token.chain_id, self._signer, self._at_once
            )
            if not attempts:
                return False
            refusals = await self._refusals(connection, attempts)
            # Asked right before custody is, of no more than it can sign soon, so that a halt takes hold at once.
            if await halts.is_halted(connection, "money"):
                return False
        # The request's id names it for ever: the same question after a kill is the same request.
        allowed = [one for one in attempts if one not in refusals]
        asked = await sign(self._custody, [one.request for one in allowed])
        outcomes = [*asked, *refusals.values()]
        attempts = [*allowed, *refusals]
        signed = [
            (attempt, outcome)
            for attempt, outcome in zip(attempts, outcomes, strict=True)
            if isinstance(outcome, SignedTransaction)
        ]
        if signed:
            await self._record(fence, signed)
        refused = [
            (attempt, outcome)
            for attempt, outcome in zip(attempts, outcomes, strict=True)
            if isinstance(outcome, Rejected | Expired)
        ]
        for attempt, outcome in refused:
            await self._refused(fence, attempt, outcome)
        return bool(signed or refused)

    async def _refusals(
        self, connection: Connection, attempts: Sequence[Attempt]
    ) -> dict[Attempt, Rejected]:
        """What policy does not let custody be asked for, and why."""
        lately: Mapping[int, tuple[Minted, Minted]] = {}
        if any(limits.look_back for limits in self._policy.limits):
            lately = await minted.minted_before(
                connection,
                self._token.chain_id,
                self._signer,
                self._token.account_id,
                list({one.tx_id for one in attempts}),
            )
        evidence = await self._evidence(connection, attempts)
        verdicts = {
            one: judge(
                self._policy,
                one.request,
                lately.get(one.tx_id, NOTHING),
                time.time(),
                evidence.get(one.request.intent),
            )
            for one in attempts
        }
        return {
            one: Rejected(f"policy: {verdict.reason}")
            for one, verdict in verdicts.items()
            if isinstance(verdict, Refused)
        }

    async def _evidence(
        self, connection: Connection, attempts: Sequence[Attempt]
    ) -> Mapping[bytes | None, Evidence]:
        """What people have approved of what is to be signed, by its hash."""
        hashes = [one.request.intent for one in attempts if one.request.intent is not None]
        if self._policy.approval is None or not hashes:
            return {}
        return {one.intent.hash: one for one in await intents.evidence(connection, hashes)}

    async def _record(
        self, fence: Fence, signed: Sequence[tuple[Attempt, SignedTransaction]]
    ) -> None:
        async with fenced(self._pool, fence) as connection:
            await journal.record_signed(connection, signed)
            tx_ids = [attempt.tx_id for attempt, _ in signed if not attempt.cancels]
            await connection.execute(SIGNED, tx_ids)

    async def _refused(self, fence: Fence, attempt: Attempt, outcome: Rejected | Expired) -> None:
        """A nonce that will never have its transaction is filled with one that does nothing, so that those behind
        it can be mined; when that is final, its operations are free again."""
        why = outcome.reason if isinstance(outcome, Rejected) else "nobody decided in time"
        log.error("custody_refused", tx_id=attempt.tx_id, attempt=attempt.attempt, why=why)
        if attempt.cancels:
            raise CustodyRefusedError(
                f"custody refuses to fill nonce {attempt.request.nonce} with a transaction that does nothing: {why}"
            )
        offer = await self._pricing.offer()
        async with fenced(self._pool, fence) as connection:
            await journal.record_refused(connection, attempt, why)
            if not await connection.fetchval(HAS_BYTES, attempt.tx_id):
                await journal.add_attempts(connection, [(attempt.tx_id, offer)], cancels=True)
