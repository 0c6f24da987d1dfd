"""Whether a signer may still spend so much: the ceilings of the settings, held against the journal's own rows."""

from collections.abc import Sequence
from typing import Final

from bridge import expenses
from bridge.batching import MAX_BATCH_GAS
from bridge.custody.transaction import NOOP_GAS
from bridge.fees import FeeOffer
from bridge.spending import Allowed, Exceeded, SpendingCeilings, judge_spending
from indexer.database import Connection

# So long nothing new is taken that a ceiling has refused.
RETRY_S: Final = 5.0


class Budget:
    """Of one signer. Asked in the transaction that gives out a nonce, or journals another offer for one."""

    def __init__(self, chain_id: int, signer: bytes, ceilings: SpendingCeilings) -> None:
        self._chain_id = chain_id
        self._signer = signer
        self._ceilings = ceilings

    def most_gas(self, offer: FeeOffer) -> int:
        """What a batch may use at this price; the least that any transaction uses, if even that is too dear."""
        ceiling_wei = self._ceilings.per_transaction_wei
        if ceiling_wei is None or offer.max_fee_wei == 0:
            return MAX_BATCH_GAS
        return max(NOOP_GAS, min(MAX_BATCH_GAS, ceiling_wei // offer.max_fee_wei))

    async def judge(
        self, connection: Connection, asked: Sequence[tuple[int | None, int]]
    ) -> list[Allowed | Exceeded]:
        """Each in its order, with those before it that are allowed: its tx_id, None for a new one, and the most that
        it may cost, in wei."""
        if self._ceilings == SpendingCeilings():
            return [Allowed() for _ in asked]
        known = await expenses.read(connection, self._chain_id, self._signer)
        open_wei = dict(known.open_wei)
        new_wei = 0
        verdicts: list[Allowed | Exceeded] = []
        for tx_id, wei in asked:
            before_wei = 0 if tx_id is None else open_wei.get(tx_id, 0)
            # Of the attempts of one nonce the dearest counts: any of them may be mined.
            cost_wei = max(wei, before_wei)
            verdict = judge_spending(
                self._ceilings,
                cost_wei=cost_wei,
                spent_wei=known.spent_wei,
                at_stake_wei=sum(open_wei.values()) - before_wei + new_wei,
            )
            verdicts.append(verdict)
            if isinstance(verdict, Exceeded):
                continue
            if tx_id is None:
                new_wei += cost_wei
            else:
                open_wei[tx_id] = cost_wei
        return verdicts
