"""A payment order exists only for a final request, equal to it, to the registered payee: Postgres sees to it."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from bridge.halts import halt
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w

APPROVED = ("request_final", "approved")


async def _prepare(
    world: w.World,
    op_id: bytes,
    *,
    amount: int = 40,
    currency: str = "EUR",
    beneficiary_id: int | None = None,
    attempt: int = 1,
) -> None:
    async with fenced(world.pool, world.operate) as connection:
        await connection.execute(
            """INSERT INTO bank.payout (op_id, account_id, amount_minor, currency, beneficiary_id)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING""",
            op_id,
            w.TOKEN.account_id,
            amount,
            currency,
            beneficiary_id or world.beneficiary_id,
        )
        await connection.execute(
            """INSERT INTO bank.payout_party (op_id, name, iban)
               SELECT $1, name, iban FROM bridge.beneficiary WHERE beneficiary_id = $2
               ON CONFLICT DO NOTHING""",
            op_id,
            beneficiary_id or world.beneficiary_id,
        )
        await connection.execute(
            """INSERT INTO bank.payout_attempt (op_id, attempt, end_to_end_id, state, expires_at)
               VALUES ($1, $2, $3, 'prepared', $4)""",
            op_id,
            attempt,
            "A" * 31 + "ABCDEFG"[attempt],
            datetime.now(UTC) + timedelta(hours=1),
        )


async def test_a_final_request_may_be_paid_once(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        await _prepare(world, op_id)
        with pytest.raises(asyncpg.UniqueViolationError):
            await _prepare(world, op_id, attempt=2)


async def test_no_payout_before_its_request_is_final(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=5, amount=40)
        op_id = await w.add_redemption(world, "r", 5, 40, *APPROVED)
        with pytest.raises(asyncpg.PostgresError, match="no final redemption request"):
            await _prepare(world, op_id)


async def test_no_payout_without_any_request(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        with pytest.raises(asyncpg.PostgresError, match="no final redemption request"):
            await _prepare(world, op_id)


@pytest.mark.parametrize(("amount", "currency"), [(39, "EUR"), (41, "EUR"), (40, "USD")])
async def test_no_payout_that_differs_from_its_request(
    database: Database, amount: int, currency: str
) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        with pytest.raises(asyncpg.PostgresError, match="not equal to the request"):
            await _prepare(world, op_id, amount=amount, currency=currency)


async def test_no_payout_to_anybody_but_the_holders_registered_payee(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        stranger = await world.pool.fetchval(
            """INSERT INTO bridge.beneficiary (wallet, iban, name, proof, proposed_by, approved_by)
               VALUES ($1, 'XX12345', 'Somebody', 'p', 'maker', 'checker') RETURNING beneficiary_id""",
            b"X" * 20,
        )
        with pytest.raises(asyncpg.PostgresError, match="not the registered one"):
            await _prepare(world, op_id, beneficiary_id=stranger)


async def test_no_payout_to_a_beneficiary_whose_time_is_over(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        await world.pool.execute("UPDATE bridge.beneficiary SET valid_to = clock_timestamp()")
        with pytest.raises(asyncpg.PostgresError, match="not the registered one"):
            await _prepare(world, op_id)


async def test_no_payout_while_money_is_halted(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        async with world.pool.acquire() as connection:
            await halt(connection, "money", "a drill", "test")
        with pytest.raises(asyncpg.PostgresError, match="halted"):
            await _prepare(world, op_id)


async def test_no_refund_while_a_payment_may_still_arrive(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        await _prepare(world, op_id)
        async with fenced(world.pool, world.operate) as connection:
            await w.set_state(connection, op_id, "payout_prepared")
            await w.set_state(connection, op_id, "sent")
        for state in ("sent", "unknown", "accepted"):
            with pytest.raises(asyncpg.PostgresError, match="no refund while"):
                async with fenced(world.pool, world.operate) as connection:
                    await connection.execute("UPDATE bank.payout_attempt SET state = $1", state)
                    await w.set_state(connection, op_id, "rejecting")
        async with fenced(world.pool, world.operate) as connection:
            await connection.execute("UPDATE bank.payout_attempt SET state = 'rejected'")
            await w.set_state(connection, op_id, "rejecting")


async def test_a_payment_that_was_refused_stays_so(database: Database) -> None:
    async with w.opened(database) as world:
        await w.add_chain(world, finalized=4, head=8)
        await w.add_request(world, w.digest("r"), block=4, amount=40)
        op_id = await w.add_redemption(world, "r", 4, 40, *APPROVED)
        await _prepare(world, op_id)
        async with fenced(world.pool, world.operate) as connection:
            await connection.execute("UPDATE bank.payout_attempt SET state = 'rejected'")
        with pytest.raises(asyncpg.PostgresError, match="journalled"):
            async with fenced(world.pool, world.operate) as connection:
                await connection.execute("UPDATE bank.payout_attempt SET state = 'unknown'")


async def test_one_person_alone_registers_nobody(database: Database) -> None:
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.CheckViolationError):
            await world.pool.execute(
                """INSERT INTO bridge.beneficiary (wallet, iban, name, proof, proposed_by, approved_by)
                   VALUES ($1, 'XX12345', 'Somebody', 'p', 'maker', 'maker')""",
                b"X" * 20,
            )
