"""Signs what the journal intends and sends what the journal holds, never the other way round."""

import asyncpg
import structlog

from bridge import halts, journal
from bridge.custody.protocol import Custody, Expired, Pending, Rejected, Unknown
from bridge.custody.signing import Verified, sign
from bridge.errors import Fatal, Retryable
from bridge.halts import Scope
from bridge.journal import Attempt
from bridge.node import Node
from bridge.sending import Answer
from bridge.taker import LaneSettings
from bridge.token import Token
from indexer.lease import Fence, fenced

log = structlog.get_logger()


class CustodyRefusedError(Fatal):
    """Custody refused to sign a journalled transaction: its nonce must be filled before the lane can go on."""


class CustodyPendingError(Retryable):
    """Custody has not signed yet: asked again at the next step."""


class Sender:
    """Turns committed fees into committed bytes, and gives committed bytes to the node."""

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
        self._node = node
        self._custody = custody
        self._token = token
        self._signer = signer
        self._settings = settings

    async def step(self, fence: Fence) -> bool:
        """Sign, then send; answers whether there was anything to do."""
        signed = await self._sign(fence)
        sent = await self._send(fence)
        return signed or sent

    # Sign: committed fees become committed bytes.

    async def _sign(self, fence: Fence) -> bool:
        async with self._pool.acquire() as connection:
            attempts = await journal.unsigned(
                connection, self._token.chain_id, self._signer, self._settings.batch
            )
            if not attempts or await halts.is_halted(connection, "money"):
                return False
        outcomes = await sign(self._custody, [attempt.request for attempt in attempts])
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            await self._keep(fence, attempt, outcome)
        return True

    async def _keep(self, fence: Fence, attempt: Attempt, outcome: Verified) -> None:
        """Commit one attempt's signed bytes; raises if there are none."""
        if isinstance(outcome, Rejected | Expired):
            why = outcome.reason if isinstance(outcome, Rejected) else "nobody decided in time"
            raise CustodyRefusedError(
                f"custody refused transaction {attempt.tx_id} (nonce {attempt.request.nonce}): {why}"
            )
        if isinstance(outcome, Unknown):
            raise CustodyPendingError(
                f"custody cannot say what became of transaction {attempt.tx_id}: {outcome.reason}"
            )
        if isinstance(outcome, Pending):
            raise CustodyPendingError(f"custody has not decided transaction {attempt.tx_id}")
        async with fenced(self._pool, fence) as connection:
            await journal.record_signed(connection, attempt, outcome.raw, outcome.hash)
            await connection.execute(
                """UPDATE bridge.operation SET state = 'signed', reason = 'signed bytes journalled'
                   WHERE op_id = $1 AND state = 'reserved'""",
                attempt.op_id,
            )

    # Send: committed bytes go to the node, again and again until a block holds them.

    async def _send(self, fence: Fence) -> bool:
        async with self._pool.acquire() as connection:
            attempts = await journal.due(
                connection,
                self._token.chain_id,
                self._signer,
                self._settings.resend_after_s,
                self._settings.batch,
            )
        for count, attempt in enumerate(attempts):
            if not await self._send_one(fence, attempt):
                return count > 0
        return bool(attempts)

    async def _send_one(self, fence: Fence, attempt: Attempt) -> bool:
        """Send one attempt; answers whether the lane may go on to the next nonce."""
        if attempt.raw is None:
            raise ValueError("an attempt is sent only after its bytes are journalled")
        # Asked again right before the write, so that a halt takes hold within one transaction. A mint
        # that is out already may be sent again: that keeps its nonce from blocking the lane for ever.
        scope: Scope = "mint" if attempt.purpose == "mint" and attempt.sends == 0 else "money"
        if await halts.is_halted(self._pool, scope):
            return False
        answer, text = await self._node.send(attempt.raw)
        async with fenced(self._pool, fence) as connection:
            await journal.record_sent(connection, attempt, text)
            if answer in (Answer.ACCEPTED, Answer.KNOWN):
                await connection.execute(
                    """UPDATE bridge.operation SET state = 'submitted', reason = $2
                       WHERE op_id = $1 AND state = 'signed'""",
                    attempt.op_id,
                    f"the node answered: {text}"[:200],
                )
        if answer not in (Answer.ACCEPTED, Answer.KNOWN):
            log.warning(
                "send_answer",
                tx_id=attempt.tx_id,
                nonce=attempt.request.nonce,
                answer=answer,
                text=text,
            )
        if answer is Answer.REFUSED:
            raise Fatal(f"the node refuses transaction {attempt.tx_id} for good: {text}")
        return answer in (Answer.ACCEPTED, Answer.KNOWN, Answer.NONCE_USED)
