"""An alarm about something on the chain that nothing here explains: a break that a person closes, and a closed gate."""

import asyncpg
import structlog

from bridge import halts
from bridge.breaks import Break, open_break
from bridge.halts import Scope
from indexer.database import Connection

log = structlog.get_logger()


async def raise_alarm(
    connection: Connection, kind: str, event: asyncpg.Record, detail: str, scope: Scope = "mint"
) -> None:
    """A critical break about a chain event; the gate closes by itself and a person reopens it."""
    subject = f"event:{event['tx_hash'].hex()}:{event['ordinal']}"
    log.error("unexplained_event", kind=kind, subject=subject, detail=detail)
    await open_break(connection, Break(kind, "critical", subject, detail))
    await halts.halt(connection, scope, f"{kind}: {subject}", "bridge")
