"""Attacks on money in: what one odd message of the bank can do to all the others."""

import json
from typing import Any

import asyncpg
import pytest

from bridge import halts
from bridge.ingest import Ingest, receive
from tests.conftest import Database
from tests.integration.bridge import world as w


def booked(
    key: str, sequence: int, amount: str, direction: str = "credit", **changes: Any
) -> dict[str, Any]:
    """An entry as the bank writes it; credits come from the registered beneficiary."""
    return {
        "entry_key": key,
        "sequence": sequence,
        "direction": direction,
        "amount": amount,
        "currency": "EUR",
        "status": "booked",
        "booked_at": "2026-01-01T00:00:00Z",
        "reference": "",
        "counterparty": {"name": "A holder", "iban": w.IBAN},
        **changes,
    }


async def webhook(world: w.World, entry: dict[str, Any]) -> None:
    """An authentic webhook, as the receiving side keeps it."""
    body = {
        "type": "entry.booked",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {"account": w.TOKEN.account_id, "entry": entry},
    }
    raw = json.dumps(body).encode()
    async with world.pool.acquire() as connection:
        assert await receive(connection, "webhook", w.digest(raw.decode()).hex(), raw) == "new"


async def page(world: w.World, next_after: int, *entries: dict[str, Any]) -> None:
    """A page of the REST poll, as the poller keeps it."""
    raw = json.dumps({"entries": entries, "next_after": next_after}).encode()
    async with world.pool.acquire() as connection:
        assert await receive(connection, "poll", w.digest(raw.decode()).hex(), raw) == "new"


async def ingest(world: w.World) -> None:
    await Ingest(world.pool, w.TOKEN).step(world.operate)


async def poll_cursor(world: w.World) -> int:
    found: int = await world.pool.fetchval("SELECT sequence FROM bank.poll_cursor")
    return found


async def funded(world: w.World) -> list[int]:
    rows = await world.pool.fetch("SELECT amount_minor FROM bridge.operation ORDER BY operation_id")
    return [row["amount_minor"] for row in rows]


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_date_at_the_end_of_time_does_not_stop_the_ingest(
    database: Database, when: str
) -> None:
    async with w.opened(database) as world:
        await webhook(world, booked("odd", 1, "1.00", booked_at=when))
        await webhook(world, booked("good", 2, "2.00"))
        try:
            await ingest(world)
        except OverflowError as error:
            pytest.fail(f"one message stops every deposit after it: {error}")
        assert 200 in await funded(world)


async def test_a_faulty_webhook_does_not_make_the_poll_skip_the_entry(database: Database) -> None:
    """Webhook and poll must converge: what only a webhook garbled is still to be read by the poll."""
    async with w.opened(database) as world:
        await webhook(world, booked("a", 1, "1.001"))
        await ingest(world)
        assert await poll_cursor(world) == 0
        await page(world, 1, booked("a", 1, "1.00"))
        await ingest(world)
        assert await poll_cursor(world) == 1
        assert await funded(world) == [100]


async def test_a_pending_entry_is_asked_for_again_until_it_is_booked(database: Database) -> None:
    async with w.opened(database) as world:
        await page(world, 1, booked("a", 1, "1.00", status="pending"))
        await ingest(world)
        assert await poll_cursor(world) == 0


async def test_a_pending_entry_is_not_reported_as_left_out(database: Database) -> None:
    """The bank showed it; only its money is not there yet."""
    async with w.opened(database) as world:
        await page(world, 2, booked("a", 1, "1.00", status="pending"), booked("b", 2, "2.00"))
        await ingest(world)
        assert await world.pool.fetch("SELECT kind, subject FROM recon.break") == []


async def test_an_unreadable_entry_without_a_sequence_does_not_stop_the_poll(
    database: Database,
) -> None:
    """The bank's own cursor says that the page is read to its end; asking for it for ever reads nothing new."""
    async with w.opened(database) as world:
        await page(world, 2, {"what": "is this"}, booked("b", 2, "2.00"))
        await ingest(world)
        assert await poll_cursor(world) == 2


async def test_a_sequence_that_the_bank_leaves_out_is_a_break(database: Database) -> None:
    """The poll cannot pass the gap, so somebody must be told."""
    async with w.opened(database) as world:
        await page(world, 3, booked("a", 1, "1.00"), booked("c", 3, "3.00"))
        await ingest(world)
        kinds = await world.pool.fetch("SELECT kind FROM recon.break")
        assert [row["kind"] for row in kinds] == ["statement_gap"]


async def test_money_that_leaves_unexplained_closes_the_mint_gate(database: Database) -> None:
    """Tokens then have less money behind them than they stand for, and negative suspense hides it."""
    async with w.opened(database) as world:
        await webhook(world, booked("a", 1, "5.00"))
        await webhook(world, booked("gone", 2, "5.00", "debit"))
        await ingest(world)
        assert await halts.is_halted(world.pool, "mint")


async def test_a_poll_cursor_cannot_jump_over_entries_by_hand(database: Database) -> None:
    async with w.opened(database) as world:
        with pytest.raises(asyncpg.PostgresError):
            await world.pool.execute("UPDATE bank.poll_cursor SET sequence = 1000")


async def test_what_waits_is_what_was_received_and_not_acted_on(database: Database) -> None:
    async with w.opened(database) as world:
        await webhook(world, booked("one", 1, "1.00"))
        await page(world, 1, booked("one", 1, "1.00"))
        assert await world.pool.fetchval("SELECT count(*) FROM bank.waiting") == 2
        for sql in ("DELETE FROM bank.waiting", "INSERT INTO bank.waiting VALUES (1)"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await world.pool.execute(sql)
        await ingest(world)
        assert await world.pool.fetchval("SELECT count(*) FROM bank.waiting") == 0
        assert await world.pool.fetchval("SELECT count(*) FROM bank.processed") == 2
