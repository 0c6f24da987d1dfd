"""Looks for signs that this database is older than the world, before money moves and after each reconnection.

What Postgres tells of itself is compared there, at each look at the halts (``ops.is_halted``); this module says why,
and asks the chain and custody's own log. It reads the journal last: what they know was journalled before.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from bridge import halts, journal
from bridge.custody.log import CustodyLog
from bridge.custody.transaction import digest
from bridge.node import Node
from bridge.state_loss import Identity, SignerFacts, of_database, of_signer
from indexer.database import Connection

log = structlog.get_logger()

STARTED: Final = "SELECT pg_postmaster_start_time()"
RECORD: Final = """
    INSERT INTO ops.database_identity (system_identifier, timeline_id, database_oid, recorded_by)
    SELECT live.*, $1 FROM ops.live_identity() AS live"""
RECORD_FIRST: Final = RECORD + " WHERE NOT EXISTS (SELECT FROM ops.database_identity)"
RECORDED: Final = """
    SELECT system_identifier, timeline_id, database_oid FROM ops.database_identity
    ORDER BY identity_id DESC LIMIT 1"""
LIVE: Final = "SELECT system_identifier, timeline_id, database_oid FROM ops.live_identity()"
LOST: Final = """
    SELECT nonce, payload FROM bridge.lost_payload WHERE chain_id = $1 AND signer = $2 AND nonce >= $3"""


class Watch:
    """Of all signers of this process. One for the process, whose loops share it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        chain_id: int,
        signers: Sequence[bytes],
        custody_log: CustodyLog,
    ) -> None:
        self._pool = pool
        self._node = node
        self._chain_id = chain_id
        self._signers = signers
        self._log = custody_log
        self._server: datetime | None = None

    async def look(self) -> list[str]:
        """Latch money shut for each loss; answers with them."""
        started = await self._pool.fetchval(STARTED)
        async with self._pool.acquire() as connection:
            await connection.execute(RECORD_FIRST, "daemon")
            moved = of_database(
                await recorded_identity(connection), await live_identity(connection)
            )
        losses = [moved] if moved is not None else []
        for facts in await self.facts():
            losses += of_signer(facts)
        if losses:
            log.error("state_loss", losses=losses)
            async with self._pool.acquire() as connection:
                await halts.latch(connection, losses, "watch")
        self._server = started
        return losses

    async def look_after_restart(self) -> None:
        """The same, if the server has been started, or is another one, since the last look."""
        if await self._pool.fetchval(STARTED) != self._server:
            await self.look()

    async def facts(self) -> list[SignerFacts]:
        """Of each signer what the chain, custody's log and, read last, the journal say."""
        chain = {one: await self._node.nonce(one, "latest") for one in self._signers}
        async with self._pool.acquire() as connection:
            lowest = {
                (self._chain_id, one): await journal.lowest_open(connection, self._chain_id, one)
                for one in self._signers
            }
        logged = await self._log.payloads(lowest)
        async with self._pool.acquire() as connection:
            return [
                SignerFacts(
                    address=one,
                    next_nonce=await journal.next_nonce(connection, self._chain_id, one),
                    chain_nonce=chain[one],
                    logged=logged[self._chain_id, one],
                    journalled=await self._journalled(connection, one, lowest[self._chain_id, one]),
                )
                for one in self._signers
            ]

    async def _journalled(
        self, connection: Connection, signer: bytes, lowest: int
    ) -> dict[int, set[bytes]]:
        found: dict[int, set[bytes]] = {}
        for request in await journal.requests_from(connection, self._chain_id, signer, lowest):
            found.setdefault(request.nonce, set()).add(digest(request))
        for row in await connection.fetch(LOST, self._chain_id, signer, lowest):
            found.setdefault(row["nonce"], set()).add(row["payload"])
        return found


async def recorded_identity(connection: Connection) -> Identity | None:
    """The database in which money moved last; None before it has."""
    row = await connection.fetchrow(RECORDED)
    return None if row is None else Identity(**row)


async def live_identity(connection: Connection) -> Identity:
    """The database as it is."""
    row = await connection.fetchrow(LIVE)
    if row is None:
        raise LookupError("the server does not say which one it is")
    return Identity(**row)


async def record_identity(connection: Connection, by: str) -> None:
    """Accept the database as it is, which Postgres allows while a state loss is being dealt with."""
    await connection.execute(RECORD, by)
