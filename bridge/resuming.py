"""What a proposal to go on says: which halts it lifts, and what goes on then. Its text is what two people agree on."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bridge.halts import Halt, ResumeRefusedError
from indexer.database import Connection

OPERATIONS: Final = """
    SELECT kind || ' ' || state AS name, count(*) AS number FROM bridge.operation
    WHERE state NOT IN ('settled', 'refunded', 'returned', 'expired', 'dropped') GROUP BY 1 ORDER BY 1"""
TRANSACTIONS: Final = """
    SELECT '0x' || encode(signer, 'hex') AS name, count(*) AS number FROM bridge.tx
    WHERE outcome IS NULL GROUP BY 1 ORDER BY 1"""
UNKNOWN_PAYOUTS: Final = """
    SELECT o.operation_id, o.state, a.end_to_end_id, p.amount_minor::text AS amount_minor, p.currency
    FROM bridge.operation o JOIN bank.payout p USING (op_id)
    JOIN bank.payout_attempt a ON a.op_id = o.op_id AND a.state IN ('sent', 'unknown')
    ORDER BY o.operation_id LIMIT 100"""


def chosen(halts: Sequence[Halt], halt_ids: Sequence[int]) -> list[Halt]:
    """Those that shall be lifted: all where none is named. Raises :class:`ResumeRefusedError`."""
    if not halts:
        raise ResumeRefusedError("nothing is halted")
    known = {one.halt_id for one in halts}
    missing = [each for each in halt_ids if each not in known]
    if missing:
        raise ResumeRefusedError(
            f"halt {missing[0]} is not open; these are: {', '.join(map(str, sorted(known)))}"
        )
    return [one for one in halts if not halt_ids or one.halt_id in halt_ids]


def content(
    halts: Sequence[Halt], by: str, goes_on: Mapping[str, Any], rescan: Mapping[str, Any] | None
) -> str:
    """The proposal's text. Two proposals are never the same one."""
    shown = {
        "halts": [one.halt_id for one in halts],
        "by": by,
        "at": datetime.now(UTC).isoformat(),
        "lifts": [f"{one.scope}: {one.reason}" for one in halts],
        "goes_on": goes_on,
        "rescan": rescan,
    }
    return json.dumps(shown, sort_keys=True)


def read(text: str) -> tuple[list[int], Mapping[str, Any] | None]:
    """The halts of a proposal, and the rescan that it was made after."""
    shown = json.loads(text)
    return list(shown["halts"]), shown["rescan"]


async def what_goes_on(connection: Connection) -> dict[str, Any]:
    """Operations by state, transactions without an outcome, and payouts of which nobody knows whether they left."""
    operations = await connection.fetch(OPERATIONS)
    transactions = await connection.fetch(TRANSACTIONS)
    payouts = await connection.fetch(UNKNOWN_PAYOUTS)
    return {
        "operations": {row["name"]: row["number"] for row in operations},
        "open_transactions": {row["name"]: row["number"] for row in transactions},
        "payouts_of_unknown_fate": [dict(row) for row in payouts],
    }
