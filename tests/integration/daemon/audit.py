"""Whether exactly that came of a world which people did in it: chain, bank and database, one by one."""

from __future__ import annotations

from collections import Counter

from daemon.demo.bank import as_minor
from daemon.demo.token import MINTED, REJECTED, SETTLED
from tests.integration.daemon.world import World


async def check_exact(world: World) -> None:
    """Every deposit minted once; every redemption paid once and burned once; nothing else."""
    await _check_chain(world)
    await _check_bank(world)
    await _check_database(world)


async def _check_chain(world: World) -> None:
    events = await world.token.events()
    wanted_mints = Counter(
        (world.op_id(each.entry_key), each.holder.wallet.address, each.amount_minor)
        for each in world.deposits
    )
    wanted_burns = Counter(
        (each.redemption_id, each.holder.wallet.address) for each in world.redemptions
    )
    minted = [event for event in events if event.kind == MINTED]
    burned = [event for event in events if event.kind == SETTLED]
    assert (
        Counter((each.topics[0], each.address(2), each.amount) for each in minted) == wanted_mints
    )
    assert Counter((each.topics[0], each.address(1)) for each in burned) == wanted_burns
    assert not [event for event in events if event.kind == REJECTED]
    assert await world.token.ask("totalSupply()", returns=["uint256"]) == _outstanding_minor(world)
    escrow = await world.token.ask("balanceOf(address)", world.token.address, returns=["uint256"])
    assert escrow == 0


async def _check_bank(world: World) -> None:
    entries = await world.teller.entries()
    debits = [entry for entry in entries if entry["direction"] == "debit"]
    paid = Counter((each["counterparty"]["iban"], as_minor(each["amount"])) for each in debits)
    assert paid == Counter((each.holder.iban, each.amount_minor) for each in world.redemptions)
    assert len({each["end_to_end_id"] for each in debits}) == len(debits)
    for entry in debits:
        assert await world.teller.payment_status(entry["end_to_end_id"]) == "booked"
    assert await world.teller.balance_minor() == _outstanding_minor(world) + world.suspended_minor


async def _check_database(world: World) -> None:
    issued = await world.owner.fetch(
        """SELECT e.entry_key, o.op_id, o.state, o.amount_minor FROM bridge.operation o
           JOIN bank.entry e USING (entry_id) WHERE o.state = 'settled'"""
    )
    assert Counter(tuple(row) for row in issued) == Counter(
        (each.entry_key, world.op_id(each.entry_key), "settled", each.amount_minor)
        for each in world.deposits
    )
    paid = await world.owner.fetch(
        """SELECT o.redemption_id, o.state, count(a.*), min(a.state) FROM bridge.operation o
           LEFT JOIN bank.payout_attempt a USING (op_id)
           WHERE o.kind = 'redemption' AND o.state <> 'held' GROUP BY o.operation_id"""
    )
    assert Counter(tuple(row) for row in paid) == Counter(
        (each.redemption_id, "settled", 1, "booked") for each in world.redemptions
    )
    live = await world.owner.fetchval(
        "SELECT count(*) FROM bridge.tx WHERE outcome IS DISTINCT FROM 'success'"
    )
    assert live == 0, "a transaction is without its outcome, or reverted"
    assert await world.halts() == []
    critical = {
        each["subject"]
        for each in await world.breaks()
        if each["is_open"] and each["severity"] == "critical"
    }
    assert critical == world.foreseen


def _outstanding_minor(world: World) -> int:
    paid_in = sum(each.amount_minor for each in world.deposits)
    return paid_in - sum(each.amount_minor for each in world.redemptions)
