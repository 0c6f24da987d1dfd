"""Writes the double-entry ledger. Assets are positive, liabilities negative; amounts in minor units.

The accounts of a token: ``reserve`` (what the bank holds), ``funded`` (booked, not yet minted),
``outstanding`` (minted, in circulation), ``escrow`` (minted, waiting to be redeemed), ``paid`` (paid
out, not yet burned), ``unpaid`` (burned, and owed), ``suspense`` (nobody's yet), ``fees``,
``deficit`` (minted, and the deposit taken back).
"""

from collections.abc import Mapping
from enum import StrEnum

from bridge.proof import Books
from bridge.token import Token
from indexer.database import Connection


class Book(StrEnum):
    """The role of an account in the books of one token."""

    RESERVE = "reserve"
    FUNDED = "funded"
    OUTSTANDING = "outstanding"
    ESCROW = "escrow"
    PAID = "paid"
    UNPAID = "unpaid"
    SUSPENSE = "suspense"
    FEES = "fees"
    DEFICIT = "deficit"


def code(token: Token, book: Book) -> str:
    """The ledger's name of an account, such as ``reserve:DE89:EUR``."""
    return f"{book}:{token.account_id}:{token.currency}"


def move(from_book: Book, to_book: Book, amount_minor: int) -> dict[Book, int]:
    """Two balancing lines: ``to_book`` rises by the amount, ``from_book`` falls."""
    return {from_book: -amount_minor, to_book: amount_minor}


async def open_accounts(connection: Connection, token: Token) -> None:
    """Open the token's accounts where they are not open yet."""
    await connection.executemany(
        "INSERT INTO ledger.account (code, currency) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        [(code(token, book), token.currency) for book in Book],
    )


async def post(
    connection: Connection,
    token: Token,
    key: str,
    lines: Mapping[Book, int],
    *,
    operation_id: int | None = None,
    entry_id: int | None = None,
) -> None:
    """Post one transfer under a key that says what happened; a second one with that key is refused."""
    await _write(connection, token, key, "post", lines, operation_id, entry_id, None)


async def hold(
    connection: Connection, token: Token, operation_id: int, lines: Mapping[Book, int]
) -> None:
    """Hold an amount for an operation; kept, not doubled, where it is held already."""
    held = await _pending(connection, operation_id)
    if held is None:
        count = await connection.fetchval(
            "SELECT count(*) FROM ledger.transfer WHERE operation_id = $1 AND phase = 'pending'",
            operation_id,
        )
        await _write(
            connection,
            token,
            f"hold:{operation_id}:{count + 1}",
            "pending",
            lines,
            operation_id,
            None,
            None,
        )


async def post_hold(
    connection: Connection, token: Token, operation_id: int, lines: Mapping[Book, int]
) -> None:
    """Turn an operation's hold into a posted transfer; raises if nothing is held."""
    held = await _pending(connection, operation_id)
    if held is None:
        raise LookupError(f"operation {operation_id} holds nothing in the ledger")
    await _write(
        connection, token, f"minted:{operation_id}", "post", lines, operation_id, None, held
    )


async def books(connection: Connection, token: Token) -> Books:
    """The terms of the proof as they are posted now."""
    rows = await connection.fetch(
        "SELECT code, amount_minor FROM ledger.balance WHERE code = ANY($1)",
        [code(token, book) for book in Book],
    )
    balance = {row["code"]: row["amount_minor"] for row in rows}

    def of(book: Book) -> int:
        return int(balance[code(token, book)])

    return Books(
        reserve=of(Book.RESERVE),
        supply=-of(Book.OUTSTANDING) - of(Book.ESCROW),
        paid_not_burned=of(Book.PAID),
        burned_not_paid=-of(Book.UNPAID),
        funded_not_minted=-of(Book.FUNDED),
        suspense=-of(Book.SUSPENSE),
        fees=-of(Book.FEES),
        deficit=of(Book.DEFICIT),
    )


async def _pending(connection: Connection, operation_id: int) -> int | None:
    held: int | None = await connection.fetchval(
        """SELECT t.transfer_id FROM ledger.transfer t
           WHERE t.operation_id = $1 AND t.phase = 'pending'
             AND NOT EXISTS (SELECT FROM ledger.transfer r WHERE r.resolves_id = t.transfer_id)""",
        operation_id,
    )
    return held


async def _write(
    connection: Connection,
    token: Token,
    key: str,
    phase: str,
    lines: Mapping[Book, int],
    operation_id: int | None,
    entry_id: int | None,
    resolves_id: int | None,
) -> None:
    transfer_id = await connection.fetchval(
        """INSERT INTO ledger.transfer (key, phase, resolves_id, operation_id, entry_id)
           VALUES ($1, $2, $3, $4, $5) RETURNING transfer_id""",
        key,
        phase,
        resolves_id,
        operation_id,
        entry_id,
    )
    await connection.executemany(
        "INSERT INTO ledger.posting (transfer_id, account, amount_minor) VALUES ($1, $2, $3)",
        [(transfer_id, code(token, book), amount) for book, amount in lines.items()],
    )
