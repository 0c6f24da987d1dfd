"""How many of the newest final blocks a range is held against."""

import pytest

from indexer.anchor import FEWEST_BLOCKS, NEWEST_BLOCKS, newest_blocks


@pytest.mark.parametrize(
    ("requests_per_s", "blocks"),
    [
        (None, NEWEST_BLOCKS),
        (1000.0, NEWEST_BLOCKS),
        (50.0, 20),
        (20.0, FEWEST_BLOCKS),
        (0.5, FEWEST_BLOCKS),
    ],
)
def test_rationed_calls_are_not_spent_on_headers(requests_per_s: float | None, blocks: int) -> None:
    assert newest_blocks(requests_per_s) == blocks
