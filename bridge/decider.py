"""Moves operations past policy and the mint gate: facts are read, a pure judge decides, one transaction applies."""

from collections.abc import Collection, Sequence
from typing import Final

import asyncpg
import structlog

from bridge import cancellations, halts, ledger
from bridge.breaks import Break, close_breaks_of, open_break
from bridge.ledger import Book, Held, move
from bridge.operations import Kind
from bridge.payout_journal import PAYOUT_REFUSED_SQLSTATE, prepare_payout
from bridge.policy import Hold, Verdict, WalletStanding, judge_issuance, judge_redemption
from bridge.token import Token
from indexer.database import Connection
from indexer.lease import Fence, fenced

log = structlog.get_logger()

# The break of a held mint is closed by the taker, once the chain would take it too.
_POLICY_BREAKS: Final = ["policy", "unregistered_burn"]
HEAD_SLACK_BLOCKS: Final = 2

# Each state by itself, so that what has been decided long ago is not passed over row by row.
_TO_JUDGE: Final = """
    SELECT * FROM bridge.operation WHERE operation_id = ANY (ARRAY(
        SELECT next.operation_id FROM (VALUES ('issuance', 'funded', 0.0), ('redemption', 'request_final', 0.0),
                                              ('issuance', 'held', $4::float8), ('redemption', 'held', $4))
            AS waiting (kind, state, since_s)
        CROSS JOIN LATERAL (
            SELECT o.operation_id FROM bridge.operation o
            WHERE o.kind = waiting.kind AND o.state = waiting.state AND o.chain_id = $1 AND o.token = $2
              AND o.updated_at <= clock_timestamp() - make_interval(secs => waiting.since_s)
              AND o.state NOT IN ('settled', 'refunded', 'returned', 'expired')
            ORDER BY o.operation_id LIMIT $3) AS next
        ORDER BY next.operation_id LIMIT $3))
      AND state IN ('funded', 'request_final', 'held')
    ORDER BY operation_id FOR UPDATE"""
_APPROVED: Final = """
    SELECT * FROM bridge.operation WHERE chain_id = $1 AND token = $2 AND kind = $4 AND state = 'approved'
    ORDER BY operation_id LIMIT $3 FOR UPDATE"""


# Bind the holder's registered beneficiary, where there is one now.
ASSIGN: Final = """
    UPDATE bridge.operation o SET beneficiary_id = b.beneficiary_id FROM bridge.beneficiary b
    WHERE o.operation_id = ANY ($1) AND b.wallet = o.wallet AND b.valid_from <= clock_timestamp()
      AND clock_timestamp() < coalesce(b.valid_to, 'infinity')
    RETURNING o.operation_id"""
HAS_JOINED: Final = """
    SELECT EXISTS (SELECT FROM chain.source WHERE chain_id = $1 AND name = $2 AND joined_seq IS NOT NULL)"""
MOVE: Final = """
    UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = ANY ($1)"""


class Decider:
    """Approves, holds and reserves, under the lease of role ``operate``."""

    def __init__(
        self, pool: asyncpg.Pool, token: Token, recheck_held_s: float, batch: int = 500
    ) -> None:
        self._pool = pool
        self._token = token
        self._recheck_held_s = recheck_held_s
        self._batch = batch
        self._standings = _standings(token)
        self._ended = _ended(token)

    async def step(self, fence: Fence) -> bool:
        """Decide on the next operations; answers whether any moved."""
        judged = await self._judge_waiting(fence)
        async with fenced(self._pool, fence) as connection:
            voided = await cancellations.begin(connection, self._token, self._batch)
        reserved = await self._reserve_approved(fence)
        prepared = await self._prepare_approved(fence)
        return judged or voided or reserved or prepared

    async def _judge_waiting(self, fence: Fence) -> bool:
        async with fenced(self._pool, fence) as connection:
            # Before the token's events are there, nothing is known of any wallet.
            if not await connection.fetchval(
                HAS_JOINED, self._token.chain_id, self._token.contract_name
            ):
                return False
            waiting = await self._select(connection, _TO_JUDGE, self._recheck_held_s)
            agreed = []
            for operation, verdict in await self._verdicts(connection, waiting):
                if isinstance(verdict, Hold):
                    await self._hold(connection, operation, verdict)
                else:
                    agreed.append(operation)
            redemptions = [one["operation_id"] for one in agreed if one["kind"] == Kind.REDEMPTION]
            if redemptions:
                await close_breaks_of(connection, _POLICY_BREAKS, redemptions, "policy agrees now")
            await _move_to(connection, agreed, "approved", "policy agrees")
        return bool(waiting)

    async def _reserve_approved(self, fence: Fence) -> bool:
        """Hold the amount in the ledger while the gate is open; a closed gate leaves operations approved."""
        async with fenced(self._pool, fence) as connection:
            if await halts.is_halted(connection, "mint"):
                return False
            approved = await self._select(connection, _APPROVED, "issuance")
            if not approved:
                return False
            holds = [
                Held(
                    one["operation_id"],
                    move(Book.OUTSTANDING, Book.FUNDED, one["amount_minor"]),
                )
                for one in approved
            ]
            await ledger.hold(connection, self._token, holds)
            await _move_to(
                connection, approved, "reserved", "the mint gate is open and the amount is held"
            )
        return True

    async def _prepare_approved(self, fence: Fence) -> bool:
        async with fenced(self._pool, fence) as connection:
            if await halts.is_halted(connection, "money") or not await self._is_caught_up(
                connection
            ):
                return False
            approved = await self._select(connection, _APPROVED, "redemption")
            # Judged once more: what was agreed may be long ago.
            for operation, verdict in await self._verdicts(connection, approved):
                if isinstance(verdict, Hold):
                    await self._hold(connection, operation, verdict)
                else:
                    await self._prepare(connection, operation)
        return bool(approved)

    async def _prepare(self, connection: Connection, operation: asyncpg.Record) -> None:
        """Journal one order; one that Postgres refuses is held, and the others go on."""
        try:
            async with connection.transaction():
                await prepare_payout(connection, self._token, operation)
        except asyncpg.PostgresError as error:
            if error.sqlstate != PAYOUT_REFUSED_SQLSTATE:
                raise
            await self._hold(connection, operation, Hold("policy", str(error)))

    async def _select(
        self, connection: Connection, query: str, argument: float | str
    ) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await connection.fetch(
            query, self._token.chain_id, self._token.address, self._batch, argument
        )
        return rows

    async def _verdicts(
        self, connection: Connection, operations: Sequence[asyncpg.Record]
    ) -> list[tuple[asyncpg.Record, Verdict]]:
        """What policy says of each."""
        if not operations:
            return []
        standings = await self._standings_of(connection, {one["wallet"] for one in operations})
        redemptions = [one for one in operations if one["kind"] == Kind.REDEMPTION]
        registered = await self._ids(connection, ASSIGN, redemptions)
        ended = await self._ids(connection, self._ended, redemptions)
        return [
            (
                one,
                judge_issuance(standings[one["wallet"]])
                if one["kind"] == Kind.ISSUANCE
                else judge_redemption(
                    standings[one["wallet"]],
                    registered=one["operation_id"] in registered,
                    still_open=one["operation_id"] not in ended,
                ),
            )
            for one in operations
        ]

    async def _standings_of(
        self, connection: Connection, wallets: Collection[bytes]
    ) -> dict[bytes, WalletStanding]:
        if self._token.kind == "plain":
            # Whom it serves is its own matter; the simulation shows it.
            return dict.fromkeys(wallets, WalletStanding(allowed=True, frozen=False))
        rows = await connection.fetch(self._standings, list(wallets))
        return {row["wallet"]: WalletStanding(row["allowed"], row["frozen"]) for row in rows}

    async def _ids(
        self, connection: Connection, query: str, operations: Sequence[asyncpg.Record]
    ) -> set[int]:
        """Those of the operations that a query answers with."""
        if not operations:
            return set()
        rows = await connection.fetch(query, [one["operation_id"] for one in operations])
        return {row["operation_id"] for row in rows}

    async def _hold(self, connection: Connection, operation: asyncpg.Record, verdict: Hold) -> None:
        row_id = operation["operation_id"]
        await open_break(
            connection,
            Break(verdict.break_kind, "warning", f"operation:{row_id}", verdict.detail, row_id),
        )
        if operation["state"] == "held":
            await connection.execute(
                "UPDATE bridge.operation SET updated_at = clock_timestamp() WHERE operation_id = $1",
                row_id,
            )
            return
        log.warning("operation_held", operation_id=row_id, why=verdict.detail)
        await _move_to(connection, [operation], "held", verdict.detail)

    async def _is_caught_up(self, connection: Connection) -> bool:
        """Whether we have read up to the node's head: old requests may have ended further on."""
        caught_up: bool | None = await connection.fetchval(
            """SELECT coalesce(c.node_head_number, c.head_number) - c.head_number <= $2
               FROM chain.cursor c JOIN chain.source s USING (chain_id)
               WHERE c.chain_id = $1 AND s.name = $3 AND s.version = 1 AND s.joined_seq IS NOT NULL""",
            self._token.chain_id,
            HEAD_SLACK_BLOCKS,
            self._token.contract_name,
        )
        return bool(caught_up)


async def _move_to(
    connection: Connection, operations: Sequence[asyncpg.Record], state: str, reason: str
) -> None:
    if operations:
        await connection.execute(MOVE, [one["operation_id"] for one in operations], state, reason)


def _standings(token: Token) -> str:
    """The newest value of wallets' flags, in any block: stricter news counts before it is final."""

    def newest(flag: str) -> str:
        return f"""coalesce((SELECT {flag} FROM {token.event_table(flag)} e
            WHERE e.account = w.wallet AND e.canonical ORDER BY block_number DESC, log_index DESC LIMIT 1), false)"""

    return f"""SELECT w.wallet, {newest("allowed")} AS allowed, {newest("frozen")} AS frozen
        FROM unnest($1::bytea[]) AS w (wallet)"""


def _ended(token: Token) -> str:
    """Redemptions that a block, final or not, has settled or refunded."""
    return f"""SELECT operation_id FROM bridge.operation o WHERE operation_id = ANY ($1)
        AND (EXISTS (SELECT FROM {token.event_table("redeem_settled")} e WHERE e.id = o.redemption_id AND e.canonical)
             OR EXISTS (SELECT FROM {token.event_table("redeem_rejected")} e
                        WHERE e.id = o.redemption_id AND e.canonical))"""
