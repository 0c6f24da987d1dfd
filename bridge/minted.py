"""The limits of minting and what was minted lately, as Postgres has them."""

from collections.abc import Mapping, Sequence

from bridge.limits import Limits, Minted
from indexer.database import Connection

# What is not new is not written again: each row says when a limit was changed, and there is none before the first.
DECLARE = """
    INSERT INTO bridge.mint_limit (chain_id, signer, account_id, operation_minor, hour_minor, day_minor)
    SELECT $1::bigint, $2::bytea, $3::text, $4::bigint, $5::bigint, $6::bigint
    FROM (SELECT) AS one LEFT JOIN bridge.mint_limit_now l
        ON (l.chain_id, l.signer, l.account_id) IS NOT DISTINCT FROM ($1, $2, $3)
    WHERE (l.operation_minor, l.hour_minor, l.day_minor) IS DISTINCT FROM ($4, $5, $6)"""
MINTED = """
    SELECT b.below_tx, m.hour_minor::bigint, m.day_minor::bigint
    FROM unnest($4::bigint[]) AS b (below_tx) CROSS JOIN LATERAL bridge.minted($1, $2, $3, b.below_tx) m"""


async def declare(
    connection: Connection,
    chain_id: int,
    signer: bytes,
    account_id: str,
    *,
    of_signer: Limits,
    of_account: Limits,
) -> None:
    """Let Postgres hold a signer and an account to these limits, in the fenced transaction of the signer's lane."""
    for subject, limits in (
        ((chain_id, signer, None), of_signer),
        ((None, None, account_id), of_account),
    ):
        await connection.execute(DECLARE, *subject, limits.operation, limits.hour, limits.day)


async def minted_by(connection: Connection, chain_id: int, signer: bytes) -> Minted:
    """By one signer."""
    return (await _minted(connection, (chain_id, signer, None), [None]))[None]


async def minted_for(connection: Connection, account_id: str) -> Minted:
    """For one bank account, by whichever signer."""
    return (await _minted(connection, (None, None, account_id), [None]))[None]


async def minted_before(
    connection: Connection, chain_id: int, signer: bytes, account_id: str, tx_ids: Sequence[int]
) -> Mapping[int, tuple[Minted, Minted]]:
    """By the signer and for the account in all transactions that were journalled before each of these."""
    by_signer = await _minted(connection, (chain_id, signer, None), tx_ids)
    for_account = await _minted(connection, (None, None, account_id), tx_ids)
    return {tx_id: (by_signer[tx_id], for_account[tx_id]) for tx_id in tx_ids}


async def _minted(
    connection: Connection,
    subject: tuple[int | None, bytes | None, str | None],
    below: Sequence[int | None],
) -> dict[int | None, Minted]:
    rows = await connection.fetch(MINTED, *subject, list(below))
    return {row["below_tx"]: Minted(row["hour_minor"], row["day_minor"]) for row in rows}
