"""The bank's books in SQLite: one account, its entries, its payments. One writer, no network.

Every method is one transaction. SQLite is called on the event loop's thread on purpose: the
statements are small and local, and nothing can then come between reading a balance and using it.
"""

import sqlite3
from dataclasses import dataclass, replace

from simbank.money import to_text
from simbank.records import Account, Counterparty, Entry, Order, Payment

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    account_id TEXT PRIMARY KEY,
    currency   TEXT NOT NULL,
    exponent   INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    sequence      INTEGER PRIMARY KEY,
    entry_key     TEXT NOT NULL UNIQUE,
    direction     TEXT NOT NULL CHECK (direction IN ('credit', 'debit')),
    value_minor   INTEGER NOT NULL CHECK (value_minor >= 0),
    amount        TEXT NOT NULL,
    currency      TEXT NOT NULL,
    booked_at_s   REAL NOT NULL,
    end_to_end_id TEXT UNIQUE,
    reference     TEXT NOT NULL,
    name          TEXT NOT NULL,
    iban          TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS payment (
    end_to_end_id TEXT PRIMARY KEY,
    amount_minor  INTEGER NOT NULL CHECK (amount_minor > 0),
    name          TEXT NOT NULL,
    iban          TEXT NOT NULL,
    expires_at_s  REAL NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('accepted', 'rejected', 'booked')),
    reason        TEXT,
    entry_key     TEXT REFERENCES entry (entry_key),
    visible_at_s  REAL NOT NULL,
    due_at_s      REAL NOT NULL,
    late_reason   TEXT,
    CHECK ((state = 'rejected') = (reason IS NOT NULL)),
    CHECK ((state = 'booked') = (entry_key IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS payment_due ON payment (due_at_s) WHERE state = 'accepted';
"""

_ENTRY_COLUMNS = (
    "sequence, entry_key, direction, amount, currency, booked_at_s, end_to_end_id, reference, "
    "name, iban"
)
_PAYMENT_COLUMNS = (
    "end_to_end_id, amount_minor, name, iban, expires_at_s, state, reason, entry_key, "
    "visible_at_s, due_at_s, late_reason"
)


class BooksMismatch(Exception):
    """The books on disk are those of another account."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The balance right after the entry `last_sequence`, and what accepted payments will take."""

    balance_minor: int
    last_sequence: int
    reserved_minor: int

    @property
    def available_minor(self) -> int:
        return self.balance_minor - self.reserved_minor


class Books:
    """Opens (or creates) the books at `path`; None keeps them in memory. Raises BooksMismatch."""

    def __init__(self, path: str | None, account: Account) -> None:
        self.account = account
        self._db = sqlite3.connect(path or ":memory:")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)
        self._adopt(account)

    def close(self) -> None:
        self._db.close()

    def credit(
        self, amount_minor: int, reference: str, counterparty: Counterparty, now_s: float
    ) -> Entry:
        """Book money in."""
        amount = to_text(amount_minor, self.account.exponent)
        currency = self.account.currency
        with self._db:
            entry = self._next_entry("credit", amount, currency, now_s, counterparty)
            return self._insert(replace(entry, reference=reference), amount_minor)

    def credit_rubbish(
        self, amount: str, currency: str, reference: str, counterparty: Counterparty, now_s: float
    ) -> Entry:
        """List a credit with the very texts given; worth nothing in the balance (suspense)."""
        with self._db:
            entry = self._next_entry("credit", amount, currency, now_s, counterparty)
            return self._insert(replace(entry, reference=reference), value_minor=0)

    def keep_payment(self, payment: Payment) -> None:
        """Store a payment that was just accepted or rejected."""
        order = payment.order
        with self._db:
            self._db.execute(
                f"INSERT INTO payment ({_PAYMENT_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    order.end_to_end_id,
                    order.amount_minor,
                    order.creditor.name,
                    order.creditor.iban,
                    order.expires_at_s,
                    payment.state,
                    payment.reason,
                    payment.entry_key,
                    payment.visible_at_s,
                    payment.due_at_s,
                    payment.late_reason,
                ),
            )

    def book_payment(self, payment: Payment, now_s: float) -> Entry:
        """Turn an accepted payment into its debit entry."""
        order = payment.order
        amount = to_text(order.amount_minor, self.account.exponent)
        with self._db:
            entry = self._next_entry("debit", amount, self.account.currency, now_s, order.creditor)
            entry = self._insert(
                replace(entry, end_to_end_id=order.end_to_end_id), order.amount_minor
            )
            self._db.execute(
                "UPDATE payment SET state = 'booked', entry_key = ? "
                "WHERE end_to_end_id = ? AND state = 'accepted'",
                (entry.entry_key, order.end_to_end_id),
            )
        return entry

    def refuse_payment(self, payment: Payment, reason: str) -> None:
        """Refuse a payment that had been accepted."""
        with self._db:
            self._db.execute(
                "UPDATE payment SET state = 'rejected', reason = ? "
                "WHERE end_to_end_id = ? AND state = 'accepted'",
                (reason, payment.order.end_to_end_id),
            )

    def payment(self, end_to_end_id: str) -> Payment | None:
        row = self._db.execute(
            f"SELECT {_PAYMENT_COLUMNS} FROM payment WHERE end_to_end_id = ?",
            (end_to_end_id,),
        ).fetchone()
        return None if row is None else _payment(row)

    def due_payments(self, now_s: float, limit: int) -> list[Payment]:
        """Accepted payments whose time has come, oldest first."""
        rows = self._db.execute(
            f"SELECT {_PAYMENT_COLUMNS} FROM payment "
            "WHERE state = 'accepted' AND due_at_s <= ? ORDER BY due_at_s LIMIT ?",
            (now_s, limit),
        ).fetchall()
        return [_payment(row) for row in rows]

    def next_due_at_s(self) -> float | None:
        """When the next accepted payment is to be settled."""
        row = self._db.execute(
            "SELECT min(due_at_s) FROM payment WHERE state = 'accepted'"
        ).fetchone()
        return None if row[0] is None else float(row[0])

    def entries(self, after: int, limit: int) -> list[Entry]:
        """Entries with a sequence above `after`, ascending."""
        rows = self._db.execute(
            f"SELECT {_ENTRY_COLUMNS} FROM entry WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, limit),
        ).fetchall()
        return [_entry(row) for row in rows]

    def cut(self) -> Cut:
        """One statement, so balance and last sequence are of the same moment."""
        row = self._db.execute(
            """
            SELECT coalesce(sum(CASE direction WHEN 'credit' THEN value_minor
                                               ELSE -value_minor END), 0),
                   coalesce(max(sequence), 0),
                   (SELECT coalesce(sum(amount_minor), 0) FROM payment WHERE state = 'accepted')
            FROM entry
            """
        ).fetchone()
        return Cut(*row)

    def counts(self) -> dict[str, int]:
        """Entries by direction, payments by state."""
        rows = self._db.execute(
            "SELECT direction, count(*) FROM entry GROUP BY 1 "
            "UNION ALL SELECT state, count(*) FROM payment GROUP BY 1"
        ).fetchall()
        names = ("credit", "debit", "accepted", "rejected", "booked")
        return dict.fromkeys(names, 0) | dict(rows)

    def _adopt(self, account: Account) -> None:
        """The first start writes the account; a later one must name the same."""
        row = self._db.execute("SELECT account_id, currency, exponent FROM account").fetchone()
        if row is None:
            with self._db:
                self._db.execute(
                    "INSERT INTO account VALUES (?, ?, ?)",
                    (account.account_id, account.currency, account.exponent),
                )
        elif Account(*row) != account:
            raise BooksMismatch(
                f"these books are of {row[0]} in {row[1]} with {row[2]} decimals; "
                "start with the same --account, --currency and --exponent, or with other --books"
            )

    def _next_entry(
        self, direction: str, amount: str, currency: str, now_s: float, counterparty: Counterparty
    ) -> Entry:
        """An entry with the next sequence; none is ever deleted, so there are no gaps."""
        row = self._db.execute("SELECT coalesce(max(sequence), 0) + 1 FROM entry").fetchone()
        sequence: int = row[0]
        return Entry(
            sequence=sequence,
            entry_key=f"E-{sequence:06d}",
            direction=direction,
            amount=amount,
            currency=currency,
            booked_at_s=now_s,
            end_to_end_id=None,
            reference="",
            counterparty=counterparty,
        )

    def _insert(self, entry: Entry, value_minor: int) -> Entry:
        self._db.execute(
            f"INSERT INTO entry ({_ENTRY_COLUMNS}, value_minor) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                entry.sequence,
                entry.entry_key,
                entry.direction,
                entry.amount,
                entry.currency,
                entry.booked_at_s,
                entry.end_to_end_id,
                entry.reference,
                entry.counterparty.name,
                entry.counterparty.iban,
                value_minor,
            ),
        )
        return entry


def _entry(row: tuple[int, str, str, str, str, float, str | None, str, str, str]) -> Entry:
    return Entry(*row[:8], counterparty=Counterparty(*row[8:]))


def _payment(
    row: tuple[str, int, str, str, float, str, str | None, str | None, float, float, str | None],
) -> Payment:
    end_to_end_id, amount_minor, name, iban, expires_at_s = row[:5]
    order = Order(end_to_end_id, amount_minor, Counterparty(name, iban), expires_at_s)
    return Payment(order, *row[5:])
