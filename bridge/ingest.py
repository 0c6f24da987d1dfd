"""What the bank sends becomes entries, and booked entries become operations. One idempotent path for all channels.

``receive`` only keeps the bytes; ``Ingest.step`` acts on them later, each message in one transaction,
so a kill leaves a message either untouched or wholly done.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from bridge import entries
from bridge.bank.amounts import AmountError, AmountFault
from bridge.bank.connector import BankEntry, EntriesPage, EntryStatus
from bridge.bank.errors import BankMessageError
from bridge.bank.messages import decode_page, decode_webhook
from bridge.booking import Booked, book
from bridge.breaks import Break, close_breaks, open_break
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

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

    def place(self, sequence: int | None) -> int | None:
        """The place that a faulty entry takes up: only the poll's word counts, as it shows them all."""
        return sequence if self.channel == "poll" else None


class Ingest:
    """Acts on raw messages in the order of their arrival, under the lease of role ``operate``."""

    def __init__(self, pool: asyncpg.Pool, token: Token, batch: int = 50) -> None:
        self._pool = pool
        self._token = token
        self._batch = batch

    async def step(self, fence: Fence) -> bool:
        """Act on the next messages; answers whether there were any."""
        rows = await self._pool.fetch(
            """SELECT raw_id, channel, body FROM (SELECT raw_id FROM bank.waiting ORDER BY raw_id LIMIT $1) AS next
               JOIN bank.raw USING (raw_id) ORDER BY raw_id""",
            self._batch,
        )
        for row in rows:
            async with fenced(self._pool, fence) as connection:
                await self._process(connection, _Message(*row))
        return bool(rows)

    async def _process(self, connection: Connection, message: _Message) -> None:
        fault: str | None = None
        try:
            if message.channel == "webhook":
                await self._record(connection, message, decode_webhook(message.body))
            else:
                page = decode_page(message.body, self._token.account_id, 0)
                await self._record_page(connection, message, page)
        except BankMessageError as error:
            fault = str(error)[:2000]
            await open_break(
                connection,
                Break(
                    "unreadable", "warning", f"raw:{message.raw_id}", fault, raw_id=message.raw_id
                ),
            )
        await connection.execute(
            "INSERT INTO bank.processed (raw_id, fault) VALUES ($1, $2)", message.raw_id, fault
        )
        await entries.advance(connection, self._token.account_id)

    async def _record_page(
        self, connection: Connection, message: _Message, page: EntriesPage
    ) -> None:
        for entry in await self._not_seen_so(connection, message, page.entries):
            await self._record(connection, message, entry)
        for bad in page.refused:
            name = f"raw:{message.raw_id}" if bad.sequence is None else f"sequence-{bad.sequence}"
            await self._refuse(connection, message, name, bad.sequence, "unreadable", bad.fault)
        nameless = sum(bad.sequence is None for bad in page.refused)
        await entries.account_for_gaps(
            connection, message.raw_id, self._token.account_id, page.next_after, nameless
        )

    async def _not_seen_so(
        self, connection: Connection, message: _Message, shown: Sequence[BankEntry]
    ) -> list[BankEntry]:
        """Those that are not recorded just as the page shows them. The others are only observed, all at once: webhooks
        have mostly been quicker."""
        keys = [one.entry_key for one in shown]
        known = await entries.known(connection, self._token.account_id, keys)
        rest: list[BankEntry] = []
        again: list[tuple[BankEntry, int]] = []
        for one in shown:
            amount_minor, before = self._judge(one), known.get((one.entry_key, one.status))
            if (
                isinstance(amount_minor, _Fault)
                or before is None
                or not before.is_shown_by(one, amount_minor)
            ):
                rest.append(one)
            else:
                again.append((one, before.entry_id))
        if again:
            await entries.observe_again(connection, message.raw_id, self._token.account_id, again)
        return rest

    async def _record(self, connection: Connection, message: _Message, entry: BankEntry) -> None:
        amount_minor = self._judge(entry)
        if isinstance(amount_minor, _Fault):
            place = entry.sequence if entry.account_id == self._token.account_id else None
            await self._refuse(
                connection, message, entry.entry_key, place, amount_minor.kind, amount_minor.detail
            )
            return
        entry_id = await entries.insert(connection, entry, amount_minor)
        if entry_id is None:
            await self._record_again(connection, message, entry, amount_minor)
            return
        await self._observe(connection, message, entry, entry_id)
        await close_breaks(
            connection,
            ["amount", "currency", "unreadable"],
            f"entry:{entry.entry_key}",
            "the bank has shown it right",
        )
        if entry.status is EntryStatus.BOOKED:
            await book(connection, self._token, Booked(entry, entry_id, amount_minor))

    def _judge(self, entry: BankEntry) -> "int | _Fault":
        """The amount in minor units, or why the entry cannot be taken."""
        if entry.account_id != self._token.account_id:
            return _Fault("unreadable", f"account {entry.account_id} is not ours")
        try:
            amount_minor = entry.amount_minor(self._token.decimals)
        except AmountError as error:
            kind = "unreadable" if error.fault is AmountFault.NOT_NUMERIC else "amount"
            return _Fault(kind, str(error))
        if entry.currency != self._token.currency:
            return _Fault(
                "currency",
                f"currency {entry.currency[:16]!r} is not the account's {self._token.currency}",
            )
        return amount_minor

    async def _record_again(
        self, connection: Connection, message: _Message, entry: BankEntry, amount_minor: int
    ) -> None:
        """The same entry through another channel is one entry; one that changed is a break."""
        found = await entries.known(connection, entry.account_id, [entry.entry_key])
        known = found.get((entry.entry_key, entry.status))
        if known is None:
            detail = f"sequence {entry.sequence} belongs to another entry already"
            await self._refuse(connection, message, entry.entry_key, None, "duplicate", detail)
            return
        await self._observe(connection, message, entry, known.entry_id)
        if not known.is_shown_by(entry, amount_minor):
            await open_break(
                connection,
                Break(
                    "duplicate",
                    "critical",
                    f"entry:{entry.entry_key}",
                    "the bank now shows this entry with another amount, direction, sequence or payment id",
                    entry_id=known.entry_id,
                    raw_id=message.raw_id,
                ),
            )

    async def _observe(
        self, connection: Connection, message: _Message, entry: BankEntry, entry_id: int
    ) -> None:
        place = entries.place_of(entry)
        await entries.observe(
            connection, message.raw_id, entry.account_id, entry.entry_key, place, entry_id=entry_id
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
        await entries.observe(
            connection,
            message.raw_id,
            self._token.account_id,
            entry_key,
            message.place(sequence),
            fault=fault[:2000],
        )
        await open_break(
            connection, Break(kind, "warning", f"entry:{entry_key}", fault, raw_id=message.raw_id)
        )


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: str
    detail: str
