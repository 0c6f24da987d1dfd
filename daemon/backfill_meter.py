"""How fast a backfill is and when it will be done, from what its status says again and again. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.index_status import ChainStatus, SourceState, SourceStatus

WINDOW_S: Final = 30.0
"""Rates are of the last so many seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one contract. Blocks are those that are final; ``total_blocks`` is None until its start is known, and
    rates until there is something to compare with. ``rows`` is an estimate."""

    chain: str
    contract: str
    version: int
    state: SourceState
    published: bool
    done_blocks: int
    total_blocks: int | None
    percent: float
    rows: int
    rows_per_s: float | None
    eta_s: float | None

    @property
    def is_done(self) -> bool:
        return self.state == "joined" and self.published


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    done_blocks: int
    rows: int


class Meter:
    """Remembers what it saw for as long as rates are made of it."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str, int], deque[_Sample]] = {}

    def look(self, chains: Sequence[ChainStatus], now_s: float) -> list[Progress]:
        """The progress of every contract that is wanted; ``now_s`` only ever rises."""
        return [
            self._progress(chain, source, now_s)
            for chain in chains
            for source in chain.sources
            if source.state != "retired" and not _is_replaced(source, chain.sources)
        ]

    def _progress(self, chain: ChainStatus, source: SourceStatus, now_s: float) -> Progress:
        done, total = _blocks(chain, source)
        samples = self._samples.setdefault((chain.name, source.name, source.version), deque())
        samples.append(_Sample(now_s, done, source.rows_estimate))
        while now_s - samples[0].at_s > WINDOW_S:
            samples.popleft()
        first, elapsed_s = samples[0], now_s - samples[0].at_s
        blocks_per_s = (done - first.done_blocks) / elapsed_s if elapsed_s > 0 else 0.0
        left = None if total is None else total - done
        return Progress(
            chain=chain.name,
            contract=source.name,
            version=source.version,
            state=source.state,
            published=source.published,
            done_blocks=done,
            total_blocks=total,
            percent=source.percent,
            rows=source.rows_estimate,
            rows_per_s=max(0.0, (source.rows_estimate - first.rows) / elapsed_s)
            if elapsed_s > 0
            else None,
            eta_s=left / blocks_per_s if left is not None and blocks_per_s > 0 else None,
        )


def _is_replaced(source: SourceStatus, sources: Sequence[SourceStatus]) -> bool:
    """Whether a newer version is on its way, which is what is waited for."""
    return any(
        one.name == source.name and one.version > source.version and one.state != "retired"
        for one in sources
    )


def _blocks(chain: ChainStatus, source: SourceStatus) -> tuple[int, int | None]:
    if source.start_block is None or chain.finalized is None:
        return 0, None
    total = max(0, chain.finalized - source.start_block + 1)
    if source.state == "joined":
        return total, total
    covered = source.start_block - 1 if source.covered_to is None else source.covered_to
    return min(total, covered - source.start_block + 1), total


def duration(seconds: float | None) -> str:
    """``1:02:03``, or a question mark."""
    if seconds is None or seconds > 3600 * 10_000:
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
