"""Whether chain, bank and database tell the same story, and the right one. Pure.

Each check compares what people did (the scenario, and the keys that the bank gave) with what at
least two of the three sources say. A check without a fault holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bridge.identity import operation_id
from bridge.operations import Kind
from daemon.demo.bank import BankEntry
from daemon.demo.facts import Facts, OperationRow
from daemon.demo.scenario import Deposit, Redemption, Scenario
from daemon.demo.story import Story
from daemon.demo.token import MINTED, REJECTED, REQUESTED, SETTLED, Event

FAULTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be true, and every way in which it is not."""

    claim: str
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.faults

    @property
    def first_faults(self) -> str:
        more = len(self.faults) - FAULTS_SHOWN
        shown = "; ".join(self.faults[:FAULTS_SHOWN])
        return f"{shown}; and {more} more" if more > 0 else shown


@dataclass(frozen=True, slots=True)
class Setting:
    """What op_ids are derived from."""

    chain_id: int
    token: bytes
    account_id: str


def judge(scenario: Scenario, story: Story, facts: Facts, setting: Setting) -> list[Check]:
    """Every check, in the order in which a reader wants them."""
    claims: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("every deposit is booked at the bank", lambda: _booked(scenario, story, facts)),
        (
            "every deposit was minted once: right wallet, right amount",
            lambda: _minted(scenario, story, facts, setting),
        ),
        (
            "every redemption was paid once: right account, right amount",
            lambda: _paid(scenario, facts),
        ),
        ("every redemption was burned once", lambda: _burned(scenario, facts)),
        ("balances, supply and events of the token agree", lambda: _supply(facts)),
        ("the proof's identity holds, from raw numbers", lambda: _identity(facts)),
        ("every operation is settled and no break is open", lambda: _settled(facts)),
        ("there was a reorg that undid mints, and a crash", lambda: _happened(story, facts)),
    ]
    return [Check(claim, tuple(faults())) for claim, faults in claims]


def _booked(scenario: Scenario, story: Story, facts: Facts) -> Iterator[str]:
    credits = {each.entry_key: each for each in _entries(facts, "credit")}
    for deposit in scenario.deposits:
        entry = credits.pop(story.entry_keys.get(deposit.number, ""), None)
        if entry is None:
            yield f"deposit {deposit.number} is not in the account"
        elif (entry.amount_minor, entry.iban) != (deposit.amount_minor, deposit.holder.iban):
            yield f"deposit {deposit.number} stands in the account otherwise than it was paid in"
    yield from (f"entry {key} is nobody's deposit" for key in credits)


def _minted(scenario: Scenario, story: Story, facts: Facts, setting: Setting) -> Iterator[str]:
    mints = _by_topic(facts.chain.events, MINTED)
    rows = {row.entry_key: row for row in facts.database.operations if row.kind == "issuance"}
    for deposit in scenario.deposits:
        entry_key = story.entry_keys.get(deposit.number, "")
        op_id = operation_id(
            chain_id=setting.chain_id,
            token=setting.token,
            reserve_account=setting.account_id,
            stable_entry_key=entry_key,
            kind=Kind.ISSUANCE,
        )
        for fault in _mint_faults(deposit, op_id, mints.pop(op_id, []), rows.get(entry_key)):
            yield f"deposit {deposit.number} {fault}"
        if op_id not in facts.chain.minted_status:
            yield f"deposit {deposit.number}: the contract does not call its operation minted"
    yield from (f"operation 0x{op_id.hex()} was minted for no deposit" for op_id in mints)


def _mint_faults(
    deposit: Deposit, op_id: bytes, mints: list[Event], row: OperationRow | None
) -> Iterator[str]:
    if len(mints) != 1:
        yield f"was minted {len(mints)} times"
        return
    if mints[0].address(2) != deposit.holder.wallet.address:
        yield "was minted to another wallet"
    if mints[0].amount != deposit.amount_minor:
        yield f"of {deposit.amount_minor} was minted as {mints[0].amount}"
    if row is None or (row.op_id, row.amount_minor) != (op_id, deposit.amount_minor):
        yield "is not in the database as it was minted"


def _paid(scenario: Scenario, facts: Facts) -> Iterator[str]:
    debits: dict[str, list[BankEntry]] = {}
    for entry in _entries(facts, "debit"):
        debits.setdefault(entry.end_to_end_id or "", []).append(entry)
    rows = {row.redemption_id: row for row in facts.database.operations if row.redemption_id}
    requests = _requests_by_holder(facts.chain.events)
    for redemption in scenario.redemptions:
        who = f"holder {redemption.holder.number}"
        asked = requests.pop(redemption.holder.wallet.address, [])
        if [event.amount for event in asked] != [redemption.amount_minor]:
            yield f"{who} stands with {len(asked)} requests on the chain, not with the one made"
            continue
        row = rows.get(asked[0].topics[0])
        ids = () if row is None else row.end_to_end_ids
        paid = [entry for each in ids for entry in debits.pop(each, [])]
        yield from (f"{who} {fault}" for fault in _payment_faults(redemption, paid))
        yield from (
            f"{who}: payment {i} is not booked, says the bank"
            for i in ids
            if i not in facts.bank.booked_payments
        )
    yield from (f"payment {each or '(no id)'} is for no redemption" for each in debits)
    yield from (f"0x{wallet.hex()} asked for a redemption unexpectedly" for wallet in requests)


def _payment_faults(redemption: Redemption, paid: list[BankEntry]) -> Iterator[str]:
    if len(paid) != 1:
        yield f"was paid {len(paid)} times"
    elif paid[0].amount_minor != redemption.amount_minor:
        yield f"asked for {redemption.amount_minor} and was paid {paid[0].amount_minor}"
    elif paid[0].iban != redemption.holder.iban:
        yield "was paid to another account"


def _burned(scenario: Scenario, facts: Facts) -> Iterator[str]:
    burns = _by_topic(facts.chain.events, SETTLED)
    requests = _requests_by_holder(facts.chain.events)
    for redemption in scenario.redemptions:
        for request in requests.get(redemption.holder.wallet.address, []):
            amounts = [event.amount for event in burns.pop(request.topics[0], [])]
            if amounts != [redemption.amount_minor]:
                yield f"holder {redemption.holder.number}: burned {amounts}"
    yield from (f"redemption 0x{each.hex()} was burned and never asked for" for each in burns)
    if _by_topic(facts.chain.events, REJECTED):
        yield "a redemption was rejected"


def _supply(facts: Facts) -> Iterator[str]:
    chain = facts.chain
    minted, burned = _total(chain.events, MINTED), _total(chain.events, SETTLED)
    held = sum(chain.balances.values()) + chain.escrow
    if chain.total_supply != minted - burned:
        yield f"totalSupply is {chain.total_supply}, minted {minted} less burned {burned}"
    if chain.total_supply != held:
        yield f"totalSupply is {chain.total_supply}, everybody holds {held}"
    if chain.escrow != 0:
        yield f"{chain.escrow} are still in escrow"


def _identity(facts: Facts) -> Iterator[str]:
    """B = S − PNB + BNP + FNM, each term from the bank's lines and the chain's events alone."""
    credited = sum(entry.amount_minor for entry in _entries(facts, "credit"))
    paid = sum(entry.amount_minor for entry in _entries(facts, "debit"))
    minted, burned = _total(facts.chain.events, MINTED), _total(facts.chain.events, SETTLED)
    paid_not_burned, burned_not_paid = max(0, paid - burned), max(0, burned - paid)
    explained = facts.chain.total_supply - paid_not_burned + burned_not_paid + (credited - minted)
    balance = facts.bank.balance_minor
    if balance != explained:
        yield f"the bank's balance is {balance}, its explanation sums to {explained}"
    if balance != credited - paid:
        yield f"the bank's balance is {balance}, its lines sum to {credited - paid}"
    proof = facts.database.proof
    if proof is None:
        yield "there is no proof"
        return
    if proof.verdict != "agree":
        yield f"the newest proof says {proof.verdict}: {proof.explanation}"
    said = (proof.reserve_minor, proof.bank_balance_minor, proof.supply_minor)
    if said != (balance, balance, facts.chain.total_supply):
        yield f"the newest proof, of block {proof.block_number}, has other numbers: {said}"


def _settled(facts: Facts) -> Iterator[str]:
    states = Counter((row.kind, row.state) for row in facts.database.operations)
    for (kind, state), number in sorted(states.items()):
        # A request that a reorg dropped, and that came back as another one, stays dropped.
        if state not in ("settled", "dropped"):
            yield f"{number} {kind} {state}"
    yield from facts.database.breaks


def _happened(story: Story, facts: Facts) -> Iterator[str]:
    if story.unminted == 0:
        yield "no reorg undid a mint"
    if story.restarts == 0:
        yield "the daemon was not killed"
    if facts.database.reorgs != len(story.reorgs):
        yield f"{len(story.reorgs)} reorgs happened, the daemon saw {facts.database.reorgs}"


def _entries(facts: Facts, direction: str) -> list[BankEntry]:
    return [entry for entry in facts.bank.entries if entry.direction == direction]


def _by_topic(events: Iterable[Event], kind: bytes) -> dict[bytes, list[Event]]:
    """Events of a kind by their first topic: the id of an operation or a redemption."""
    found: dict[bytes, list[Event]] = {}
    for event in events:
        if event.kind == kind:
            found.setdefault(event.topics[0], []).append(event)
    return found


def _requests_by_holder(events: Iterable[Event]) -> dict[bytes, list[Event]]:
    found: dict[bytes, list[Event]] = {}
    for event in events:
        if event.kind == REQUESTED:
            found.setdefault(event.address(1), []).append(event)
    return found


def _total(events: Iterable[Event], kind: bytes) -> int:
    return sum(event.amount for event in events if event.kind == kind)
