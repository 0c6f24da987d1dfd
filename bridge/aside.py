"""What a lane does not take now: it is told of in a break, and nothing waits behind it."""

from collections.abc import Mapping
from typing import Final

import structlog

from bridge import halts
from bridge.breaks import Break, open_break
from bridge.ready import Ready
from bridge.state_loss import used_operation
from indexer.database import Connection

log = structlog.get_logger()

# An operation that the token knows, and that this journal has not sent.
USED: Final = "OperationUsed"

SET_ASIDE = """
    UPDATE bridge.operation
    SET state = CASE state WHEN 'reserved' THEN 'held' ELSE state END,
        reason = CASE state WHEN 'reserved' THEN $2 ELSE reason END, updated_at = clock_timestamp()
    WHERE operation_id = $1 AND state IN ('reserved', 'booked', 'rejecting', 'voiding')"""
# It stays what it is, and is looked at again later.
PUT_OFF = "UPDATE bridge.operation SET updated_at = clock_timestamp() WHERE operation_id = ANY ($1)"


async def set_aside(connection: Connection, one: Ready, why: str) -> None:
    """The chain would refuse it: a mint is held and judged again, anything else waits."""
    log.warning("operation_refused_by_simulation", operation_id=one.operation_id, why=why)
    if one.purpose == "mint" and USED in why:
        # The token has seen it, and this journal has not: it is older than what it tells of.
        await halts.latch(connection, [used_operation(one.operation_id)], "taker")
        return
    detail = f"the chain would refuse the {one.purpose}: {why}"
    subject = f"operation:{one.operation_id}"
    await open_break(connection, Break("policy", "warning", subject, detail, one.operation_id))
    await connection.execute(SET_ASIDE, one.operation_id, f"simulation: {why}")


async def put_off(connection: Connection, found: Mapping[Ready, str]) -> None:
    """The rules do not allow them now, for these reasons."""
    for one, why in found.items():
        subject = f"operation:{one.operation_id}"
        await open_break(connection, Break("limit", "warning", subject, why, one.operation_id))
    await connection.execute(PUT_OFF, [one.operation_id for one in found])
    log.warning("operations_over_limit", operations=len(found))
