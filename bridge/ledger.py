"""Writes the double-entry ledger. Assets are positive, liabilities negative; amounts in minor units.

The accounts of a token: ``reserve`` (what the bank holds), ``funded`` (booked, not yet minted),
``outstanding`` (minted, in circulation), ``escrow`` (minted, waiting to be redeemed), ``paid`` (paid
out, not yet burned), ``unpaid`` (burned, and owed), ``suspense`` (nobody's yet), ``fees``,
``deficit`` (minted, and the deposit taken back).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bridge.proof import Books
from bridge.token import Token
from indexer.database import Connection

WRITE = """
    WITH made AS (
        INSERT INTO ledger.transfer (key, phase, operation_id, entry_id, resolves_id)
        SELECT t.key, $1, t.operation_id, t.entry_id, t.resolves_id
        FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS t (key, operation_id, entry_id, resolves_id)
        RETURNING transfer_id, key)
    INSERT INTO ledger.posting (transfer_id, account, amount_minor)
    SELECT made.transfer_id, l.account, l.amount_minor
    FROM unnest($6::text[], $7::text[], $8::bigint[]) AS l (key, account, amount_minor) JOIN made USING (key)"""
HELD = """
    SELECT t.operation_id, t.transfer_id FROM ledger.transfer t
    WHERE t.operation_id = ANY ($1) AND t.phase = 'pending'
      AND NOT EXISTS (SELECT FROM ledger.transfer r WHERE r.resolves_id = t.transfer_id)"""
NOT_HELD = """
    SELECT o.operation_id, count(t.transfer_id) AS times_held
    FROM unnest($1::bigint[]) AS o (operation_id)
    LEFT JOIN ledger.transfer t ON t.operation_id = o.operation_id AND t.phase = 'pending'
    LEFT JOIN ledger.transfer r ON r.resolves_id = t.transfer_id
    GROUP BY o.operation_id HAVING count(t.transfer_id) = count(r.transfer_id)"""


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


@dataclass(frozen=True, slots=True)
class Transfer:
    """``key`` says what happened; a second transfer with that key is refused. ``lines`` are in minor units and sum to
    zero."""

    key: str
    lines: Mapping[Book, int]
    operation_id: int | None = None
    entry_id: int | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What is, or shall be, held for an operation."""

    operation_id: int
    lines: Mapping[Book, int]


async def post(connection: Connection, token: Token, transfers: Sequence[Transfer]) -> None:
    """Post transfers, all in one statement."""
    await _write(connection, token, "post", transfers, [None] * len(transfers))


async def hold(connection: Connection, token: Token, holds: Sequence[Held]) -> None:
    """Hold amounts for operations; kept, not doubled, where they are held already."""
    rows = await connection.fetch(NOT_HELD, [one.operation_id for one in holds])
    times_held = {row["operation_id"]: row["times_held"] for row in rows}
    transfers = [
        Transfer(
            f"hold:{one.operation_id}:{times_held[one.operation_id] + 1}",
            one.lines,
            one.operation_id,
        )
        for one in holds
        if one.operation_id in times_held
    ]
    await _write(connection, token, "pending", transfers, [None] * len(transfers))


async def post_held(connection: Connection, token: Token, holds: Sequence[Held]) -> None:
    """Turn what is held into posted transfers; raises if nothing is held for one of them."""
    rows = await connection.fetch(HELD, [one.operation_id for one in holds])
    held = {row["operation_id"]: row["transfer_id"] for row in rows}
    for one in holds:
        if one.operation_id not in held:
            raise LookupError(f"operation {one.operation_id} holds nothing in the ledger")
    await _write(
        connection,
        token,
        "post",
        [Transfer(f"minted:{one.operation_id}", one.lines, one.operation_id) for one in holds],
        [held[one.operation_id] for one in holds],
    )


async def release(connection: Connection, token: Token, operation_ids: Sequence[int]) -> None:
    """Give the holds of operations up, where they have one: nothing will come of them."""
    held = await connection.fetch(HELD, operation_ids)
    transfers = [
        Transfer(f"released:{row['operation_id']}", {}, row["operation_id"]) for row in held
    ]
    await _write(connection, token, "void", transfers, [row["transfer_id"] for row in held])


async def fold(connection: Connection) -> None:
    """Put the changes since the last time into the balances that the next ones are counted from."""
    await connection.execute("SELECT ledger.fold_balances()")


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


async def _write(
    connection: Connection,
    token: Token,
    phase: str,
    transfers: Sequence[Transfer],
    resolves: Sequence[int | None],
) -> None:
    lines = [
        (one.key, code(token, book), amount)
        for one in transfers
        for book, amount in one.lines.items()
    ]
    await connection.execute(
        WRITE,
        phase,
        [one.key for one in transfers],
        [one.operation_id for one in transfers],
        [one.entry_id for one in transfers],
        resolves,
        *([line[place] for line in lines] for place in range(3)),
    )
