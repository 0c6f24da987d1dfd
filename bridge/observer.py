"""Consumes the chain's feed: what was seen, taken back, or made final becomes transitions of operations.

The consumer's cursor moves in the same transaction as its effects, so every row acts exactly once.
Rows of the feed name blocks; the events are read from the event tables by block hash, where orphaned
ones still stand, so that a retraction can be read too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import asyncpg
import structlog

from bridge import cancellations, halts, ledger, mints
from bridge.breaks import Break, close_breaks_of, open_break
from bridge.halts import Scope
from bridge.identity import operation_id
from bridge.ledger import Book, Held, Transfer, move
from bridge.matches import Match, Rule, open_matches, revoke_matches, settle_matches
from bridge.matching import MintExpected, unauthorized_mint
from bridge.operations import Kind
from bridge.state_loss import foreign_mint, replay
from bridge.token import Token
from indexer import feed
from indexer.block import BlockRef
from indexer.database import Connection
from indexer.feed import FeedRow
from indexer.lease import Fence, fenced

log = structlog.get_logger()

CONSUMER: Final = "bridge"
MAX_AMOUNT_MINOR: Final = 2**63 - 1

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
TAKE_BACK = """
    UPDATE bridge.operation SET state = $2, reason = 'its block was orphaned',
        event_block_hash = NULL, event_block_number = NULL, event_log_index = NULL
    WHERE operation_id = ANY ($1)"""
MOVE = "UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = ANY ($1)"
BOOKED = """
    SELECT op_id, entry_id FROM bank.payout_attempt WHERE op_id = ANY ($1) AND state = 'booked'"""


class Observer:
    """The bridge's consumer of the feed, under the lease of role ``operate``."""

    def __init__(self, pool: asyncpg.Pool, token: Token, batch: int = 20) -> None:
        self._pool = pool
        self._token = token
        self._batch = batch

    async def step(self, fence: Fence) -> bool:
        """Act on the next rows of the feed; answers whether there were any."""
        async with fenced(self._pool, fence) as connection:
            source = await _source(connection, self._token)
            if source is None:
                return False
            position, snapshot = await feed.enter(
                connection, CONSUMER, self._token.chain_id, source["source_id"]
            )
            rows = await feed.read(connection, self._token.chain_id, position, self._batch)
            for row in [*snapshot, *rows]:
                if row.speaks_for(source["source_id"], source["joined_seq"]):
                    await self._act(connection, row)
            if rows:
                await feed.advance(
                    connection, CONSUMER, self._token.chain_id, position, rows[-1].seq
                )
        return bool(snapshot or rows)

    async def _act(self, connection: Connection, row: FeedRow) -> None:
        if row.op == "apply":
            await self._see_mints(connection, row)
            await self._see_burns(connection, row)
            if self._token.kind == "deposit":
                await self._see_requests(connection, row)
                await self._see_endings(connection, row)
            # Of a range, and of what the token brought along when it joined or a snapshot tells, no finalization
            # is told later.
            if row.is_range or (
                row.source_id is not None and await _is_final(connection, self._token, row)
            ):
                await self._finalize(connection, row)
        elif row.op == "retract":
            await self._take_back(connection, row)
        else:
            await self._finalize(connection, row)

    async def _finalize(self, connection: Connection, row: FeedRow) -> None:
        await self._finalize_mints(connection, row)
        if self._token.kind == "plain":
            return
        await self._finalize_requests(connection, row)
        await self._finalize_endings(connection, row, "redeem_settled", "burning", "settled")
        await self._finalize_endings(connection, row, "redeem_rejected", "rejecting", "refunded")
        await cancellations.finish(connection, self._token, row.to_block)

    async def _events(
        self, connection: Connection, event: str, row: FeedRow
    ) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await connection.fetch(
            f"""SELECT * FROM {self._token.event_table(event)}
                WHERE {row.rows} ORDER BY block_number, log_index""",
            *row.arguments,
        )
        return rows

    # Seen: a block was applied.

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
                await self._alarm(
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
                for event in await self._events(connection, "operation_replayed", row)
            ]
        if losses:
            await halts.latch(connection, losses, "bridge")

    async def _see_burns(self, connection: Connection, row: FeedRow) -> None:
        """Of a plain token: nobody is paid for them yet, so they are not to pass unseen."""
        for event in await mints.burns(connection, self._token, row):
            detail = f"0x{event['from'].hex()} burned {event['value']} units, and no payout of ours belongs to that"
            await self._alarm(connection, "unregistered_burn", event, detail)

    async def _see_requests(self, connection: Connection, row: FeedRow) -> None:
        for event in await self._events(connection, "redeem_requested", row):
            if not 0 < event["amount"] <= MAX_AMOUNT_MINOR:
                await self._alarm(
                    connection,
                    "amount",
                    event,
                    f"redemption of {event['amount']} units cannot be paid out",
                )
                continue
            op_id = operation_id(
                chain_id=self._token.chain_id,
                token=self._token.address,
                reserve_account=self._token.account_id,
                stable_entry_key=event["id"].hex(),
                kind=Kind.REDEMPTION,
            )
            await connection.execute(
                """INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id, currency,
                       amount_minor, wallet, redemption_id, event_block_hash, event_block_number, event_log_index)
                   VALUES ($1, 'redemption', 'requested', 'requested on chain', $2, $3, $4, $5, $6, $7, $8, $9, $10,
                           $11)
                   ON CONFLICT (op_id) DO UPDATE
                   SET state = 'requested', reason = 'requested again after a reorg',
                       event_block_hash = excluded.event_block_hash,
                       event_block_number = excluded.event_block_number,
                       event_log_index = excluded.event_log_index""",
                op_id,
                self._token.chain_id,
                self._token.address,
                self._token.account_id,
                self._token.currency,
                int(event["amount"]),
                event["holder"],
                event["id"],
                event["block_hash"],
                event["block_number"],
                event["log_index"],
            )

    async def _see_endings(self, connection: Connection, row: FeedRow) -> None:
        """A settlement or a refund that no operation of ours is waiting for is somebody else's key."""
        for event_name, state in (("redeem_settled", "burning"), ("redeem_rejected", "rejecting")):
            for event in await self._events(connection, event_name, row):
                ours = await connection.fetchval(
                    """SELECT EXISTS (SELECT FROM bridge.operation o
                       JOIN bridge.tx_operation l USING (op_id) JOIN bridge.tx_attempt a USING (tx_id)
                       WHERE o.redemption_id = $1 AND o.state = $2 AND a.hash = $3)""",
                    event["id"],
                    state,
                    event["tx_hash"],
                )
                if not ours:
                    await self._alarm(
                        connection,
                        "missing_bank",
                        event,
                        f"{event_name} of 0x{event['id'].hex()} was not sent by this journal",
                        "money",
                    )

    async def _alarm(
        self,
        connection: Connection,
        kind: str,
        event: asyncpg.Record,
        detail: str,
        scope: Scope = "mint",
    ) -> None:
        """A critical break about a chain event; the gate closes by itself and a person reopens it."""
        subject = f"event:{event['tx_hash'].hex()}:{event['ordinal']}"
        log.error("unexplained_event", kind=kind, subject=subject, detail=detail)
        await open_break(connection, Break(kind, "critical", subject, detail))
        await halts.halt(connection, scope, f"{kind}: {subject}", "bridge")

    # Taken back: a block was orphaned before it was final.

    async def _take_back(self, connection: Connection, row: FeedRow) -> None:
        undone = await connection.fetch(
            """SELECT operation_id, kind FROM bridge.operation
               WHERE chain_id = $1 AND event_block_hash = $2
                 AND (kind, state) IN (('issuance', 'mined'), ('redemption', 'requested')) FOR UPDATE""",
            self._token.chain_id,
            row.block_hash,
        )
        for kind, state in ((Kind.ISSUANCE, "submitted"), (Kind.REDEMPTION, "dropped")):
            ids = [one["operation_id"] for one in undone if one["kind"] == kind]
            if ids:
                await revoke_matches(connection, ids)
                await connection.execute(TAKE_BACK, ids, state)
        if undone:
            log.warning("block_orphaned", block=row.from_block, operations=len(undone))

    # Final: nothing takes these back.

    async def _finalize_mints(self, connection: Connection, row: FeedRow) -> None:
        final = await connection.fetch(
            """SELECT operation_id, amount_minor FROM bridge.operation
               WHERE chain_id = $1 AND token = $2 AND kind = 'issuance' AND state = 'mined'
                 AND event_block_number <= $3 FOR UPDATE""",
            self._token.chain_id,
            self._token.address,
            row.to_block,
        )
        if not final:
            return
        ids = [one["operation_id"] for one in final]
        await _move_to(connection, ids, "final", "its block is final")
        held = [
            Held(one["operation_id"], move(Book.OUTSTANDING, Book.FUNDED, one["amount_minor"]))
            for one in final
        ]
        await ledger.post_held(connection, self._token, held)
        await settle_matches(connection, ids)
        await _move_to(connection, ids, "settled", "deposit and mint are matched for good")

    async def _finalize_requests(self, connection: Connection, row: FeedRow) -> None:
        final = await connection.fetch(
            """SELECT operation_id, amount_minor FROM bridge.operation
               WHERE chain_id = $1 AND token = $2 AND kind = 'redemption' AND state = 'requested'
                 AND event_block_number <= $3 FOR UPDATE""",
            self._token.chain_id,
            self._token.address,
            row.to_block,
        )
        if not final:
            return
        ids = [one["operation_id"] for one in final]
        await _move_to(connection, ids, "request_final", "its block is final")
        await self._post(connection, "escrow", Book.ESCROW, Book.OUTSTANDING, final)

    async def _finalize_endings(
        self,
        connection: Connection,
        row: FeedRow,
        event_name: str,
        waiting: str,
        ended: str,
    ) -> None:
        """Settlements burn the escrow, refunds give it back; both only once their log is final."""
        final = await connection.fetch(
            f"""SELECT o.operation_id, o.op_id, o.amount_minor, e.block_hash, e.log_index, o.chain_id
                FROM {self._token.event_table(event_name)} e
                JOIN bridge.operation o
                  ON o.redemption_id = e.id AND o.kind = 'redemption' AND o.state = $2 AND o.chain_id = $3
                WHERE e.canonical AND e.block_number <= $1 FOR UPDATE OF o""",
            row.to_block,
            waiting,
            self._token.chain_id,
        )
        if not final:
            return
        ids = [one["operation_id"] for one in final]
        if ended == "settled":
            await self._post(connection, "burned", Book.PAID, Book.ESCROW, final)
            await _match_burns(connection, final)
        else:
            await self._post(connection, "refunded", Book.OUTSTANDING, Book.ESCROW, final)
            why = "the escrow went back to the holder"
            await close_breaks_of(connection, ["payout_refused"], ids, why)
        await _move_to(connection, ids, ended, f"{event_name} is final")

    async def _post(
        self,
        connection: Connection,
        what: str,
        from_book: Book,
        to_book: Book,
        operations: Sequence[asyncpg.Record],
    ) -> None:
        """The amounts of operations, each under a key of its own."""
        transfers = [
            Transfer(
                f"{what}:{one['operation_id']}",
                move(from_book, to_book, one["amount_minor"]),
                one["operation_id"],
            )
            for one in operations
        ]
        await ledger.post(connection, self._token, transfers)


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
        _match(operation, event, "op_id", operation["entry_id"]) for operation, event in minted
    ]
    await open_matches(connection, matches)
    log.info("mints_mined", operations=len(minted), block=minted[-1][1]["block_number"])


async def consumed_finality(connection: Connection | asyncpg.Pool, token: Token) -> BlockRef | None:
    """The newest finalized block up to which the bridge has acted on everything; None before the first."""
    row = await connection.fetchrow(
        """SELECT final.number, final.hash FROM chain.consumer c
           JOIN chain.source s ON s.chain_id = c.chain_id AND s.name = $3 AND s.version = 1 AND s.joined_seq <= c.seq
           CROSS JOIN LATERAL (
               (SELECT f.seq, f.to_block AS number, f.block_hash AS hash FROM chain.feed f
                WHERE f.chain_id = c.chain_id AND f.op = 'finalize' AND f.seq <= c.seq ORDER BY f.seq DESC LIMIT 1)
               UNION ALL
               (SELECT n.seq, n.finalized_number, n.finalized_hash FROM chain.snapshot n
                WHERE n.chain_id = c.chain_id AND n.seq <= c.seq ORDER BY n.seq DESC LIMIT 1)) AS final
           WHERE c.chain_id = $1 AND c.name = $2 ORDER BY final.seq DESC LIMIT 1""",
        token.chain_id,
        CONSUMER,
        token.contract_name,
    )
    return None if row is None else BlockRef(row["number"], row["hash"])


async def _is_our_key(connection: Connection, token: Token, mint: asyncpg.Record) -> bool:
    """Whether a key of ours minted; of a plain token, which does not say whose it was, that it may have."""
    if token.kind == "plain":
        return True
    ours: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM bridge.signer WHERE address = $1)", mint["minter"]
    )
    return ours


async def _source(connection: Connection, token: Token) -> asyncpg.Record | None:
    """The token's source; None before the follower has opened the chain's cursor: there is no feed yet."""
    return await connection.fetchrow(
        """SELECT s.source_id, s.joined_seq FROM chain.source s JOIN chain.cursor c USING (chain_id)
           WHERE s.chain_id = $1 AND s.name = $2 AND s.version = 1""",
        token.chain_id,
        token.contract_name,
    )


async def _is_final(connection: Connection, token: Token, row: FeedRow) -> bool:
    """Whether the row's one block was final by what the feed had told before it. What has become final since says
    nothing of it: another block may stand at its height by now, and a later row will tell what is final; until then
    the proof is of the block that was told."""
    final: bool = await connection.fetchval(
        """SELECT coalesce($3 <= greatest(
               (SELECT f.to_block FROM chain.feed f WHERE f.chain_id = $1 AND f.op = 'finalize' AND f.seq < $2
                ORDER BY f.seq DESC LIMIT 1),
               (SELECT n.finalized_number FROM chain.snapshot n WHERE n.chain_id = $1 AND n.seq <= $2
                ORDER BY n.seq DESC LIMIT 1)), false)""",
        token.chain_id,
        row.seq,
        row.to_block,
    )
    return final


async def _move_to(
    connection: Connection, operation_ids: Sequence[int], state: str, reason: str
) -> None:
    await connection.execute(MOVE, operation_ids, state, reason)


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


async def _match_burns(connection: Connection, burns: Sequence[asyncpg.Record]) -> None:
    """Match final burns with the debits that booked their payouts."""
    rows = await connection.fetch(BOOKED, [one["op_id"] for one in burns])
    entries = {row["op_id"]: row["entry_id"] for row in rows}
    matches = [_match(one, one, "end_to_end_id", entries[one["op_id"]]) for one in burns]
    await open_matches(connection, matches)
    await settle_matches(connection, [one["operation_id"] for one in burns])


def _match(operation: asyncpg.Record, event: asyncpg.Record, rule: Rule, entry_id: int) -> Match:
    return Match(
        operation_id=operation["operation_id"],
        rule=rule,
        entry_id=entry_id,
        chain_id=operation["chain_id"],
        block_hash=event["block_hash"],
        log_index=event["log_index"],
        amount_minor=operation["amount_minor"],
    )
