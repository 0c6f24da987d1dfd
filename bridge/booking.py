"""What a booked bank entry does: it funds a mint, books a payout, or waits in suspense with a break."""

from dataclasses import dataclass

import asyncpg
import structlog

from bridge import halts, ledger
from bridge.bank.connector import BankEntry, Direction
from bridge.breaks import Break, open_break
from bridge.identity import operation_id
from bridge.ledger import Book, Transfer, move
from bridge.operations import Kind
from bridge.payout_journal import book_payout, is_ours, may_be_paid_twice
from bridge.token import Token
from indexer.database import Connection

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Booked:
    """A booked entry as it was recorded, in minor units."""

    entry: BankEntry
    entry_id: int
    amount_minor: int

    def broken(self, kind: str, severity: str, detail: str) -> Break:
        """A break about this entry."""
        return Break(
            kind, severity, f"entry:{self.entry.entry_key}", detail, entry_id=self.entry_id
        )


async def book(connection: Connection, token: Token, booked: Booked) -> None:
    """Act on a booked entry, once, in the transaction that records it."""
    if booked.entry.direction is Direction.DEBIT:
        await _book_debit(connection, token, booked)
    else:
        await _book_credit(connection, token, booked)


async def _book_debit(connection: Connection, token: Token, booked: Booked) -> None:
    payment_id = booked.entry.end_to_end_id
    if await book_payout(connection, token, payment_id, booked.entry_id, booked.amount_minor):
        return
    detail = "money left the account and no payout of ours explains it"
    await _suspend(connection, token, booked, booked.broken("missing_chain", "critical", detail))
    # A payment that we took for refused: nothing more is paid or given back until a person has looked.
    # Anything else leaves the tokens short of cover: nothing more is minted.
    twice = await may_be_paid_twice(connection, payment_id, booked.amount_minor)
    scope: halts.Scope = "money" if twice else "mint"
    await halts.halt(connection, scope, f"missing_chain: entry {booked.entry.entry_key}", "bridge")


async def _book_credit(connection: Connection, token: Token, booked: Booked) -> None:
    if await is_ours(connection, booked.entry.end_to_end_id):
        detail = "a payout of ours came back; the money waits in suspense and is not minted"
        await _suspend(connection, token, booked, booked.broken("reversal", "critical", detail))
        return
    beneficiary = await connection.fetchrow(
        """SELECT beneficiary_id, wallet FROM bridge.beneficiary
           WHERE iban = $1 AND valid_from <= clock_timestamp()
             AND clock_timestamp() < coalesce(valid_to, 'infinity')""",
        booked.entry.counterparty_iban or "",
    )
    if beneficiary is None:
        detail = "the payer's account has no registered beneficiary; the money waits in suspense"
        why = booked.broken("unregistered_deposit", "warning", detail)
        await _suspend(connection, token, booked, why)
    else:
        await _fund(connection, token, booked, beneficiary)


async def _suspend(connection: Connection, token: Token, booked: Booked, why: Break) -> None:
    """Money that is nobody's yet, in either direction, and the break that says so."""
    incoming = booked.entry.direction is Direction.CREDIT
    source, target = (Book.SUSPENSE, Book.RESERVE) if incoming else (Book.RESERVE, Book.SUSPENSE)
    key = f"{'deposit' if incoming else 'debit'}:{booked.entry_id}"
    lines = move(source, target, booked.amount_minor)
    await ledger.post(connection, token, [Transfer(key, lines, entry_id=booked.entry_id)])
    await open_break(connection, why)


async def _fund(
    connection: Connection, token: Token, booked: Booked, beneficiary: asyncpg.Record
) -> None:
    op_id = operation_id(
        chain_id=token.chain_id,
        token=token.address,
        reserve_account=token.account_id,
        stable_entry_key=booked.entry.entry_key,
        kind=Kind.ISSUANCE,
    )
    row_id = await connection.fetchval(
        """INSERT INTO bridge.operation (op_id, kind, state, reason, chain_id, token, account_id, currency,
                                         amount_minor, wallet, beneficiary_id, entry_id)
           VALUES ($1, 'issuance', 'funded', 'deposit booked', $2, $3, $4, $5, $6, $7, $8, $9)
           RETURNING operation_id""",
        op_id,
        token.chain_id,
        token.address,
        token.account_id,
        token.currency,
        booked.amount_minor,
        beneficiary["wallet"],
        beneficiary["beneficiary_id"],
        booked.entry_id,
    )
    lines = move(Book.FUNDED, Book.RESERVE, booked.amount_minor)
    transfer = Transfer(f"deposit:{booked.entry_id}", lines, row_id, booked.entry_id)
    await ledger.post(connection, token, [transfer])
    log.info(
        "deposit_booked",
        operation_id=row_id,
        op_id=op_id.hex(),
        amount_minor=booked.amount_minor,
    )
