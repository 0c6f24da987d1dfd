"""What ``eth_feeHistory`` tells: the base fees of some blocks and what was paid on top of them. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridge.fees import Market
from indexer.hexadecimal import from_quantity, shown

FEE_BITS: Final = 128
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FeeHistory:
    """Some blocks in a row, oldest first; amounts in wei per unit of gas.

    ``base_fees_wei`` has one more than there are blocks: the last is the next block's. geth tells 0 where a chain has
    no base fee; whether it has one stands in its headers alone. ``rewards_wei`` has for each block what was paid on
    top at each percentile of its gas, as asked; an empty block has zeros.
    """

    oldest_block: int
    base_fees_wei: tuple[int, ...]
    gas_used_ppm: tuple[int, ...]
    rewards_wei: tuple[tuple[int, ...], ...]


def read_fee_history(answer: object, *, blocks: int, percentiles: int) -> FeeHistory:
    """The answer to a question for so many blocks and percentiles; a node may tell of fewer blocks, not of none.

    Raises ``ValueError`` with the reason if it is anything else.
    """
    if not isinstance(answer, dict):
        raise ValueError(f"{shown(answer)} is not an object")
    used = _list(answer, "gasUsedRatio")
    if not 1 <= len(used) <= blocks:
        raise ValueError(f"it tells of {len(used)} blocks, where {blocks} were asked for")
    base_fees = _list(answer, "baseFeePerGas", len(used) + 1)
    rewards = _list(answer, "reward", len(used))
    return FeeHistory(
        oldest_block=from_quantity(answer.get("oldestBlock"), 63),
        base_fees_wei=tuple(from_quantity(fee, FEE_BITS) for fee in base_fees),
        gas_used_ppm=tuple(_ppm(ratio) for ratio in used),
        rewards_wei=tuple(_rewards(of_block, percentiles) for of_block in rewards),
    )


def market(
    history: FeeHistory, *, percentile: int, lowest_tip_wei: int, has_base_fee: bool
) -> Market:
    """What the chain asks after these blocks: the middle one of what was paid at a percentile, which is named by its
    place among those that were asked for. Empty blocks say nothing of it."""
    paid_wei = sorted(
        of_block[percentile]
        for used, of_block in zip(history.gas_used_ppm, history.rewards_wei, strict=True)
        if used > 0
    )
    tip_wei = max(paid_wei[len(paid_wei) // 2] if paid_wei else 0, lowest_tip_wei)
    return Market(history.base_fees_wei[-1] if has_base_fee else None, tip_wei)


def _list(answer: dict[str, object], field: str, length: int | None = None) -> Sequence[object]:
    value = answer.get(field)
    if not isinstance(value, list):
        raise ValueError(f"{field} is {shown(value)}, not a list")
    if length is not None and len(value) != length:
        raise ValueError(f"{field} has {len(value)} values, not {length}")
    return value


def _ppm(ratio: object) -> int:
    """Between 0 and a million. Some chains count more than all of a block's gas; that is all of it."""
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio < math.inf:
        raise ValueError(f"{shown(ratio)} is not a share of a block's gas")
    # Rounded up: a block with one transaction is not empty.
    return math.ceil(min(ratio, 1) * MILLION)


def _rewards(of_block: object, percentiles: int) -> tuple[int, ...]:
    if not isinstance(of_block, list) or len(of_block) != percentiles:
        raise ValueError(f"{shown(of_block)} is not {percentiles} rewards")
    rewards = tuple(from_quantity(reward, FEE_BITS) for reward in of_block)
    if list(rewards) != sorted(rewards):
        raise ValueError(f"the rewards {shown(of_block)} fall where the percentiles rise")
    return rewards
