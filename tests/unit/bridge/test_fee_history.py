"""The answer to ``eth_feeHistory``, as nodes give it and as they must not."""

from typing import Any

import pytest

from bridge.fee_history import FeeHistory, market, read_fee_history
from bridge.fees import Market

GWEI = 10**9


def answer(**changed: Any) -> dict[str, Any]:
    """Three blocks of geth's, the middle one empty."""
    return {
        "oldestBlock": "0x10",
        "baseFeePerGas": ["0x3b9aca00", "0x3b9aca01", "0x3b9aca02", "0x3b9aca03"],
        "gasUsedRatio": [0.5, 0, 0.0000001],
        "reward": [["0x1", "0x5"], ["0x0", "0x0"], ["0x3", "0x3"]],
        "baseFeePerBlobGas": ["0x1", "0x1", "0x1", "0x1"],
        "blobGasUsedRatio": [0, 0, 0],
        **changed,
    }


def read(told: object, blocks: int = 3, percentiles: int = 2) -> FeeHistory:
    return read_fee_history(told, blocks=blocks, percentiles=percentiles)


def test_an_answer_is_read() -> None:
    assert read(answer()) == FeeHistory(
        oldest_block=16,
        base_fees_wei=(GWEI, GWEI + 1, GWEI + 2, GWEI + 3),
        gas_used_ppm=(500_000, 0, 1),
        rewards_wei=((1, 5), (0, 0), (3, 3)),
    )


def test_a_node_may_tell_of_fewer_blocks() -> None:
    assert len(read(answer(), blocks=100).rewards_wei) == 3


def test_more_than_all_of_a_block_is_all_of_it() -> None:
    assert read(answer(gasUsedRatio=[1, 1.7, 10**400])).gas_used_ppm == (1_000_000,) * 3


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (None, "not an object"),
        ([], "not an object"),
        (answer(gasUsedRatio=None), "gasUsedRatio is None, not a list"),
        (answer(gasUsedRatio=[]), "0 blocks"),
        (answer(gasUsedRatio=[0.1] * 4), "4 blocks, where 3"),
        (answer(gasUsedRatio=[0.1, True, 0.1]), "share"),
        (answer(gasUsedRatio=[0.1, "0.1", 0.1]), "share"),
        (answer(gasUsedRatio=[0.1, -0.1, 0.1]), "share"),
        (answer(gasUsedRatio=[0.1, float("nan"), 0.1]), "share"),
        (answer(gasUsedRatio=[0.1, float("inf"), 0.1]), "share"),
        (answer(baseFeePerGas=["0x1"] * 3), "baseFeePerGas has 3 values, not 4"),
        (answer(baseFeePerGas=["0x1"] * 3 + ["1"]), "quantity"),
        (answer(baseFeePerGas=["0x1"] * 3 + [None]), "quantity"),
        (answer(baseFeePerGas=["0x1"] * 3 + ["0x1" + "0" * 32]), "128 bits"),
        (answer(reward=None), "reward is None"),
        (answer(reward=[["0x1", "0x5"]] * 2), "reward has 2 values, not 3"),
        (answer(reward=[["0x1", "0x5"]] * 2 + [["0x1"]]), "not 2 rewards"),
        (answer(reward=[["0x1", "0x5"]] * 2 + [None]), "not 2 rewards"),
        (answer(reward=[["0x1", "0x5"]] * 2 + [["0x5", "0x1"]]), "fall"),
        (answer(oldestBlock=None), "quantity"),
    ],
)
def test_anything_else_is_refused(told: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(told)


def test_the_market_is_the_next_base_fee_and_the_middle_of_what_was_paid() -> None:
    history = read(answer())
    high = market(history, percentile=1, lowest_tip_wei=0, has_base_fee=True)
    low = market(history, percentile=0, lowest_tip_wei=2, has_base_fee=True)
    assert high == Market(GWEI + 3, 5)
    assert low == Market(GWEI + 3, 3)


def test_without_a_base_fee_what_was_paid_is_the_whole_price() -> None:
    history = read(answer(baseFeePerGas=["0x0"] * 4))
    assert market(history, percentile=1, lowest_tip_wei=0, has_base_fee=False) == Market(None, 5)


def test_where_every_block_is_empty_the_lowest_tip_is_offered() -> None:
    history = read(answer(gasUsedRatio=[0, 0, 0]))
    empty = market(history, percentile=1, lowest_tip_wei=7, has_base_fee=True)
    assert empty == Market(GWEI + 3, 7)
