"""Policy and matching: pure decisions, table by table."""

import pytest

from bridge.matching import MintExpected, MintSeen, unauthorized_mint
from bridge.policy import Approve, Hold, WalletStanding, judge_issuance, judge_redemption


@pytest.mark.parametrize(
    ("standing", "held"),
    [
        (WalletStanding(allowed=True, frozen=False), False),
        (WalletStanding(allowed=False, frozen=False), True),
        (WalletStanding(allowed=True, frozen=True), True),
    ],
)
def test_a_mint_needs_a_wallet_that_may_receive(standing: WalletStanding, held: bool) -> None:
    assert isinstance(judge_issuance(standing), Hold) == held


def test_a_payout_needs_a_registered_holder_who_is_not_frozen() -> None:
    good = WalletStanding(allowed=True, frozen=False)
    gone = WalletStanding(allowed=False, frozen=False)
    frozen = WalletStanding(allowed=True, frozen=True)
    assert judge_redemption(good, registered=True, still_open=True) == Approve()
    assert judge_redemption(gone, registered=True, still_open=True) == Approve()
    assert isinstance(judge_redemption(frozen, registered=True, still_open=True), Hold)
    assert isinstance(judge_redemption(good, registered=True, still_open=False), Hold)
    unregistered = judge_redemption(good, registered=False, still_open=True)
    assert isinstance(unregistered, Hold)
    assert unregistered.break_kind == "unregistered_burn"


SEEN = MintSeen(op_id=b"o" * 32, to=b"w" * 20, amount=100, tx_hash=b"h" * 32)
EXPECTED = MintExpected("submitted", b"w" * 20, 100, frozenset({b"h" * 32}))


def test_a_mint_is_ours_only_if_everything_fits() -> None:
    assert unauthorized_mint(SEEN, EXPECTED) is None


@pytest.mark.parametrize(
    "expected",
    [
        None,
        MintExpected("submitted", b"w" * 20, 100, frozenset()),
        MintExpected("submitted", b"w" * 20, 101, frozenset({b"h" * 32})),
        MintExpected("submitted", b"x" * 20, 100, frozenset({b"h" * 32})),
        MintExpected("reserved", b"w" * 20, 100, frozenset({b"h" * 32})),
        MintExpected("settled", b"w" * 20, 100, frozenset({b"h" * 32})),
    ],
)
def test_a_mint_that_does_not_fit_is_unauthorised(expected: MintExpected | None) -> None:
    assert unauthorized_mint(SEEN, expected) is not None
