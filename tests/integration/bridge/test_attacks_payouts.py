"""Attacks on money out: what retired payees, other hands, odd debits and a halt can do to a payout."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import asyncpg
import pytest

from bridge import halts
from bridge.bank.connector import (
    Accepted,
    Ack,
    BankConnector,
    Declares,
    PaymentOrder,
    PaymentReport,
    PaymentStatus,
)
from bridge.decider import Decider
from bridge.ingest import Ingest
from bridge.observer import Observer
from bridge.payouts import Payouts
from indexer.lease import fenced
from tests.conftest import Database
from tests.integration.bridge import world as w
from tests.integration.bridge.test_attacks_bank import booked, webhook

HEAD = 12
OTHER_WALLET = b"V" * 20
OTHER_IBAN = "DE75512108001245126199"


class ScriptedBank:
    """Accepts every order, and answers status questions from a list."""

    def __init__(self, answers: Sequence[PaymentReport] = ()) -> None:
        self.declares = Declares("entry_key", "end_to_end_id", 3600)
        self.orders: list[PaymentOrder] = []
        self._answers = list(answers)

    async def submit_payment(self, order: PaymentOrder) -> Ack:
        self.orders.append(order)
        return Accepted()

    async def payment_status(self, _end_to_end_id: str) -> PaymentReport:
        return self._answers.pop(0)


async def add_event(world: w.World, table: str, block: int, index: int, **values: Any) -> bytes:
    """An event of the token in a block; answers with its transaction's hash."""
    tx_hash: bytes = values.pop("tx_hash", None) or w.digest(f"tx {table} {block} {index}")
    row = {
        "block_hash": w.digest(f"block{block}"),
        "block_number": block,
        "block_timestamp_s": block,
        "log_index": index,
        "tx_hash": tx_hash,
        "tx_index": index,
        "ordinal": 0,
        "canonical": True,
        "address": w.TOKEN.address,
        **values,
    }
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    async with fenced(world.pool, world.follow) as connection:
        await connection.execute(
            f"INSERT INTO event.token_{table} ({', '.join(row)}) VALUES ({places})", *row.values()
        )
    return tx_hash


async def request(world: w.World, name: str, block: int, index: int, amount: int = 40) -> bytes:
    """A redemption request of WALLET; answers with its id."""
    redemption_id = w.digest(name)
    await add_event(
        world,
        "redeem_requested",
        block,
        index,
        id=redemption_id,
        holder=w.WALLET,
        amount=amount,
        ref=bytes(32),
    )
    return redemption_id


async def tell(world: w.World, *rows: tuple[str, int, int]) -> None:
    """Append rows (op, from_block, to_block) to the feed."""
    async with fenced(world.pool, world.follow) as connection:
        last = await connection.fetchval("SELECT feed_seq FROM chain.cursor")
        await connection.execute("UPDATE chain.cursor SET feed_seq = $1", last + len(rows))
        await connection.executemany(
            """INSERT INTO chain.feed (chain_id, seq, op, from_block, to_block, block_hash)
               VALUES ($1, $2, $3, $4, $5, $6)""",
            [
                (w.CHAIN_ID, seq, op, first, last_block, w.digest(f"block{last_block}"))
                for seq, (op, first, last_block) in enumerate(rows, last + 1)
            ],
        )


async def finalize(world: w.World, number: int) -> None:
    """The cursor's word that blocks up to ``number`` are final."""
    async with fenced(world.pool, world.follow) as connection:
        await connection.execute(
            "UPDATE chain.cursor SET safe_number = $1, finalized_number = $1, finalized_hash = $2",
            number,
            w.digest(f"block{number}"),
        )


async def observe(world: w.World) -> None:
    await Observer(world.pool, w.TOKEN).step(world.operate)


async def decide(world: w.World) -> None:
    await Decider(world.pool, w.TOKEN, recheck_held_s=0.0).step(world.operate)


def following(world: w.World, bank: ScriptedBank, ask_after_s: float) -> Payouts:
    return Payouts(world.pool, cast(BankConnector, bank), w.TOKEN, ask_after_s)


async def state(world: w.World, redemption_id: bytes) -> str:
    found: str = await world.pool.fetchval(
        "SELECT state FROM bridge.operation WHERE redemption_id = $1", redemption_id
    )
    return found


async def halt(world: w.World) -> None:
    async with world.pool.acquire() as connection:
        await halts.halt(connection, "money", "a drill", "test")


async def resume(world: w.World) -> None:
    await w.lift(world.pool)


async def final_request(world: w.World, name: str = "r", amount: int = 40) -> bytes:
    """A chain whose block 4 is final and holds one request, and an observer that has seen it."""
    await w.add_chain(world, finalized=4, head=HEAD)
    redemption_id = await request(world, name, block=4, index=0, amount=amount)
    await tell(world, ("apply", 4, 4), ("finalize", 0, 4))
    await observe(world)
    return redemption_id


async def paid_and_burned(world: w.World, redemption_id: bytes, block: int) -> None:
    """The order is sent, its debit is booked, and the burn stands in a block that is final."""
    async with fenced(world.pool, world.operate) as connection:
        await connection.execute(
            """UPDATE bridge.operation SET state = 'burning', reason = 'test'
               WHERE redemption_id = $1""",
            redemption_id,
        )
    await add_event(
        world,
        "redeem_settled",
        block,
        1,
        id=redemption_id,
        holder=w.WALLET,
        amount=40,
        fiat_ref=bytes(32),
    )
    await finalize(world, block)
    await tell(world, ("apply", block, block), ("finalize", 5, block))


async def end_to_end_id(world: w.World) -> str:
    found: str = await world.pool.fetchval("SELECT end_to_end_id FROM bank.payout_attempt")
    return found


async def test_a_payee_retired_during_a_halt_does_not_stop_everybody_elses_payout(
    database: Database,
) -> None:
    """The payout guard refuses the one order; the decider must set it aside and go on."""
    async with w.opened(database) as world:
        first = await final_request(world)
        await halt(world)
        await decide(world)
        assert await state(world, first) == "approved"
        await world.pool.execute("UPDATE bridge.beneficiary SET valid_to = clock_timestamp()")
        await world.pool.execute(
            """INSERT INTO bridge.beneficiary (wallet, iban, name, proof, proposed_by, approved_by)
               VALUES ($1, $2, 'Another', 'p', 'maker', 'checker')""",
            OTHER_WALLET,
            OTHER_IBAN,
        )
        second = w.digest("second")
        await add_event(
            world,
            "redeem_requested",
            5,
            0,
            id=second,
            holder=OTHER_WALLET,
            amount=40,
            ref=bytes(32),
        )
        await finalize(world, 5)
        await tell(world, ("apply", 5, 5), ("finalize", 5, 5))
        await observe(world)
        await resume(world)
        try:
            await decide(world)
        except asyncpg.PostgresError as error:
            pytest.fail(f"the decider is stopped by one order: {error}")
        assert await state(world, second) == "payout_prepared"
        assert await state(world, first) == "held"


async def test_a_wallet_frozen_before_the_order_was_prepared_is_not_paid(
    database: Database,
) -> None:
    async with w.opened(database) as world:
        redemption_id = await final_request(world)
        await halt(world)
        await decide(world)
        assert await state(world, redemption_id) == "approved"
        await add_event(world, "frozen", 6, 0, account=w.WALLET, frozen=True)
        await resume(world)
        await decide(world)
        assert await state(world, redemption_id) == "held"


async def test_an_escrow_given_back_by_another_hand_is_not_paid_out_too(
    database: Database,
) -> None:
    """Somebody with the redeemer's role rejected the request on chain: the holder has the tokens back."""
    async with w.opened(database) as world:
        redemption_id = await final_request(world)
        await add_event(
            world,
            "redeem_rejected",
            6,
            0,
            id=redemption_id,
            holder=w.WALLET,
            amount=40,
            reason=bytes(32),
        )
        await finalize(world, 6)
        await tell(world, ("apply", 6, 6), ("finalize", 5, 6))
        await observe(world)
        # The payout guard may be what refuses it.
        with suppress(asyncpg.PostgresError):
            await decide(world)
        bank = ScriptedBank()
        await following(world, bank, ask_after_s=3600).step(world.operate)
        assert bank.orders == []


async def test_an_escrow_given_back_after_the_order_was_prepared_is_not_paid_out_on_resume(
    database: Database,
) -> None:
    """`resume` closes every halt, so the order itself must not go out any more."""
    async with w.opened(database) as world:
        redemption_id = await final_request(world)
        await decide(world)
        assert await state(world, redemption_id) == "payout_prepared"
        await add_event(
            world,
            "redeem_rejected",
            6,
            0,
            id=redemption_id,
            holder=w.WALLET,
            amount=40,
            reason=bytes(32),
        )
        await finalize(world, 6)
        await tell(world, ("apply", 6, 6), ("finalize", 5, 6))
        await observe(world)
        await resume(world)
        bank = ScriptedBank()
        with suppress(asyncpg.PostgresError):
            await following(world, bank, ask_after_s=3600).step(world.operate)
        assert bank.orders == []


async def test_a_bank_fee_under_the_payouts_id_does_not_stop_the_observer(
    database: Database,
) -> None:
    """Charges are often booked apart, with the payment's own end-to-end id."""
    async with w.opened(database) as world:
        redemption_id = await final_request(world)
        await decide(world)
        bank = ScriptedBank()
        await following(world, bank, ask_after_s=3600).step(world.operate)
        payment_id = await end_to_end_id(world)
        await webhook(world, booked("fee", 1, "0.05", "debit", end_to_end_id=payment_id))
        await webhook(world, booked("payout", 2, "0.40", "debit", end_to_end_id=payment_id))
        await Ingest(world.pool, w.TOKEN).step(world.operate)
        assert await state(world, redemption_id) == "booked"
        assert not await halts.is_halted(world.pool, "money"), "a fee must not stop all payouts"
        await paid_and_burned(world, redemption_id, 6)
        try:
            await observe(world)
        except asyncpg.PostgresError as error:
            pytest.fail(f"the observer is stopped for ever: {error}")
        assert await state(world, redemption_id) == "settled"


async def test_a_debit_under_a_refused_id_stops_the_refund(database: Database) -> None:
    """The bank said 'rejected' and booked all the same: giving the escrow back now would pay twice."""
    async with w.opened(database) as world:
        redemption_id = await final_request(world)
        await decide(world)
        rejected = PaymentReport(PaymentStatus.REJECTED, reason="creditor_account_refused")
        bank = ScriptedBank([rejected])
        payouts = following(world, bank, ask_after_s=0.0)
        await payouts.step(world.operate)
        assert await state(world, redemption_id) == "rejecting"
        payment_id = await end_to_end_id(world)
        await webhook(world, booked("late", 1, "0.40", "debit", end_to_end_id=payment_id))
        await Ingest(world.pool, w.TOKEN).step(world.operate)
        assert await halts.is_halted(world.pool, "money")


async def test_a_payout_that_comes_back_is_not_minted_as_a_deposit(database: Database) -> None:
    """A credit that carries one of our own end-to-end ids is a return: for two people to settle."""
    async with w.opened(database) as world:
        await final_request(world)
        await decide(world)
        await following(world, ScriptedBank(), ask_after_s=3600).step(world.operate)
        payment_id = await end_to_end_id(world)
        await webhook(world, booked("out", 1, "0.40", "debit", end_to_end_id=payment_id))
        await webhook(world, booked("back", 2, "0.40", "credit", end_to_end_id=payment_id))
        await Ingest(world.pool, w.TOKEN).step(world.operate)
        assert not await world.pool.fetchval(
            "SELECT EXISTS (SELECT FROM bridge.operation WHERE kind = 'issuance')"
        )


async def test_a_passing_unknown_leaves_no_critical_break_once_the_payout_is_booked(
    database: Database,
) -> None:
    async with w.opened(database) as world:
        redemption_id = await final_request(world)
        await decide(world)
        bank = ScriptedBank([PaymentReport(PaymentStatus.UNKNOWN)])
        await following(world, bank, ask_after_s=0.0).step(world.operate)
        payment_id = await end_to_end_id(world)
        await webhook(world, booked("out", 1, "0.40", "debit", end_to_end_id=payment_id))
        await Ingest(world.pool, w.TOKEN).step(world.operate)
        assert await state(world, redemption_id) == "booked"
        open_kinds = await world.pool.fetch("SELECT kind FROM recon.break WHERE closed_at IS NULL")
        assert [row["kind"] for row in open_kinds] == []


async def test_the_account_of_a_beneficiary_cannot_be_edited_in_place(database: Database) -> None:
    """Two people agreed on a wallet and an account; an edit would redirect a payout that is on its way."""
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.PostgresError):
            await world.pool.execute("UPDATE bridge.beneficiary SET iban = $1", OTHER_IBAN)
