"""How many blocks to ask for at once. Pure.

Neither the node's limits nor how dense the logs are is known beforehand: a span grows while its answers are
small, shrinks to fit when they are large, and is cut in two when the node refuses it. Small answers are
best on a near node, whose cost grows faster than its answer; where requests are rationed, they should be
as large as memory allows.
"""

import heapq
from dataclasses import dataclass, field
from typing import Final

FIRST_BLOCKS: Final = 10
RATIONED_FIRST_BLOCKS: Final = 1_000
MAX_BLOCKS: Final = 100_000
GROWTH: Final = 10.0
# Until so many spans were answered or refused, or the node has said how long they may be, one at a time is asked for.
PROBES: Final = 4
TARGET_BYTES: Final = 750_000
RATIONED_TARGET_BYTES: Final = 6_000_000


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Blocks ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def blocks(self) -> int:
        return self.last - self.first + 1


@dataclass(slots=True)
class Spans:
    """Hands out the spans between ``first`` and ``last``, lowest first; a refused one comes back in pieces."""

    first: int
    last: int
    target_bytes: int = TARGET_BYTES
    _size: float = FIRST_BLOCKS
    _probes: int = 0
    _returned: list[Span] = field(default_factory=list)

    @classmethod
    def of(cls, span: Span, requests_per_s: float | None) -> "Spans":
        """Those of ``span``, by the rate at which they may be asked for; None if there is none."""
        if requests_per_s is None:
            return cls(span.first, span.last)
        return cls(span.first, span.last, RATIONED_TARGET_BYTES, RATIONED_FIRST_BLOCKS)

    @property
    def is_probing(self) -> bool:
        """Whether too little is known yet to ask for several at once."""
        return self._probes < PROBES

    @property
    def lowest(self) -> int:
        """The first block of the span that would be handed out next."""
        return self._returned[0].first if self._returned else self.first

    def take(self, limit_blocks: int | None) -> Span | None:
        """The next span, at most ``limit_blocks`` long; None when all have been handed out."""
        if self._returned:
            return heapq.heappop(self._returned)
        if self.first > self.last:
            return None
        blocks = int(min(self._size, limit_blocks or MAX_BLOCKS, MAX_BLOCKS))
        span = Span(self.first, min(self.last, self.first + max(blocks, 1) - 1))
        self.first = span.last + 1
        return span

    def answered(self, span: Span, size_bytes: int) -> None:
        """Learn from an answer of this size."""
        self._probes += 1
        fitting = self.target_bytes * span.blocks / max(size_bytes, 1)
        # An answer to fewer blocks than are asked for now says nothing about asking for more.
        if fitting < self._size or span.blocks >= self._size / 2:
            self._size = max(1.0, min(fitting, self._size * GROWTH, MAX_BLOCKS))

    def refused(self, span: Span, accepted_blocks: int | None) -> bool:
        """Cut a span that was too long, at what the node says it accepts, or in half.

        False if it is a single block, which cannot be cut.
        """
        self._probes = PROBES if accepted_blocks else self._probes + 1
        if span.blocks == 1:
            return False
        piece = min(accepted_blocks or span.blocks // 2, span.blocks - 1)
        piece = max(piece, 1)
        for start in range(span.first, span.last + 1, piece):
            heapq.heappush(self._returned, Span(start, min(span.last, start + piece - 1)))
        self._size = min(self._size, float(piece))
        return True
