"""The demo's checks: they hold for a right ending, and each kind of wrong one has its fault."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bridge.identity import operation_id
from bridge.operations import Kind
from daemon.demo.bank import BankEntry
from daemon.demo.checks import Setting, judge
from daemon.demo.disturbance import Reorg
from daemon.demo.facts import BankFacts, ChainFacts, DatabaseFacts, Facts, OperationRow, ProofRow
from daemon.demo.scenario import Deposit, Redemption, Scenario, draw
from daemon.demo.story import Story
from daemon.demo.token import MINTED, REQUESTED, SETTLED, Event

SETTING = Setting(chain_id=31_337, token=b"\x01" * 20, account_id="DE02")
MINT = "every deposit was minted once: right wallet, right amount"
BOOKED = "every deposit is booked at the bank"
PAID = "every redemption was paid once: right account, right amount"
BURNED = "every redemption was burned once"
SUPPLY = "balances, supply and events of the token agree"
IDENTITY = "the proof's identity holds, from raw numbers"
SETTLED_ALL = "every operation is settled and no break is open"
HAPPENED = "there was a reorg that undid mints, and a crash"


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return draw(random.Random(7), deposits=6, holders=3)


@pytest.fixture
def story(scenario: Scenario) -> Story:
    keys = {deposit.number: f"E-{deposit.number}" for deposit in scenario.deposits}
    return Story(keys, [Reorg(depth_blocks=3, unminted=2, dropped_requests=0)], restarts=1)


@pytest.fixture
def facts(scenario: Scenario) -> Facts:
    paid_in = sum(each.amount_minor for each in scenario.deposits)
    paid_out = sum(each.amount_minor for each in scenario.redemptions)
    left = paid_in - paid_out
    return Facts(
        _chain(scenario, left),
        BankFacts(
            (*map(_credit, scenario.deposits), *map(_debit, scenario.redemptions)),
            left,
            frozenset(_payment_id(each) for each in scenario.redemptions),
        ),
        DatabaseFacts(
            (*map(_issuance, scenario.deposits), *map(_redemption, scenario.redemptions)),
            ProofRow("agree", "all agree", 90, left, left, left),
            breaks=(),
            reorgs=1,
        ),
    )


def test_a_right_ending_has_no_fault(scenario: Scenario, story: Story, facts: Facts) -> None:
    assert _broken(scenario, story, facts) == []


def test_a_second_mint_of_one_deposit_is_noticed(
    scenario: Scenario, story: Story, facts: Facts
) -> None:
    events = (*facts.chain.events, _mint(scenario.deposits[0]))
    broken = _broken(scenario, story, _with_events(facts, events))
    assert broken == [MINT, SUPPLY, IDENTITY]


def test_a_mint_to_another_wallet_is_noticed(
    scenario: Scenario, story: Story, facts: Facts
) -> None:
    wrong = _mint(scenario.deposits[0])
    wrong = replace(wrong, topics=(*wrong.topics[:2], bytes(32)))
    events = tuple(wrong if e.topics[0] == wrong.topics[0] else e for e in facts.chain.events)
    assert _broken(scenario, story, _with_events(facts, events)) == [MINT]


def test_a_deposit_that_the_contract_does_not_call_minted_is_noticed(
    scenario: Scenario, story: Story, facts: Facts
) -> None:
    chain = replace(facts.chain, minted_status=frozenset())
    assert _broken(scenario, story, replace(facts, chain=chain)) == [MINT]


def test_money_in_the_account_that_nobody_paid_in_is_noticed(
    scenario: Scenario, story: Story, facts: Facts
) -> None:
    stray = BankEntry("E-stray", "credit", 5, None, "DE00")
    bank = replace(facts.bank, entries=(*facts.bank.entries, stray))
    assert _broken(scenario, story, replace(facts, bank=bank)) == [BOOKED, IDENTITY]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"iban": "DE00"}, id="to another account"),
        pytest.param({"amount_minor": 1}, id="with another amount"),
        pytest.param({"end_to_end_id": "X"}, id="under an id of nobody"),
    ],
)
def test_a_wrong_payment_is_noticed(
    scenario: Scenario, story: Story, facts: Facts, change: dict[str, object]
) -> None:
    *others, last = facts.bank.entries
    bank = replace(facts.bank, entries=(*others, replace(last, **change)))  # type: ignore[arg-type]
    assert PAID in _broken(scenario, story, replace(facts, bank=bank))


def test_a_second_payment_is_noticed(scenario: Scenario, story: Story, facts: Facts) -> None:
    again = facts.bank.entries[-1]
    bank = replace(facts.bank, entries=(*facts.bank.entries, again))
    assert _broken(scenario, story, replace(facts, bank=bank)) == [PAID, IDENTITY]


def test_a_missing_burn_is_noticed(scenario: Scenario, story: Story, facts: Facts) -> None:
    events = tuple(event for event in facts.chain.events if event.kind != SETTLED)
    broken = _broken(scenario, story, _with_events(facts, events))
    assert broken == [BURNED, SUPPLY, IDENTITY]


def test_tokens_left_in_escrow_are_noticed(scenario: Scenario, story: Story, facts: Facts) -> None:
    chain = replace(facts.chain, escrow=1)
    assert _broken(scenario, story, replace(facts, chain=chain)) == [SUPPLY]


def test_a_proof_of_other_numbers_is_noticed(
    scenario: Scenario, story: Story, facts: Facts
) -> None:
    assert facts.database.proof is not None
    proof = replace(facts.database.proof, reserve_minor=1)
    database = replace(facts.database, proof=proof)
    assert _broken(scenario, story, replace(facts, database=database)) == [IDENTITY]


def test_an_open_break_and_an_unfinished_operation_are_noticed(
    scenario: Scenario, story: Story, facts: Facts
) -> None:
    rows = (replace(facts.database.operations[0], state="mined"), *facts.database.operations[1:])
    for changed in (
        replace(facts.database, breaks=("amount E-1: too much",)),
        replace(facts.database, operations=rows),
    ):
        assert _broken(scenario, story, replace(facts, database=changed)) == [SETTLED_ALL]


def test_a_demo_without_its_bad_moments_is_no_success(scenario: Scenario, facts: Facts) -> None:
    calm = Story({deposit.number: f"E-{deposit.number}" for deposit in scenario.deposits})
    database = replace(facts.database, reorgs=0)
    assert _broken(scenario, calm, replace(facts, database=database)) == [HAPPENED]


def _broken(scenario: Scenario, story: Story, facts: Facts) -> list[str]:
    return [c.claim for c in judge(scenario, story, facts, SETTING) if not c.holds]


def _with_events(facts: Facts, events: tuple[Event, ...]) -> Facts:
    return replace(facts, chain=replace(facts.chain, events=events))


def _chain(scenario: Scenario, supply: int) -> ChainFacts:
    balances = {holder.wallet.address: 0 for holder in scenario.holders}
    for deposit in scenario.deposits:
        balances[deposit.holder.wallet.address] += deposit.amount_minor
    for redemption in scenario.redemptions:
        balances[redemption.holder.wallet.address] -= redemption.amount_minor
    events = (
        *map(_mint, scenario.deposits),
        *(_event(REQUESTED, each) for each in scenario.redemptions),
        *(_event(SETTLED, each) for each in scenario.redemptions),
    )
    minted = frozenset(_op_id(deposit) for deposit in scenario.deposits)
    return ChainFacts(events, supply, balances, escrow=0, minted_status=minted)


def _op_id(deposit: Deposit) -> bytes:
    return operation_id(
        chain_id=SETTING.chain_id,
        token=SETTING.token,
        reserve_account=SETTING.account_id,
        stable_entry_key=f"E-{deposit.number}",
        kind=Kind.ISSUANCE,
    )


def _mint(deposit: Deposit) -> Event:
    wallet = bytes(12) + deposit.holder.wallet.address
    data = deposit.amount_minor.to_bytes(32) + bytes(32)
    return Event(MINTED, (_op_id(deposit), bytes(32), wallet), data, 10, bytes(32), bytes(32))


def _event(kind: bytes, redemption: Redemption) -> Event:
    topics = (_redemption_id(redemption), bytes(12) + redemption.holder.wallet.address)
    data = redemption.amount_minor.to_bytes(32) + bytes(32)
    return Event(kind, topics, data, 20, bytes(32), bytes(32))


def _redemption_id(redemption: Redemption) -> bytes:
    return redemption.holder.number.to_bytes(32)


def _payment_id(redemption: Redemption) -> str:
    return f"P{redemption.holder.number}"


def _credit(deposit: Deposit) -> BankEntry:
    key = f"E-{deposit.number}"
    return BankEntry(key, "credit", deposit.amount_minor, None, deposit.holder.iban)


def _debit(redemption: Redemption) -> BankEntry:
    name, iban = _payment_id(redemption), redemption.holder.iban
    return BankEntry(f"D-{name}", "debit", redemption.amount_minor, name, iban)


def _issuance(deposit: Deposit) -> OperationRow:
    wallet, key = deposit.holder.wallet.address, f"E-{deposit.number}"
    amount = deposit.amount_minor
    return OperationRow("issuance", "settled", _op_id(deposit), amount, wallet, None, key, ())


def _redemption(redemption: Redemption) -> OperationRow:
    return OperationRow(
        kind="redemption",
        state="settled",
        op_id=redemption.holder.number.to_bytes(32),
        amount_minor=redemption.amount_minor,
        wallet=redemption.holder.wallet.address,
        redemption_id=_redemption_id(redemption),
        entry_key=None,
        end_to_end_ids=(_payment_id(redemption),),
    )
