"""Whether exactly that came of a stage which people did on it: chain, bank and database, each asked for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from daemon.demo.bank import as_minor
from daemon.demo.token import MINTED, REJECTED, REQUESTED, SETTLED, Event, as_hex
from tests.crash.stage import Stage

OPERATIONS: Final = "SELECT kind || ' ' || state AS stands FROM bridge.operation"
# Whatever became of its transactions, of each operation one is live in the end, and that one succeeded.
LIVE: Final = """
    SELECT o.operation_id, count(t.tx_id) AS live, count(*) FILTER (WHERE t.outcome = 'success') AS done
    FROM bridge.operation o LEFT JOIN bridge.tx_operation l ON l.op_id = o.op_id AND NOT l.released
    LEFT JOIN bridge.tx t USING (tx_id) GROUP BY o.operation_id
    HAVING count(t.tx_id) <> 1 OR count(*) FILTER (WHERE t.outcome = 'success') <> 1"""
NONCES: Final = """
    SELECT s.address, s.next_nonce, (SELECT count(*) FROM bridge.tx t WHERE t.signer = s.address) AS given_out
    FROM bridge.signer s"""
ATTEMPTS: Final = """
    SELECT o.operation_id FROM bridge.operation o JOIN bank.payout_attempt a USING (op_id)
    GROUP BY o.operation_id HAVING count(*) > 1"""
TROUBLES: Final = """
    SELECT 'halted: ' || reason AS told FROM ops.halt WHERE closed_at IS NULL
    UNION ALL
    SELECT kind || ' ' || subject || ': ' || detail FROM recon.break WHERE closed_at IS NULL"""
# The newest, and whether all that was done is in it.
PROOF: Final = """
    SELECT verdict, explanation, block_number,
           funded_not_minted = 0 AND paid_not_burned = 0 AND burned_not_paid = 0 AS nothing_in_flight
    FROM recon.proof ORDER BY proof_id DESC LIMIT 1"""
ENDED: Final = ("issuance settled", "redemption settled", "redemption refunded")


async def is_over(stage: Stage) -> bool:
    """Whether there is an operation for all that people did, each has ended, each transaction has its outcome, and a
    proof of all of it agrees."""
    owner, wanted = stage.world.owner, stage.wanted
    stands = Counter(row["stands"] for row in await owner.fetch(OPERATIONS))
    expected = Counter(
        {
            "issuance settled": len(stage.world.deposits),
            "redemption settled": len(wanted.paid),
            "redemption refunded": len(wanted.refused),
        }
    )
    if stands != +expected:
        return False
    if await owner.fetchval("SELECT EXISTS (SELECT FROM bridge.tx WHERE outcome IS NULL)"):
        return False
    proof = await owner.fetchrow(PROOF)
    last = max(event.block_number for event in await stage.world.token.events())
    return (
        proof is not None
        and proof["verdict"] == "agree"
        and proof["nothing_in_flight"]
        and proof["block_number"] >= last
    )


async def waiting(stage: Stage) -> str:
    """What an operator would look at if it is never over."""
    owner = stage.world.owner
    stands = Counter(row["stands"] for row in await owner.fetch(OPERATIONS))
    rows = await owner.fetch(
        """SELECT kind, operation_id, state, reason FROM bridge.operation
           WHERE state NOT IN ('settled', 'refunded')"""
    )
    open_txs = await owner.fetch(
        """SELECT t.nonce, t.purpose, a.attempt, a.cancels, a.sends, a.last_answer FROM bridge.tx t
           LEFT JOIN bridge.tx_attempt a USING (tx_id) WHERE t.outcome IS NULL ORDER BY nonce, attempt"""
    )
    proof = await owner.fetchrow(PROOF)
    told = [
        f"operations: {dict(stands)}",
        *(f"{dict(row)}" for row in [*rows, *open_txs]),
        f"proof: {None if proof is None else dict(proof)}",
        *(row["told"] for row in await owner.fetch(TROUBLES)),
    ]
    return "\n  ".join(told)


async def faults(stage: Stage) -> list[str]:
    """Everything that is not exactly as people wanted it, once it is over."""
    events = await stage.world.token.events()
    return [
        *_chain_faults(stage, events),
        *await _supply_faults(stage),
        *await _bank_faults(stage),
        *await _database_faults(stage),
        *stage.witness.faults,
    ]


def _chain_faults(stage: Stage, events: list[Event]) -> Iterator[str]:
    world, wanted = stage.world, stage.wanted
    minted: Counter[Any] = Counter(
        (each.topics[0], each.address(2), each.amount) for each in events if each.kind == MINTED
    )
    deposits: Counter[Any] = Counter(
        (world.op_id(each.entry_key), each.holder.wallet.address, each.amount_minor)
        for each in world.deposits
    )
    yield from _difference("minted", deposits, minted)
    for kind, said, people in (
        (REQUESTED, "requested", [*wanted.paid, *wanted.refused]),
        (SETTLED, "burned", wanted.paid),
        (REJECTED, "given back", wanted.refused),
    ):
        seen = Counter((each.address(1), each.amount) for each in events if each.kind == kind)
        expected = Counter((holder.wallet.address, amount) for holder, amount in people)
        yield from _difference(said, expected, seen)


async def _supply_faults(stage: Stage) -> list[str]:
    token = stage.world.token
    supply = await token.ask("totalSupply()", returns=["uint256"])
    escrow = await token.ask("balanceOf(address)", token.address, returns=["uint256"])
    expected = _outstanding_minor(stage)
    return [
        *([f"the supply is {supply}, and not {expected}"] if supply != expected else []),
        *([f"{escrow} are still in escrow"] if escrow else []),
    ]


async def _bank_faults(stage: Stage) -> list[str]:
    teller = stage.world.teller
    debits = [each for each in await teller.entries() if each["direction"] == "debit"]
    paid = Counter((each["counterparty"]["iban"], as_minor(each["amount"])) for each in debits)
    expected = Counter((holder.iban, amount) for holder, amount in stage.wanted.paid)
    found = list(_difference("paid", expected, paid))
    if len({each["end_to_end_id"] for each in debits}) != len(debits):
        found.append("a payment was booked twice")
    balance = await teller.balance_minor()
    if balance != _outstanding_minor(stage):
        found.append(f"the bank holds {balance}, and not {_outstanding_minor(stage)}")
    return found


async def _database_faults(stage: Stage) -> list[str]:
    owner = stage.world.owner
    found = [
        f"operation {row['operation_id']} has {row['live']} live transactions, {row['done']} of them done"
        for row in await owner.fetch(LIVE)
    ]
    found += [
        f"there are several orders for operation {row['operation_id']}"
        for row in await owner.fetch(ATTEMPTS)
    ]
    for row in await owner.fetch(NONCES):
        used = await stage.world.chain.rpc(
            "eth_getTransactionCount", as_hex(row["address"]), "latest"
        )
        if not row["next_nonce"] == row["given_out"] == int(used, 16):
            found.append(f"{dict(row)}, and the chain has {int(used, 16)}")
    found += [row["told"] for row in await owner.fetch(TROUBLES)]
    return found


def _difference(said: str, expected: Counter[Any], seen: Counter[Any]) -> Iterator[str]:
    for one in (expected - seen).elements():
        yield f"not {said}: {_shown(one)}"
    for one in (seen - expected).elements():
        yield f"{said} once too often: {_shown(one)}"


def _shown(one: tuple[Any, ...]) -> str:
    return ", ".join(as_hex(part) if isinstance(part, bytes) else str(part) for part in one)


def _outstanding_minor(stage: Stage) -> int:
    paid_in = sum(each.amount_minor for each in stage.world.deposits)
    return paid_in - sum(amount for _, amount in stage.wanted.paid)
