"""Offers and replacements: what nodes demand of them, written down here once more, from the nodes' own rules."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.fees import CeilingReached, FeeCeilingError, FeeOffer, Market, bump, offer

GWEI = 10**9
WEI = st.integers(min_value=0, max_value=10**14)
LEGACY = st.builds(FeeOffer, WEI, st.none())
DYNAMIC = st.tuples(WEI, WEI).map(lambda pair: FeeOffer(max(pair), min(pair)))
MARKETS = st.builds(Market, st.none() | WEI, WEI)
# So that many draws are at the edge of a rule, where rounding matters.
NARROW = st.integers(min_value=0, max_value=300)
NARROW_DYNAMIC = st.tuples(NARROW, NARROW).map(lambda pair: FeeOffer(max(pair), min(pair)))
NARROW_MARKETS = st.builds(Market, st.none() | NARROW, NARROW)
OFFERS = LEGACY | DYNAMIC | NARROW_DYNAMIC | st.builds(FeeOffer, NARROW, st.none())
ANY_MARKET = MARKETS | NARROW_MARKETS
CEILINGS = WEI | NARROW


def fields(fees: FeeOffer) -> tuple[int, int]:
    """Fee cap and tip, as every node has them: both are the gas price of a legacy transaction."""
    tip = fees.max_fee_wei if fees.priority_fee_wei is None else fees.priority_fee_wei
    return fees.max_fee_wei, tip


def geth_replaces(old: FeeOffer, new: FeeOffer, percent: int = 10) -> bool:
    """core/txpool/legacypool/list.go: both more than before, and at least the threshold, which is rounded down."""
    return all(
        after > before and after >= before * (100 + percent) // 100
        for before, after in zip(fields(old), fields(new), strict=True)
    )


def nethermind_replaces(old: FeeOffer, new: FeeOffer) -> bool:
    """CompareReplacedTxByFee: a tenth more, rounded down; exactly so much counts only if that tenth is not 0."""
    if old.max_fee_wei == 0:
        return True
    (old_cap, old_tip), (new_cap, new_tip) = fields(old), fields(new)
    if new_cap < old_cap + old_cap // 10:
        return False
    if new_tip != old_tip + old_tip // 10:
        return new_tip > old_tip + old_tip // 10
    return old_cap // 10 > 0 and old_tip // 10 > 0


def besu_replaces(old: FeeOffer, new: FeeOffer, base_fee_wei: int) -> bool:
    """TransactionReplacementByFeeMarketRule: what would be paid now, and then what the proposer would get of it."""

    def paid(fees: FeeOffer) -> tuple[int, int]:
        cap, tip = fields(fees)
        price = min(cap, base_fee_wei + tip)
        return price, price - base_fee_wei

    (old_price, old_tip), (new_price, new_tip) = paid(old), paid(new)
    if old_price * 110 <= new_price * 100:
        return new_tip >= old_tip
    return old_price == new_price and old_tip * 110 <= new_tip * 100


@given(OFFERS, ANY_MARKET, CEILINGS)
def test_every_bump_replaces_the_last_attempt_on_every_node(
    last: FeeOffer, market: Market, ceiling: int
) -> None:
    new = bump(last, market, ceiling_wei=ceiling)
    assume(isinstance(new, FeeOffer))
    assert isinstance(new, FeeOffer)
    assert geth_replaces(last, new)
    assert nethermind_replaces(last, new)
    assert besu_replaces(last, new, market.base_fee_wei or 0)


@given(OFFERS, ANY_MARKET, CEILINGS)
def test_a_bump_is_below_the_ceiling_and_of_the_same_kind(
    last: FeeOffer, market: Market, ceiling: int
) -> None:
    new = bump(last, market, ceiling_wei=ceiling)
    if isinstance(new, CeilingReached):
        assert new.ceiling_wei == ceiling < new.needed_wei
        return
    cap, tip = fields(new)
    assert tip <= cap <= ceiling
    assert (new.priority_fee_wei is None) == (last.priority_fee_wei is None)
    assert new == bump(last, market, ceiling_wei=ceiling)


@given(OFFERS, ANY_MARKET, CEILINGS)
def test_a_bump_waits_only_where_nothing_below_the_ceiling_would_help(
    last: FeeOffer, market: Market, ceiling: int
) -> None:
    new = bump(last, market, ceiling_wei=ceiling)
    if isinstance(new, CeilingReached):
        highest = FeeOffer(ceiling, None if last.priority_fee_wei is None else ceiling)
        too_little = not geth_replaces(last, highest) or ceiling < (market.base_fee_wei or 0)
        # Rounded up, where geth rounds down: the one place where we ask for a wei more than geth.
        assert too_little or ceiling == last.max_fee_wei * 110 // 100


@given(DYNAMIC | NARROW_DYNAMIC, ANY_MARKET, ANY_MARKET, CEILINGS, WEI)
def test_a_dearer_market_and_a_higher_ceiling_never_lower_the_bump(
    last: FeeOffer, one: Market, other: Market, ceiling: int, more: int
) -> None:
    base_fees = sorted([one.base_fee_wei or 0, other.base_fee_wei or 0])
    tips = sorted([one.tip_wei, other.tip_wei])
    cheap, dear = (Market(*each) for each in zip(base_fees, tips, strict=True))
    low = bump(last, cheap, ceiling_wei=ceiling)
    high = bump(last, dear, ceiling_wei=ceiling)
    if isinstance(low, CeilingReached):
        assert isinstance(high, CeilingReached)
        return
    if isinstance(high, FeeOffer):
        assert high.max_fee_wei >= low.max_fee_wei
    freer = bump(last, cheap, ceiling_wei=ceiling + more)
    assert isinstance(freer, FeeOffer)
    assert fields(freer) >= fields(low)
    assert fields(freer)[1] >= fields(low)[1]


@given(DYNAMIC | NARROW_DYNAMIC, DYNAMIC | NARROW_DYNAMIC, ANY_MARKET, CEILINGS)
def test_a_higher_last_attempt_never_lowers_the_bump(
    one: FeeOffer, other: FeeOffer, market: Market, ceiling: int
) -> None:
    (cap, tip), (other_cap, other_tip) = fields(one), fields(other)
    low = bump(FeeOffer(min(cap, other_cap), min(tip, other_tip)), market, ceiling_wei=ceiling)
    high = bump(FeeOffer(max(cap, other_cap), max(tip, other_tip)), market, ceiling_wei=ceiling)
    if isinstance(low, CeilingReached):
        assert isinstance(high, CeilingReached)
    elif isinstance(high, FeeOffer):
        assert all(more >= less for more, less in zip(fields(high), fields(low), strict=True))


@given(OFFERS, ANY_MARKET)
def test_bumps_come_to_the_ceiling_in_few_steps(last: FeeOffer, market: Market) -> None:
    ceiling = 10**15
    for _ in range(400):
        new = bump(last, market, ceiling_wei=ceiling)
        if isinstance(new, CeilingReached):
            return
        last = new
    pytest.fail("a bump grows by a tenth each time")


@given(ANY_MARKET, CEILINGS)
def test_a_first_offer_pays_the_market_or_says_why_not(market: Market, ceiling: int) -> None:
    asked = (market.base_fee_wei or 0) + market.tip_wei
    try:
        first = offer(market, ceiling_wei=ceiling)
    except FeeCeilingError:
        assert asked > ceiling
        return
    cap, tip = fields(first)
    assert asked <= cap <= ceiling
    assert tip <= cap
    assert (first.priority_fee_wei is None) == (market.base_fee_wei is None)
    assert first == offer(market, ceiling_wei=ceiling)


@pytest.mark.parametrize(
    ("base", "ceiling", "expected"),
    [
        (10 * GWEI, 100 * GWEI, FeeOffer(21 * GWEI, GWEI)),
        (60 * GWEI, 100 * GWEI, FeeOffer(100 * GWEI, GWEI)),
        (99 * GWEI, 100 * GWEI, FeeOffer(100 * GWEI, GWEI)),
        (0, 100 * GWEI, FeeOffer(GWEI, GWEI)),
        (None, 100 * GWEI, FeeOffer(GWEI, None)),
    ],
)
def test_an_offer_leaves_room_for_a_rising_base_fee(
    base: int | None, ceiling: int, expected: FeeOffer
) -> None:
    assert offer(Market(base, GWEI), ceiling_wei=ceiling) == expected


def test_nothing_is_offered_above_the_ceiling() -> None:
    with pytest.raises(FeeCeilingError, match="exceed the ceiling"):
        offer(Market(100 * GWEI, 1), ceiling_wei=100 * GWEI)


@pytest.mark.parametrize(
    ("why", "last", "market", "expected"),
    [
        ("the base fee rose", FeeOffer(21, 1), Market(40, 1), FeeOffer(82, 2)),
        ("others pay more", FeeOffer(100, 1), Market(10, 9), FeeOffer(110, 9)),
        ("nothing changed", FeeOffer(100, 10), Market(0, 10), FeeOffer(110, 11)),
        ("a tenth is rounded up", FeeOffer(101, 11), Market(0, 0), FeeOffer(112, 13)),
        ("nothing was offered", FeeOffer(0, 0), Market(0, 0), FeeOffer(1, 1)),
        ("what is paid rises too", FeeOffer(200, 2), Market(98, 2), FeeOffer(220, 12)),
        ("a legacy price", FeeOffer(100, None), Market(None, 90), FeeOffer(110, None)),
        ("a dearer legacy market", FeeOffer(100, None), Market(None, 300), FeeOffer(300, None)),
        ("the market is above the ceiling", FeeOffer(100, 1), Market(400, 300), FeeOffer(500, 300)),
        ("a tip above the ceiling", FeeOffer(100, 1), Market(400, 900), FeeOffer(500, 500)),
        ("no replacement fits", FeeOffer(455, 1), Market(1, 1), CeilingReached(501, 500)),
        ("the base fee does not fit", FeeOffer(100, 1), Market(501, 1), CeilingReached(501, 500)),
    ],
)
def test_a_bump_follows_the_last_attempt_and_the_market(
    why: str, last: FeeOffer, market: Market, expected: FeeOffer | CeilingReached
) -> None:
    assert bump(last, market, ceiling_wei=500) == expected, why


def test_a_reached_ceiling_says_what_would_be_needed() -> None:
    assert str(CeilingReached(501, 500)) == (
        "501 wei per gas are needed, above the ceiling of 500 wei"
    )
