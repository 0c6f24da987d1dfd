"""Limits are kept to in order, and what the lane calls is what its rules let it call."""

from dataclasses import replace

import pytest

from bridge.calldata import Mint, MintBatch, MintPlainly, Reject, Settle, SettleBatch, Void
from bridge.journal import Purpose
from bridge.limits import Limits, Minted, limit_fault, limit_faults
from bridge.rules import ANYTHING, PURPOSES, Rules
from bridge.token import Token

TOKEN = Token(31337, b"T" * 20, "token", "DE89", "EUR", 2)
PLAIN = replace(TOKEN, kind="plain")
MINT = Mint(b"o" * 32, b"w" * 20, 100, b"r" * 32, 1)
SETTLE = Settle(b"o" * 32, b"r" * 32)
CALLS: dict[Purpose, list[bytes]] = {
    "mint": [MINT.encode(), MintBatch((MINT, MINT)).encode()],
    "settle": [SETTLE.encode(), SettleBatch((SETTLE, SETTLE)).encode()],
    "reject": [Reject(b"o" * 32, b"r" * 32).encode()],
    "void": [Void(b"o" * 32).encode()],
}


def test_what_does_not_fit_is_passed_over_and_smaller_ones_still_fit() -> None:
    hour = Limits("the signer", hour=100)
    found = limit_faults([(hour, Minted(30, 30))], [50, 40, 20, 1])
    assert [one is None for one in found] == [True, False, True, False]
    assert "100 minor units in an hour for the signer" in str(found[1])


def test_all_limits_hold_at_once_and_none_is_none() -> None:
    bounds = [
        (Limits("the signer", hour=1000), Minted()),
        (Limits("the bank account", operation=60, day=100), Minted(0, 50)),
    ]
    assert [one is None for one in limit_faults(bounds, [61, 50, 1])] == [False, True, False]
    assert limit_faults([(Limits("anybody"), Minted(9, 9))], [10**17]) == [None]
    assert limit_fault(Limits("the signer", hour=0), Minted(5, 5), []) is None


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_purpose_lets_its_own_calls_be_signed_and_no_others(purpose: Purpose) -> None:
    selectors = Rules(purposes=(purpose,)).policy(TOKEN).selectors
    for one, calls in CALLS.items():
        assert all((data[:4] in selectors) == (one == purpose) for data in calls)


def test_of_a_plain_token_its_own_mint_is_signed_and_nothing_else() -> None:
    plain = MintPlainly(b"w" * 20, 100).encode()
    assert ANYTHING.policy(PLAIN).selectors == {plain[:4]}
    assert plain[:4] not in ANYTHING.policy(TOKEN).selectors
    assert not Rules(purposes=("settle",)).policy(PLAIN).selectors
