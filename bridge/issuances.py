"""What the chain shows of issuances: mints that are seen, and then final; others' mints raise an alarm."""

from collections.abc import Sequence
from dataclasses import replace

import asyncpg
import structlog

from bridge import halts, ledger, mints
from bridge.alarm import raise_alarm
from bridge.ledger import Book, Held, move
from bridge.matches import match, open_matches, settle_matches
from bridge.matching import MintExpected, unauthorized_mint
from bridge.state_loss import foreign_mint, replay
from bridge.token import Token
from bridge.token_events import told_of
from indexer.database import Connection
from indexer.feed import FeedRow

log = structlog.get_logger()

ISSUANCES = """
    SELECT * FROM bridge.operation WHERE op_id = ANY ($1) AND kind = 'issuance' ORDER BY operation_id FOR UPDATE"""
# Every hash that was ever signed for them.
JOURNALLED = """
    SELECT l.op_id, array_agg(a.hash) AS hashes FROM bridge.tx_operation l JOIN bridge.tx_attempt a USING (tx_id)
    WHERE l.op_id = ANY ($1) AND a.hash IS NOT NULL GROUP BY l.op_id"""
MINED = """
    UPDATE bridge.operation o SET state = 'mined', reason = $5,
        event_block_hash = m.block_hash, event_block_number = m.block_number, event_log_index = m.log_index
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::integer[])
        AS m (operation_id, block_hash, block_number, log_index)
    WHERE o.operation_id = m.operation_id"""
FINAL = """
    SELECT operation_id, amount_minor FROM bridge.operation
    WHERE chain_id = $1 AND token = $2 AND kind = 'issuance' AND state = 'mined' AND event_block_number <= $3
    FOR UPDATE"""
MOVE = "UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = ANY ($1)"


class Issuances:
    """Of one token; each method in the observer's transaction."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def see(self, connection: Connection, row: FeedRow) -> None:
        """Blocks were applied: their mints are those that were waited for, or an alarm."""
        await self._see_mints(connection, row)
        await self._see_burns(connection, row)

    async def _see_mints(self, connection: Connection, row: FeedRow) -> None:
        found = await mints.seen(connection, self._token, row)
        op_ids = [seen.op_id for seen, _ in found if seen.op_id is not None]
        expected = await _expected(connection, op_ids) if found else {}
        minted: list[tuple[asyncpg.Record, asyncpg.Record]] = []
        losses: list[str] = []
        for seen, event in found:
            operation, awaited = expected.get(seen.op_id or b"", (None, None))
            fault = unauthorized_mint(seen, awaited)
            if fault is None and operation is not None and awaited is not None:
                minted.append((operation, event))
                expected[operation["op_id"]] = (operation, replace(awaited, state="mined"))
            else:
                op_id = "no op_id" if seen.op_id is None else f"op_id 0x{seen.op_id.hex()}"
                await raise_alarm(
                    connection,
                    "unauthorized_mint",
                    event,
                    f"mint of {seen.amount} with {op_id}: {fault}",
                )
                if operation is not None or await _is_our_key(connection, self._token, event):
                    losses.append(foreign_mint(seen.op_id, event["tx_hash"], str(fault)))
        if minted:
            await mined(connection, minted, "its log stands in a block")
        if self._token.kind == "deposit":
            losses += [
                replay(event["op_id"], event["tx_hash"])
                for event in await told_of(connection, self._token, "operation_replayed", row)
            ]
        if losses:
            await halts.latch(connection, losses, "bridge")

    async def _see_burns(self, connection: Connection, row: FeedRow) -> None:
        """Of a plain token: nobody is paid for them yet, so they are not to pass unseen."""
        for event in await mints.burns(connection, self._token, row):
            detail = f"0x{event['from'].hex()} burned {event['value']} units, and no payout of ours belongs to that"
            await raise_alarm(connection, "unregistered_burn", event, detail)

    async def finalize(self, connection: Connection, to_block: int) -> None:
        """What was mined up to this block is matched for good."""
        final = await connection.fetch(FINAL, self._token.chain_id, self._token.address, to_block)
        if not final:
            return
        ids = [one["operation_id"] for one in final]
        await connection.execute(MOVE, ids, "final", "its block is final")
        held = [
            Held(one["operation_id"], move(Book.OUTSTANDING, Book.FUNDED, one["amount_minor"]))
            for one in final
        ]
        await ledger.post_held(connection, self._token, held)
        await settle_matches(connection, ids)
        await connection.execute(MOVE, ids, "settled", "deposit and mint are matched for good")


async def mined(
    connection: Connection,
    minted: Sequence[tuple[asyncpg.Record, asyncpg.Record]],
    reason: str,
) -> None:
    """The logs of mints stand in blocks: issuances, each with the row of the event by which it was carried out."""
    await connection.execute(
        MINED,
        [operation["operation_id"] for operation, _ in minted],
        [event["block_hash"] for _, event in minted],
        [event["block_number"] for _, event in minted],
        [event["log_index"] for _, event in minted],
        reason,
    )
    matches = [
        match(operation, event, "op_id", operation["entry_id"]) for operation, event in minted
    ]
    await open_matches(connection, matches)
    log.info("mints_mined", operations=len(minted), block=minted[-1][1]["block_number"])


async def _is_our_key(connection: Connection, token: Token, mint: asyncpg.Record) -> bool:
    """Whether a key of ours minted; of a plain token, which does not say whose it was, that it may have."""
    if token.kind == "plain":
        return True
    ours: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM bridge.signer WHERE address = $1)", mint["minter"]
    )
    return ours


async def _expected(
    connection: Connection, op_ids: Sequence[bytes]
) -> dict[bytes, tuple[asyncpg.Record, MintExpected]]:
    """The issuances of these op_ids, locked, and what each waits for."""
    operations = await connection.fetch(ISSUANCES, op_ids)
    rows = await connection.fetch(JOURNALLED, op_ids)
    hashes = {row["op_id"]: row["hashes"] for row in rows}
    return {
        one["op_id"]: (
            one,
            MintExpected(
                one["state"],
                one["wallet"],
                one["amount_minor"],
                frozenset(hashes.get(one["op_id"], ())),
            ),
        )
        for one in operations
    }
