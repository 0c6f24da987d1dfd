"""Gives journalled bytes to the node, again and again until a block holds them. Nothing else is ever sent."""

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.errors import Fatal
from bridge.journal import Attempt
from bridge.node import Node
from bridge.purse import Purse
from bridge.sending import Answer
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# Given to the node at the same time; a halt that comes meanwhile takes hold after them.
AT_ONCE: Final = 16
LIMIT: Final = 256

SUBMITTED = """
    UPDATE bridge.operation o SET state = 'submitted', reason = 'given to a node'
    FROM bridge.tx_operation l
    WHERE l.tx_id = ANY ($1) AND NOT l.released AND o.op_id = l.op_id AND o.state = 'signed'"""

TAKEN: Final = frozenset({Answer.ACCEPTED, Answer.KNOWN})
# The nonces behind it may go on: it is in a pool, it is over, or the bumper offers more for it at once.
PASSED: Final = TAKEN | {Answer.NONCE_USED, Answer.UNDERPRICED}


class Sender:
    """Of one signer's lane."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        chain_id: int,
        signer: bytes,
        resend_after_s: float,
        purse: Purse,
    ) -> None:
        self._pool = pool
        self._node = node
        self._chain_id = chain_id
        self._signer = signer
        self._resend_after_s = resend_after_s
        self._purse = purse

    async def step(self, fence: Fence) -> bool:
        """Send what is due, lowest nonce first; answers whether there was anything."""
        async with self._pool.acquire() as connection:
            attempts = await journal.due(
                connection, self._chain_id, self._signer, self._resend_after_s, LIMIT
            )
        for start in range(0, len(attempts), AT_ONCE):
            if not await self._send(fence, attempts[start : start + AT_ONCE]):
                return start > 0
        return bool(attempts)

    async def _send(self, fence: Fence, due: Sequence[Attempt]) -> bool:
        """Answers whether the lane may go on to the next nonces."""
        attempts = due
        if any(map(_is_new_mint, due)) and await halts.is_halted(self._pool, "mint"):
            attempts = _past_closed_gate(due)
        answers = await self._give(fence, attempts)
        gapped = [one for one in attempts if answers.get(one.hash) is Answer.GAP]
        if gapped:
            answers |= await self._close_gap(fence, gapped)
        if Answer.NO_FUNDS in answers.values():
            await self._purse.fell_short(fence)
        return all(answers.get(one.hash) in PASSED for one in due)

    async def _close_gap(
        self, fence: Fence, gapped: Sequence[Attempt]
    ) -> dict[bytes | None, Answer]:
        """The node has lost what comes before these: that first, and then these once more."""
        async with self._pool.acquire() as connection:
            below = gapped[0].request.nonce
            attempts = await journal.earlier(connection, self._chain_id, self._signer, below, LIMIT)
        answers: dict[bytes | None, Answer] = {}
        # One by one: of what comes at the same time a higher nonce may be looked at first.
        for one in (*attempts, *gapped):
            answers |= await self._give(fence, [one])
        return answers

    async def _give(self, fence: Fence, attempts: Sequence[Attempt]) -> dict[bytes | None, Answer]:
        """What the node makes of each, by its hash; of none while money is halted."""
        # Asked again right before the write, so that a halt takes hold within one round.
        if not attempts or await halts.is_halted(self._pool, "money"):
            return {}
        said = await asyncio.gather(*(self._node.send(one.raw or b"") for one in attempts))
        answers = [(one, *heard) for one, heard in zip(attempts, said, strict=True)]
        taken = [one.tx_id for one, answer, _ in answers if answer in TAKEN and not one.cancels]
        async with fenced(self._pool, fence) as connection:
            await journal.record_sent(connection, answers)
            await connection.execute(SUBMITTED, taken)
        for one, answer, text in answers:
            if answer not in TAKEN:
                log.warning(
                    "send_answer",
                    tx_id=one.tx_id,
                    nonce=one.request.nonce,
                    answer=answer,
                    text=text,
                )
            if answer is Answer.REFUSED:
                raise Fatal(f"transaction {one.tx_id} is refused for good: {text}")
        return {one.hash: answer for one, answer, _ in answers}


def _is_new_mint(attempt: Attempt) -> bool:
    """One that is out already may be sent again: that keeps its nonce from blocking the lane for ever."""
    return attempt.purpose == "mint" and not attempt.cancels and attempt.sends == 0


def _past_closed_gate(attempts: Sequence[Attempt]) -> list[Attempt]:
    """What may leave while nothing is minted: all before a new mint, and behind it if something else takes its
    nonce."""
    passing: list[Attempt] = []
    for one in attempts:
        if not _is_new_mint(one):
            passing.append(one)
        elif not any(other.cancels and other.tx_id == one.tx_id for other in attempts):
            break
    return passing
