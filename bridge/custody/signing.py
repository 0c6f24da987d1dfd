"""Asks custody for many signatures at once and lets nothing through that is not exactly what was asked for."""

import asyncio
from collections.abc import Sequence
from typing import Final

from bridge.custody.errors import CustodyUnavailableError
from bridge.custody.protocol import (
    Custody,
    Expired,
    Outcome,
    Pending,
    Rejected,
    Signed,
    SignRequest,
    Unknown,
)
from bridge.custody.verification import SignedTransaction, verify

TIMEOUT_S: Final = 60.0
"""Each backend gives up by itself before; this bounds whatever does not."""
INLINE: Final = 16
"""So many are verified in about two milliseconds; more of them off the event loop."""

Verified = SignedTransaction | Pending | Rejected | Expired | Unknown


async def sign(
    custody: Custody, requests: Sequence[SignRequest], timeout_s: float = TIMEOUT_S
) -> list[Verified]:
    """What became of each request: a transaction that is safe to journal, or why there is none.

    The same requests may be given again and again, after a restart too. Raises
    :class:`~bridge.custody.errors.SignatureRefusedError` if anything came back that was not asked for, and
    :class:`CustodyUnavailableError` if nothing is known.
    """
    if not requests:
        return []
    try:
        async with asyncio.timeout(timeout_s):
            tickets = await custody.submit(requests)
            outcomes = await custody.poll(tickets)
    except TimeoutError:
        raise CustodyUnavailableError(f"custody has not answered within {timeout_s:g} s") from None
    if len(outcomes) != len(requests):
        raise CustodyUnavailableError(
            f"custody gave {len(outcomes)} answers to {len(requests)} requests"
        )
    if sum(isinstance(outcome, Signed) for outcome in outcomes) <= INLINE:
        return _verified(requests, outcomes)
    return await asyncio.to_thread(_verified, requests, outcomes)


def _verified(requests: Sequence[SignRequest], outcomes: Sequence[Outcome]) -> list[Verified]:
    return [
        verify(request, outcome.raw) if isinstance(outcome, Signed) else outcome
        for request, outcome in zip(requests, outcomes, strict=True)
    ]
