"""What the journal says that gas has cost a signer, and may still cost it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.custody.transaction import NOOP_GAS
from bridge.spending import DAY_S
from indexer.database import Connection

# Nobody is asked what was really paid, so each counts as the most that it could cost: of a mined one the attempt that
# was mined, else the dearest.
READ: Final = """
    WITH each AS (
        SELECT t.tx_id, t.outcome, t.gas_limit,
               t.created_at > clock_timestamp() - make_interval(secs => $3) AS recent, (
            SELECT max(a.max_fee_wei * CASE WHEN a.cancels THEN $4 ELSE t.gas_limit END) FROM bridge.tx_attempt a
            WHERE a.tx_id = t.tx_id AND (t.outcome IS NULL OR a.hash = t.outcome_hash)) AS wei
        FROM bridge.tx t
        WHERE t.chain_id = $1 AND t.signer = $2
          AND (t.outcome IS NULL OR t.created_at > clock_timestamp() - make_interval(secs => $3)))
    SELECT coalesce(sum(wei) FILTER (WHERE outcome IS NOT NULL), 0) AS spent_wei,
           count(*) FILTER (WHERE recent) AS transactions,
           coalesce(avg(gas_limit), 0)::bigint AS gas,
           array_agg(tx_id ORDER BY tx_id) FILTER (WHERE outcome IS NULL) AS open_ids,
           array_agg(wei ORDER BY tx_id) FILTER (WHERE outcome IS NULL) AS open_wei
    FROM each"""


@dataclass(frozen=True, slots=True)
class Expenses:
    """``spent_wei``: of what a final block has decided, in a day. ``open_wei``: of each transaction that waits, the
    most that it may still cost. ``transactions``: how many there were in a day; ``gas``: the limit of one, on
    average."""

    spent_wei: int
    open_wei: Mapping[int, int]
    transactions: int
    gas: int

    @property
    def at_stake_wei(self) -> int:
        """The most that everything which waits may still cost."""
        return sum(self.open_wei.values())


async def read(connection: Connection, chain_id: int, signer: bytes) -> Expenses:
    """Of one signer, as they are committed."""
    [row] = await connection.fetch(READ, chain_id, signer, float(DAY_S), NOOP_GAS)
    open_ids, open_wei = row["open_ids"] or [], row["open_wei"] or []
    return Expenses(
        spent_wei=int(row["spent_wei"]),
        open_wei={tx_id: int(wei) for tx_id, wei in zip(open_ids, open_wei, strict=True)},
        transactions=row["transactions"],
        gas=row["gas"],
    )
