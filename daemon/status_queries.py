"""What the status asks of the database: one question a function, all of them only read."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from bridge import ledger, rotation
from bridge.ledger import Book
from bridge.operations import TERMINAL, TRANSITIONS, Kind
from bridge.proof import Books
from bridge.token import Token
from daemon.setting_types import checksummed
from indexer.database import Connection

Row = dict[str, Any]

# JSON's numbers are exact up to 2^53 - 1, and nobody waits so long.
_MOST: Final = 10**12
_GAS: Final = ("balance_wei", "at_stake_wei", "transactions_left", "left_s")
# A dropped request is nobody's money: it ends there unless its block, or its holder, comes again.
_RESTING: Final = sorted({state for states in TERMINAL.values() for state in states} | {"dropped"})


async def now(connection: Connection) -> datetime:
    """The database's clock."""
    at: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return at


async def operations(connection: Connection, token: Token) -> Row:
    """How many operations are in each state, by kind; states without any are left out."""
    counts: dict[str, dict[str, int]] = {kind.value: {} for kind in Kind}
    rows = await connection.fetch(
        """SELECT kind, state, count(*) AS number FROM bridge.operation
           WHERE chain_id = $1 AND token = $2 GROUP BY kind, state""",
        token.chain_id,
        token.address,
    )
    for row in sorted(
        rows, key=lambda row: list(TRANSITIONS[Kind(row["kind"])]).index(row["state"])
    ):
        counts[row["kind"]][row["state"]] = row["number"]
    return counts


async def oldest(connection: Connection, token: Token, at: datetime) -> Row | None:
    """The oldest operation that still has a way to go."""
    row = await connection.fetchrow(
        """SELECT operation_id, kind, state,
                  greatest(extract(epoch FROM $4::timestamptz - created_at), 0)::float8 AS age_s
           FROM bridge.operation
           WHERE chain_id = $1 AND token = $2 AND state <> ALL($3::text[])
           ORDER BY created_at, operation_id LIMIT 1""",
        token.chain_id,
        token.address,
        _RESTING,
        at,
    )
    return None if row is None else dict(row)


async def transactions(connection: Connection, chain_id: int) -> int:
    """How many journalled transactions have no final outcome yet."""
    number: int = await connection.fetchval(
        "SELECT count(*) FROM bridge.tx WHERE chain_id = $1 AND outcome IS NULL", chain_id
    )
    return number


async def signers(connection: Connection, chain_id: int) -> list[Row]:
    """Those that have not retired, and what they have for gas."""
    rows = await connection.fetch(
        """SELECT address, balance_wei, at_stake_wei, least(transactions_left, $2)::bigint AS transactions_left,
                  least(left_s, $2)::bigint AS left_s
           FROM bridge.signer_balance WHERE chain_id = $1""",
        chain_id,
        _MOST,
    )
    gas = {
        row["address"]: {key: None if row[key] is None else int(row[key]) for key in _GAS}
        for row in rows
    }
    unknown = dict.fromkeys(_GAS)
    return [
        {**asdict(one), "address": checksummed(one.address), **gas.get(one.address, unknown)}
        for one in await rotation.signers(connection, chain_id)
        if one.state != "retired"
    ]


async def breaks(connection: Connection) -> Row:
    """Open breaks by kind, and the critical ones among them."""
    rows = await connection.fetch(
        """SELECT kind, count(*) AS number,
                  count(*) FILTER (WHERE severity = 'critical') AS critical
           FROM recon.break WHERE closed_at IS NULL GROUP BY kind ORDER BY kind"""
    )
    return {
        "open": {row["kind"]: row["number"] for row in rows},
        "critical": sum(row["critical"] for row in rows),
    }


async def books(connection: Connection, token: Token) -> Books | None:
    """The ledger's terms; None before the token's accounts were opened."""
    opened = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM ledger.account WHERE code = $1)",
        ledger.code(token, Book.RESERVE),
    )
    return await ledger.books(connection, token) if opened else None


async def proof(connection: Connection, token: Token, at: datetime) -> Row | None:
    """The newest proof."""
    row = await connection.fetchrow(
        """SELECT block_number AS block, verdict, explanation,
                  greatest(extract(epoch FROM $3::timestamptz - at), 0)::float8 AS age_s
           FROM recon.proof WHERE chain_id = $1 AND token = $2 ORDER BY proof_id DESC LIMIT 1""",
        token.chain_id,
        token.address,
        at,
    )
    return None if row is None else dict(row)


async def read_through(connection: Connection, token: Token) -> int | None:
    """The bank's sequence up to which no entry is missing."""
    sequence: int | None = await connection.fetchval(
        "SELECT sequence FROM bank.poll_cursor WHERE account_id = $1", token.account_id
    )
    return sequence


async def leases(connection: Connection, at: datetime) -> list[Row]:
    """Every lease, the expired ones with a negative rest."""
    rows = await connection.fetch(
        """SELECT role, holder, epoch,
                  extract(epoch FROM expires_at - $1::timestamptz)::float8 AS expires_in_s
           FROM ops.lease ORDER BY role""",
        at,
    )
    return [dict(row) for row in rows]
