"""What the chain shows of redemptions: requests, and how they end; endings by others raise an alarm."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from bridge import ledger
from bridge.alarm import raise_alarm
from bridge.breaks import close_breaks_of
from bridge.identity import operation_id
from bridge.ledger import Book, Transfer, move
from bridge.matches import match, open_matches, settle_matches
from bridge.operations import Kind
from bridge.token import Token
from bridge.token_events import told_of
from indexer.database import Connection
from indexer.feed import FeedRow

MAX_AMOUNT_MINOR: Final = 2**63 - 1

MOVE = "UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = ANY ($1)"
BOOKED = """
    SELECT op_id, entry_id FROM bank.payout_attempt WHERE op_id = ANY ($1) AND state = 'booked'"""


class Redemptions:
    """Of one deposit token; each method in the observer's transaction."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def see(self, connection: Connection, row: FeedRow) -> None:
        """Blocks were applied: requests are born, and endings are those that were waited for, or an alarm."""
        await self._see_requests(connection, row)
        await self._see_endings(connection, row)

    async def finalize(self, connection: Connection, to_block: int) -> None:
        """Requests up to this block may be paid; endings up to it are settled."""
        await self._finalize_requests(connection, to_block)
        await self._finalize_endings(connection, to_block, "redeem_settled", "burning", "settled")
        await self._finalize_endings(
            connection, to_block, "redeem_rejected", "rejecting", "refunded"
        )

    async def _see_requests(self, connection: Connection, row: FeedRow) -> None:
        for event in await told_of(connection, self._token, "redeem_requested", row):
            if not 0 < event["amount"] <= MAX_AMOUNT_MINOR:
                await raise_alarm(
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
            for event in await told_of(connection, self._token, event_name, row):
                ours = await connection.fetchval(
                    """SELECT EXISTS (SELECT FROM bridge.operation o
                       JOIN bridge.tx_operation l USING (op_id) JOIN bridge.tx_attempt a USING (tx_id)
                       WHERE o.redemption_id = $1 AND o.state = $2 AND a.hash = $3)""",
                    event["id"],
                    state,
                    event["tx_hash"],
                )
                if not ours:
                    await raise_alarm(
                        connection,
                        "missing_bank",
                        event,
                        f"{event_name} of 0x{event['id'].hex()} was not sent by this journal",
                        "money",
                    )

    async def _finalize_requests(self, connection: Connection, to_block: int) -> None:
        final = await connection.fetch(
            """SELECT operation_id, amount_minor FROM bridge.operation
               WHERE chain_id = $1 AND token = $2 AND kind = 'redemption' AND state = 'requested'
                 AND event_block_number <= $3 FOR UPDATE""",
            self._token.chain_id,
            self._token.address,
            to_block,
        )
        if not final:
            return
        ids = [one["operation_id"] for one in final]
        await connection.execute(MOVE, ids, "request_final", "its block is final")
        await self._post(connection, "escrow", Book.ESCROW, Book.OUTSTANDING, final)

    async def _finalize_endings(
        self,
        connection: Connection,
        to_block: int,
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
            to_block,
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
        await connection.execute(MOVE, ids, ended, f"{event_name} is final")

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


async def _match_burns(connection: Connection, burns: Sequence[asyncpg.Record]) -> None:
    """Match final burns with the debits that booked their payouts."""
    rows = await connection.fetch(BOOKED, [one["op_id"] for one in burns])
    entries = {row["op_id"]: row["entry_id"] for row in rows}
    matches = [match(one, one, "end_to_end_id", entries[one["op_id"]]) for one in burns]
    await open_matches(connection, matches)
    await settle_matches(connection, [one["operation_id"] for one in burns])
