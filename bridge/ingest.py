"""What the bank sends becomes entries, and booked entries become operations. One idempotent path for all channels.

``receive`` only keeps the bytes; ``Ingest.step`` acts on them later, each message in one transaction,
so a kill leaves a message either untouched or wholly done.
"""

from dataclasses import dataclass
from typing import Literal

import asyncpg
import structlog

from bridge import ledger
from bridge.bank.amounts import AmountError, AmountFault
from bridge.bank.connector import BankEntry, Direction, EntryStatus, RefusedEntry
from bridge.bank.errors import BankMessageError
from bridge.bank.messages import decode_page, decode_webhook
from bridge.breaks import Break, open_break
from bridge.identity import operation_id
from bridge.ledger import Book, move
from bridge.operations import Kind
from bridge.payouts import book_payout
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

Channel = Literal["webhook", "poll"]
Receipt = Literal["new", "known", "conflict"]


async def receive(
    connection: Connection, channel: Channel, message_id: str, body: bytes
) -> Receipt:
    """Keep the bytes of a message before anything acts on them.

    ``known`` is the same message again; ``conflict`` is another body under a known id: nothing is kept of it.
    """
    added = await connection.fetchval(
        """INSERT INTO bank.raw (channel, message_id, body) VALUES ($1, $2, $3)
           ON CONFLICT (channel, message_id) DO NOTHING RETURNING raw_id""",
        channel,
        message_id,
        body,
    )
    if added is not None:
        return "new"
    same = await connection.fetchval(
        "SELECT body = $3 FROM bank.raw WHERE channel = $1 AND message_id = $2",
        channel,
        message_id,
        body,
    )
    return "known" if same else "conflict"


@dataclass(frozen=True, slots=True)
class _Message:
    raw_id: int
    channel: Channel
    body: bytes


class Ingest:
    """Acts on raw messages in the order of their arrival, under the lease of role ``operate``."""

    def __init__(self, pool: asyncpg.Pool, token: Token, batch: int = 50) -> None:
        self._pool = pool
        self._token = token
        self._batch = batch

    async def step(self, fence: Fence) -> bool:
        """Act on the next messages; answers whether there were any."""
        rows = await self._pool.fetch(
            """SELECT raw_id, channel, body FROM bank.raw r
               WHERE NOT EXISTS (SELECT FROM bank.processed p WHERE p.raw_id = r.raw_id)
               ORDER BY raw_id LIMIT $1""",
            self._batch,
        )
        for row in rows:
            async with fenced(self._pool, fence) as connection:
                await self._process(connection, _Message(*row))
        return bool(rows)

    async def _process(self, connection: Connection, message: _Message) -> None:
        fault: str | None = None
        try:
            entries, refused = self._read(message)
        except BankMessageError as error:
            entries, refused, fault = (), (), str(error)[:2000]
            await open_break(
                connection,
                Break(
                    "unreadable", "warning", f"raw:{message.raw_id}", fault, raw_id=message.raw_id
                ),
            )
        for entry in entries:
            await self._record(connection, message, entry)
        for bad in refused:
            await self._refuse(
                connection,
                message,
                f"sequence-{bad.sequence}",
                bad.sequence,
                "unreadable",
                bad.fault,
            )
        await connection.execute(
            "INSERT INTO bank.processed (raw_id, fault) VALUES ($1, $2)", message.raw_id, fault
        )
        await self._advance_cursor(connection)

    def _read(self, message: _Message) -> tuple[tuple[BankEntry, ...], tuple[RefusedEntry, ...]]:
        if message.channel == "webhook":
            return (decode_webhook(message.body),), ()
        page = decode_page(message.body, self._token.account_id, 0)
        return page.entries, page.refused

    async def _record(self, connection: Connection, message: _Message, entry: BankEntry) -> None:
        if entry.account_id != self._token.account_id:
            await self._refuse(
                connection,
                message,
                entry.entry_key,
                None,
                "unreadable",
                f"account {entry.account_id} is not ours",
            )
            return
        try:
            amount_minor = entry.amount_minor(self._token.decimals)
        except AmountError as error:
            kind = "unreadable" if error.fault is AmountFault.NOT_NUMERIC else "amount"
            await self._refuse(
                connection, message, entry.entry_key, entry.sequence, kind, str(error)
            )
            return
        if entry.currency != self._token.currency:
            await self._refuse(
                connection,
                message,
                entry.entry_key,
                entry.sequence,
                "currency",
                f"currency {entry.currency[:16]!r} is not the account's {self._token.currency}",
            )
            return
        entry_id = await _insert_entry(connection, entry, amount_minor)
        if entry_id is None:
            await self._observe_again(connection, message, entry, amount_minor)
            return
        await _observe(
            connection, message.raw_id, entry.account_id, entry.entry_key, entry.sequence, entry_id
        )
        if entry.status is EntryStatus.BOOKED:
            await self._book(connection, entry, entry_id, amount_minor)

    async def _observe_again(
        self, connection: Connection, message: _Message, entry: BankEntry, amount_minor: int
    ) -> None:
        """The same entry through another channel is one entry; one that changed is a break."""
        known = await connection.fetchrow(
            """SELECT entry_id, direction, amount_minor, sequence, coalesce(end_to_end_id, '') AS end_to_end_id
               FROM bank.entry WHERE account_id = $1 AND entry_key = $2 AND status = $3""",
            entry.account_id,
            entry.entry_key,
            entry.status,
        )
        if known is None:
            await self._refuse(
                connection,
                message,
                entry.entry_key,
                entry.sequence,
                "duplicate",
                f"sequence {entry.sequence} belongs to another entry already",
            )
            return
        await _observe(
            connection,
            message.raw_id,
            entry.account_id,
            entry.entry_key,
            entry.sequence,
            known["entry_id"],
        )
        seen = (entry.direction, amount_minor, entry.sequence, entry.end_to_end_id or "")
        if tuple(known)[1:] != seen:
            await open_break(
                connection,
                Break(
                    "duplicate",
                    "critical",
                    f"entry:{entry.entry_key}",
                    "the bank now shows this entry with another amount, direction, sequence or payment id",
                    entry_id=known["entry_id"],
                    raw_id=message.raw_id,
                ),
            )

    async def _book(
        self, connection: Connection, entry: BankEntry, entry_id: int, amount_minor: int
    ) -> None:
        if entry.direction is Direction.DEBIT:
            if not await book_payout(
                connection, self._token, entry.end_to_end_id, entry_id, amount_minor
            ):
                await ledger.post(
                    connection,
                    self._token,
                    f"debit:{entry_id}",
                    move(Book.RESERVE, Book.SUSPENSE, amount_minor),
                    entry_id=entry_id,
                )
                await open_break(
                    connection,
                    Break(
                        "missing_chain",
                        "critical",
                        f"entry:{entry.entry_key}",
                        "money left the account and no payout of ours explains it",
                        entry_id=entry_id,
                    ),
                )
            return
        beneficiary = await connection.fetchrow(
            """SELECT beneficiary_id, wallet FROM bridge.beneficiary
               WHERE iban = $1 AND valid_from <= clock_timestamp()
                 AND clock_timestamp() < coalesce(valid_to, 'infinity')""",
            entry.counterparty_iban or "",
        )
        if beneficiary is None:
            await self._suspend(connection, entry, entry_id, amount_minor)
        else:
            await self._fund(connection, entry, entry_id, amount_minor, beneficiary)

    async def _suspend(
        self, connection: Connection, entry: BankEntry, entry_id: int, amount_minor: int
    ) -> None:
        await ledger.post(
            connection,
            self._token,
            f"deposit:{entry_id}",
            move(Book.SUSPENSE, Book.RESERVE, amount_minor),
            entry_id=entry_id,
        )
        await open_break(
            connection,
            Break(
                "unregistered_deposit",
                "warning",
                f"entry:{entry.entry_key}",
                "the payer's account has no registered beneficiary; the money waits in suspense",
                entry_id=entry_id,
            ),
        )

    async def _fund(
        self,
        connection: Connection,
        entry: BankEntry,
        entry_id: int,
        amount_minor: int,
        beneficiary: asyncpg.Record,
    ) -> None:
        op_id = operation_id(
            chain_id=self._token.chain_id,
            token=self._token.address,
            reserve_account=self._token.account_id,
            stable_entry_key=entry.entry_key,
            kind=Kind.ISSUANCE,
        )
        row_id = await connection.fetchval(
            """INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id, currency,
                                             amount_minor, wallet, beneficiary_id, entry_id)
               VALUES ($1, 'issuance', 'funded', 'deposit booked', $2, $3, $4, $5, $6, $7, $8, $9)
               RETURNING operation_id""",
            op_id,
            self._token.chain_id,
            self._token.address,
            self._token.account_id,
            self._token.currency,
            amount_minor,
            beneficiary["wallet"],
            beneficiary["beneficiary_id"],
            entry_id,
        )
        await ledger.post(
            connection,
            self._token,
            f"deposit:{entry_id}",
            move(Book.FUNDED, Book.RESERVE, amount_minor),
            operation_id=row_id,
            entry_id=entry_id,
        )
        log.info(
            "deposit_booked", operation_id=row_id, op_id=op_id.hex(), amount_minor=amount_minor
        )

    async def _refuse(
        self,
        connection: Connection,
        message: _Message,
        entry_key: str,
        sequence: int | None,
        kind: str,
        fault: str,
    ) -> None:
        """An entry that cannot be taken: kept as bytes and as an observation, and a break that says why."""
        await _observe(
            connection,
            message.raw_id,
            self._token.account_id,
            entry_key,
            sequence,
            None,
            fault[:2000],
        )
        await open_break(
            connection, Break(kind, "warning", f"entry:{entry_key}", fault, raw_id=message.raw_id)
        )

    async def _advance_cursor(self, connection: Connection) -> None:
        """Move the poll cursor to the end of the run of sequences that has no gap."""
        await connection.execute(
            """UPDATE bank.poll_cursor c SET sequence = run.last
               FROM (SELECT max(s.sequence) AS last
                     FROM (SELECT sequence, sequence - row_number() OVER (ORDER BY sequence) AS shift
                           FROM (SELECT DISTINCT sequence FROM bank.observation
                                 WHERE account_id = $1
                                   AND sequence > (SELECT sequence FROM bank.poll_cursor WHERE account_id = $1)
                                ) AS seen) AS s
                     WHERE s.shift = (SELECT sequence FROM bank.poll_cursor WHERE account_id = $1)) AS run
               WHERE c.account_id = $1 AND run.last IS NOT NULL""",
            self._token.account_id,
        )


async def _insert_entry(connection: Connection, entry: BankEntry, amount_minor: int) -> int | None:
    entry_id: int | None = await connection.fetchval(
        """INSERT INTO bank.entry (account_id, entry_key, status, direction, amount_minor, currency, sequence,
                                   booked_at, end_to_end_id, reference)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING entry_id""",
        entry.account_id,
        entry.entry_key,
        entry.status,
        entry.direction,
        amount_minor,
        entry.currency,
        entry.sequence,
        entry.booked_at,
        entry.end_to_end_id,
        entry.reference,
    )
    if entry_id is not None:
        await connection.execute(
            "INSERT INTO bank.entry_party (entry_id, name, iban) VALUES ($1, $2, $3)",
            entry_id,
            entry.counterparty_name,
            entry.counterparty_iban,
        )
    return entry_id


async def _observe(
    connection: Connection,
    raw_id: int,
    account_id: str,
    entry_key: str,
    sequence: int | None,
    entry_id: int | None,
    fault: str | None = None,
) -> None:
    await connection.execute(
        """INSERT INTO bank.observation (raw_id, account_id, entry_key, sequence, entry_id, fault)
           VALUES ($1, $2, $3, $4, $5, $6)""",
        raw_id,
        account_id,
        entry_key,
        sequence,
        entry_id,
        fault,
    )
