"""Writes what the bank showed: entries, once each; observations, each time; and how far we have read.

An observation with a sequence says that this place in the account's numbering has been read, by
whichever channel; the poll goes on from the end of the run that has no gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridge.bank.connector import BankEntry, EntryStatus
from bridge.bank.sequences import gaps
from bridge.breaks import Break, close_breaks, open_break
from indexer.database import Connection

KNOWN: Final = """
    SELECT entry_key, status, entry_id, direction, amount_minor, sequence, coalesce(end_to_end_id, '') AS end_to_end_id
    FROM bank.entry WHERE account_id = $1 AND entry_key = ANY ($2)"""
OBSERVE_AGAIN: Final = """
    INSERT INTO bank.observation (raw_id, account_id, entry_key, sequence, entry_id)
    SELECT $1, $2, s.* FROM unnest($3::text[], $4::bigint[], $5::bigint[]) AS s (entry_key, sequence, entry_id)"""


@dataclass(frozen=True, slots=True)
class Known:
    """An entry as it was recorded, its amount in minor units."""

    entry_id: int
    direction: str
    amount_minor: int
    sequence: int | None
    end_to_end_id: str

    def is_shown_by(self, entry: BankEntry, amount_minor: int) -> bool:
        """Whether a message shows it as it was recorded."""
        return (self.direction, self.amount_minor, self.sequence, self.end_to_end_id) == (
            entry.direction,
            amount_minor,
            entry.sequence,
            entry.end_to_end_id or "",
        )


async def insert(connection: Connection, entry: BankEntry, amount_minor: int) -> int | None:
    """A new entry's id; None if its key, or its place in the numbering, is taken already."""
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


async def observe(
    connection: Connection,
    raw_id: int,
    account_id: str,
    entry_key: str,
    sequence: int | None,
    *,
    entry_id: int | None = None,
    fault: str | None = None,
) -> None:
    """Keep that a message showed an entry, or why it could not become one."""
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


async def known(
    connection: Connection, account_id: str, entry_keys: Sequence[str]
) -> dict[tuple[str, str], Known]:
    """What was recorded under these keys, by key and status."""
    rows = await connection.fetch(KNOWN, account_id, entry_keys)
    return {
        (row["entry_key"], row["status"]): Known(
            row["entry_id"],
            row["direction"],
            row["amount_minor"],
            row["sequence"],
            row["end_to_end_id"],
        )
        for row in rows
    }


async def observe_again(
    connection: Connection, raw_id: int, account_id: str, seen: Sequence[tuple[BankEntry, int]]
) -> None:
    """Keep that a message showed entries that are known by their ids, as :func:`observe` does for one."""
    await connection.execute(
        OBSERVE_AGAIN,
        raw_id,
        account_id,
        [entry.entry_key for entry, _ in seen],
        [place_of(entry) for entry, _ in seen],
        [entry_id for _, entry_id in seen],
    )


def place_of(entry: BankEntry) -> int | None:
    """A pending entry takes up no place: it is asked for again until it is booked."""
    return entry.sequence if entry.status is EntryStatus.BOOKED else None


async def account_for_gaps(
    connection: Connection, raw_id: int, account_id: str, through: int, nameless: int
) -> None:
    """Account for every place up to ``through``, the bank's own word of how far its page reaches.

    Places that stay empty are those of the page's ``nameless`` entries, whose sequence could not be
    read; if there are more of them, the bank left some out, and a break says which.
    """
    after = await connection.fetchval(
        "SELECT sequence FROM bank.poll_cursor WHERE account_id = $1", account_id
    )
    seen = await connection.fetch(
        """SELECT sequence FROM bank.observation WHERE account_id = $1 AND sequence > $2 AND sequence <= $3
           UNION SELECT sequence FROM bank.entry WHERE account_id = $1 AND sequence > $2 AND sequence <= $3""",
        account_id,
        after,
        through,
    )
    found = gaps(after, (row["sequence"] for row in seen), through)
    if sum(last - first + 1 for first, last in found) <= nameless:
        for first, last in found:
            for sequence in range(first, last + 1):
                await observe(
                    connection,
                    raw_id,
                    account_id,
                    f"sequence-{sequence}",
                    sequence,
                    fault="an entry of this page could not be read",
                )
        return
    for first, last in found:
        await open_break(
            connection,
            Break(
                "statement_gap",
                "critical",
                f"sequence:{first}",
                f"the bank leaves out entries {first} to {last} of account {account_id}; the poll waits for them",
                raw_id=raw_id,
            ),
        )


async def advance(connection: Connection, account_id: str) -> None:
    """Move the poll cursor to the end of the run without a gap, and close the gaps that it has passed."""
    cursor = await connection.fetchval(
        """UPDATE bank.poll_cursor c SET sequence = run.last
           FROM (SELECT max(s.sequence) AS last
                 FROM (SELECT sequence, sequence - row_number() OVER (ORDER BY sequence) AS shift
                       FROM (SELECT DISTINCT sequence FROM bank.observation
                             WHERE account_id = $1
                               AND sequence > (SELECT sequence FROM bank.poll_cursor WHERE account_id = $1)
                            ) AS seen) AS s
                 WHERE s.shift = (SELECT sequence FROM bank.poll_cursor WHERE account_id = $1)) AS run
           WHERE c.account_id = $1 AND run.last IS NOT NULL RETURNING c.sequence""",
        account_id,
    )
    if cursor is None:
        return
    waiting = await connection.fetch(
        "SELECT subject FROM recon.break WHERE kind = 'statement_gap' AND closed_at IS NULL"
    )
    for row in waiting:
        if int(row["subject"].removeprefix("sequence:")) <= cursor:
            await close_breaks(
                connection, ["statement_gap"], row["subject"], "the entries have arrived"
            )
