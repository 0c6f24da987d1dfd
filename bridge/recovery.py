"""Goes on after a state loss, as two people have agreed: in one transaction, under every lease that moves money."""

from collections.abc import Sequence
from typing import Final

import asyncpg
import structlog

from bridge import halts, journal, ledger
from bridge.breaks import close_breaks
from bridge.halts import Halt
from bridge.issuances import mined
from bridge.lane import role
from bridge.ledger import Book, Held, move
from bridge.rescan import Burn, Mint, Rescan
from bridge.state_loss import SignerFacts, first_free_nonce, unknown_payloads
from bridge.token import Token
from bridge.watch import record_identity
from indexer import lease
from indexer.database import Connection
from indexer.lease import Fence

log = structlog.get_logger()

LEASE_S: Final = 30.0
FOUND: Final = "found on the chain after a state loss"
MOVE: Final = "UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = ANY ($1)"
BURN: Final = """
    UPDATE bridge.operation SET state = 'burning', reason = $2
    WHERE operation_id = ANY ($1) AND state = 'booked'"""


async def recover(
    pool: asyncpg.Pool,
    token: Token,
    found: Rescan,
    proposal: bytes,
    halt_ids: Sequence[int],
    by: str,
) -> list[Halt]:
    """Enter what the chain has, open the nonces behind all that was used, accept the database, lift the halts.

    All of it or nothing. The daemons lose their leases for the moment, and look again when they have them back.
    Raises :class:`bridge.halts.ResumeRefusedError`.
    """
    fences: list[Fence] = []
    try:
        for name in ("operate", *(role(one.address) for one in found.signers)):
            async with pool.acquire() as connection:
                fences.append(await lease.seize(connection, name, f"resume by {by}", LEASE_S))
        async with pool.acquire() as connection, connection.transaction():
            await lease.enter(connection, fences[0])
            await _adopt_mints(connection, token, found.mints)
            await _adopt_burns(connection, found.burns)
            for fence, signer in zip(fences[1:], found.signers, strict=True):
                await lease.enter(connection, fence)
                await _open_nonces(connection, token.chain_id, signer, proposal)
            if found.recorded != found.live:
                await record_identity(connection, by)
            return await halts.approve(connection, proposal, halt_ids, by)
    finally:
        for fence in fences:
            async with pool.acquire() as connection:
                await lease.release(connection, fence)


async def _adopt_mints(connection: Connection, token: Token, mints: Sequence[Mint]) -> None:
    """What was minted by transactions that are lost is minted, where it is what was owed."""
    rows = [one.row for one in mints if one.adopts]
    if not rows:
        return
    unjudged = [row["operation_id"] for row in rows if row["state"] in ("funded", "held")]
    await connection.execute(MOVE, unjudged, "approved", FOUND)
    unreserved = [row for row in rows if row["state"] in ("funded", "held", "approved")]
    holds = [
        Held(row["operation_id"], move(Book.OUTSTANDING, Book.FUNDED, row["amount_minor"]))
        for row in unreserved
    ]
    await ledger.hold(connection, token, holds)
    ids = [row["operation_id"] for row in unreserved]
    await connection.execute(MOVE, ids, "reserved", FOUND)
    await mined(connection, [(row, row) for row in rows], FOUND)
    for row in rows:
        subject = f"event:{row['tx_hash'].hex()}:{row['ordinal']}"
        await close_breaks(connection, ["unauthorized_mint"], subject, FOUND)


async def _adopt_burns(connection: Connection, burns: Sequence[Burn]) -> None:
    ids = [one.operation_id for one in burns if one.adopts]
    await connection.execute(BURN, ids, FOUND)


async def _open_nonces(
    connection: Connection, chain_id: int, signer: SignerFacts, proposal: bytes
) -> None:
    lost = unknown_payloads(signer)
    await journal.record_lost(connection, chain_id, signer.address, lost, proposal)
    await journal.give_up_nonces(connection, chain_id, signer.address, first_free_nonce(signer))
