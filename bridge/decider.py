"""Moves operations past policy and the mint gate: facts are read, a pure judge decides, one transaction applies."""

from typing import Final

import asyncpg
import structlog

from bridge import halts, ledger
from bridge.breaks import Break, close_breaks, open_break
from bridge.ledger import Book, move
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

_TO_JUDGE: Final = """
    SELECT * FROM bridge.operation WHERE chain_id = $1 AND token = $2
      AND ((kind, state) IN (('issuance', 'funded'), ('redemption', 'request_final'))
           OR state = 'held' AND updated_at < clock_timestamp() - make_interval(secs => $4))
    ORDER BY operation_id LIMIT $3 FOR UPDATE"""
_APPROVED: Final = """
    SELECT * FROM bridge.operation WHERE chain_id = $1 AND token = $2 AND kind = $4 AND state = 'approved'
    ORDER BY operation_id LIMIT $3 FOR UPDATE"""


class Decider:
    """Approves, holds and reserves, under the lease of role ``operate``."""

    def __init__(
        self, pool: asyncpg.Pool, token: Token, recheck_held_s: float, batch: int = 50
    ) -> None:
        self._pool = pool
        self._token = token
        self._recheck_held_s = recheck_held_s
        self._batch = batch

    async def step(self, fence: Fence) -> bool:
        """Decide on the next operations; answers whether any moved."""
        judged = await self._judge_waiting(fence)
        reserved = await self._reserve_approved(fence)
        prepared = await self._prepare_approved(fence)
        return judged or reserved or prepared

    async def _judge_waiting(self, fence: Fence) -> bool:
        async with fenced(self._pool, fence) as connection:
            waiting = await self._select(connection, _TO_JUDGE, self._recheck_held_s)
            for operation in waiting:
                await self._judge(connection, operation)
        return bool(waiting)

    async def _reserve_approved(self, fence: Fence) -> bool:
        """Hold the amount in the ledger while the gate is open; a closed gate leaves operations approved."""
        async with fenced(self._pool, fence) as connection:
            if await halts.is_halted(connection, "mint"):
                return False
            approved = await self._select(connection, _APPROVED, "issuance")
            for operation in approved:
                await ledger.hold(
                    connection,
                    self._token,
                    operation["operation_id"],
                    move(Book.OUTSTANDING, Book.FUNDED, operation["amount_minor"]),
                )
                await _move_to(
                    connection,
                    operation,
                    "reserved",
                    "the mint gate is open and the amount is held",
                )
        return bool(approved)

    async def _prepare_approved(self, fence: Fence) -> bool:
        async with fenced(self._pool, fence) as connection:
            if await halts.is_halted(connection, "money") or not await self._is_caught_up(
                connection
            ):
                return False
            approved = await self._select(connection, _APPROVED, "redemption")
            for operation in approved:
                await self._prepare(connection, operation)
        return bool(approved)

    async def _prepare(self, connection: Connection, operation: asyncpg.Record) -> None:
        """Journal one order, judged once more; one that Postgres refuses is held, and the others go on."""
        verdict = await self._verdict(connection, operation)
        if isinstance(verdict, Hold):
            await self._hold(connection, operation, verdict)
            return
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

    async def _judge(self, connection: Connection, operation: asyncpg.Record) -> None:
        verdict = await self._verdict(connection, operation)
        if isinstance(verdict, Hold):
            await self._hold(connection, operation, verdict)
            return
        if operation["kind"] == Kind.REDEMPTION:
            await close_breaks(
                connection,
                _POLICY_BREAKS,
                f"operation:{operation['operation_id']}",
                "policy agrees now",
            )
        await _move_to(connection, operation, "approved", "policy agrees")

    async def _verdict(self, connection: Connection, operation: asyncpg.Record) -> Verdict:
        standing = await self._standing(connection, operation["wallet"])
        if operation["kind"] == Kind.ISSUANCE:
            return judge_issuance(standing)
        return judge_redemption(
            standing,
            registered=await _assign_beneficiary(connection, operation),
            still_open=await self._is_open(connection, operation),
        )

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
        await _move_to(connection, operation, "held", verdict.detail)

    async def _standing(self, connection: Connection, wallet: bytes) -> WalletStanding:
        return WalletStanding(
            allowed=await self._last_flag(connection, "allowed", wallet),
            frozen=await self._last_flag(connection, "frozen", wallet),
        )

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

    async def _is_open(self, connection: Connection, operation: asyncpg.Record) -> bool:
        """Whether no block, final or not, has settled or refunded the redemption."""
        ended: bool = await connection.fetchval(
            f"""SELECT EXISTS (SELECT FROM {self._token.event_table("redeem_settled")}
                               WHERE id = $1 AND canonical)
                    OR EXISTS (SELECT FROM {self._token.event_table("redeem_rejected")}
                               WHERE id = $1 AND canonical)""",
            operation["redemption_id"],
        )
        return not ended

    async def _last_flag(self, connection: Connection, flag: str, wallet: bytes) -> bool:
        """The newest value of a wallet's flag, in any block: stricter news counts before it is final."""
        value: bool | None = await connection.fetchval(
            f"""SELECT {flag} FROM {self._token.event_table(flag)}
                WHERE account = $1 AND canonical
                ORDER BY block_number DESC, log_index DESC LIMIT 1""",
            wallet,
        )
        return bool(value)


async def _assign_beneficiary(connection: Connection, operation: asyncpg.Record) -> bool:
    """Bind the holder's registered beneficiary to a redemption; answers whether there is one now."""
    assigned = await connection.fetchval(
        """UPDATE bridge.operation o SET beneficiary_id = b.beneficiary_id
           FROM bridge.beneficiary b
           WHERE o.operation_id = $1 AND b.wallet = o.wallet AND b.valid_from <= clock_timestamp()
             AND clock_timestamp() < coalesce(b.valid_to, 'infinity')
           RETURNING o.beneficiary_id""",
        operation["operation_id"],
    )
    return assigned is not None


async def _move_to(
    connection: Connection, operation: asyncpg.Record, state: str, reason: str
) -> None:
    await connection.execute(
        "UPDATE bridge.operation SET state = $2, reason = $3 WHERE operation_id = $1",
        operation["operation_id"],
        state,
        reason,
    )
