"""One provider: a node, what has been learnt about it, and how it fares."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from indexer.block import BlockRef
from indexer.budget import Budget, Clock, Sleep
from indexer.errors import (
    DatabaseUnavailable,
    DeepReorg,
    NodeBehind,
    ProviderAstray,
    RangeRefused,
    Retryable,
    RpcRateLimited,
)
from indexer.gate import Outcome
from indexer.hexadecimal import to_data
from indexer.rpc import Rpc
from indexer.standing import Standing

# So long it is believed that a provider has a block that it had.
SEEN_S: Final = 20.0
# A limit that was learnt is tried again after this time: a plan may have changed, a text been misread.
LEARNT_S: Final = 900.0
MAX_MISSING: Final = 32


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """``operator`` says who runs it: a quorum counts operators, not providers. The URLs may hold keys.

    ``requests_per_s`` None: no rate is kept until the provider refuses one. ``max_blocks``: most blocks of
    one eth_getLogs, None to find out.
    """

    name: str
    operator: str
    http_url: str = field(repr=False)
    ws_url: str | None = field(default=None, repr=False)
    requests_per_s: float | None = None
    concurrency: int = 8
    max_blocks: int | None = None
    timeout_s: float = 15.0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if self.requests_per_s is not None and self.requests_per_s <= 0:
            raise ValueError("requests_per_s must be positive")
        if self.max_blocks is not None and self.max_blocks < 1:
            raise ValueError("max_blocks must be at least 1")
        if self.timeout_s <= 0:
            raise ValueError("timeout_s must be positive")


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    """Plain values for /status and metrics. ``score``: 1 is best, 0 worst; ``requests_per_s`` is the rate that
    is kept now, ``max_blocks`` the limit that is, None where there is none. ``finalized_number`` is None for a
    node that was never heard to call a block so; ``batch_calls`` is 1 for one that takes no batches."""

    name: str
    operator: str
    healthy: bool
    score: float
    latency_ms: float | None
    head_number: int | None
    finalized_number: int | None
    failures: int
    max_blocks: int | None
    requests_per_s: float | None
    batch_calls: int
    missing_methods: tuple[str, ...]
    requests_total: int
    bytes_total: int
    last_failure: str | None


class ProviderGate:
    """What every request of one provider passes: its budget, then its standing."""

    def __init__(self, budget: Budget, clock: Clock) -> None:
        self.budget = budget
        self.standing = Standing()
        self.missing: set[str] = set()
        self._clock = clock

    @property
    def largest_batch(self) -> int:
        return self.budget.largest_batch

    async def enter(self, requests: int) -> None:
        await self.budget.enter(requests)

    def leave(self, outcome: Outcome) -> None:
        self.budget.leave(outcome)
        self.standing.heard(outcome, self._clock())
        if outcome.kind == "missing" and len(self.missing) < MAX_MISSING:
            self.missing.add(outcome.method)
        elif outcome.kind == "ok":
            self.missing.discard(outcome.method)


class Provider:
    """``rpc`` is its client: every request through it is counted, paced and judged."""

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        verify_headers: bool = False,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._clock = clock
        budget = Budget(settings.requests_per_s, settings.concurrency, clock=clock, sleep=sleep)
        self._gate = ProviderGate(budget, clock)
        self._learnt_blocks: int | None = None
        self._learnt_until_s = 0.0
        self._seen: BlockRef | None = None
        self._seen_until_s = 0.0
        self._looking = asyncio.Lock()
        self.rpc = Rpc(
            settings.http_url,
            total_timeout_s=settings.timeout_s,
            max_connections=settings.concurrency,
            verify_headers=verify_headers,
            gate=self._gate,
            clock=clock,
        )
        self.is_right: bool | None = None
        """Whether it follows the chain that was asked for; None until that is known."""

    def __repr__(self) -> str:
        return f"Provider({self.name})"

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def operator(self) -> str:
        return self.settings.operator

    @property
    def standing(self) -> Standing:
        return self._gate.standing

    @property
    def load(self) -> float:
        """Requests under way by how many may be: under 1, one more would not wait."""
        return self._gate.budget.load

    @property
    def cooling_s(self) -> float:
        """How long nothing is sent to it, since it said that it was too much."""
        return self._gate.budget.cooling_s

    @property
    def is_doubted(self) -> bool:
        """Whether it was found wanting not long ago: others are asked before it."""
        return self.standing.is_doubted(self._clock())

    @property
    def max_blocks(self) -> int | None:
        """Most blocks of one eth_getLogs; None while it has refused none."""
        learnt = self._learnt_blocks if self._clock() < self._learnt_until_s else None
        limits = [one for one in (learnt, self.settings.max_blocks) if one is not None]
        return min(limits, default=None)

    def lacks(self, method: str) -> bool:
        """Whether it said that it does not offer a method."""
        return method in self._gate.missing

    def learn(self, refused: RangeRefused, from_block: int, to_block: int) -> None:
        """Remember the limit that a refusal tells; one without a number halves what was asked."""
        if refused.too_wide:
            blocks = to_block - from_block + 1
            self._learnt_blocks = refused.max_blocks or max(1, blocks // 2)
            self._learnt_until_s = self._clock() + LEARNT_S

    @property
    def requests_per_s(self) -> float | None:
        """The rate that is kept now; None if there is none."""
        return self._gate.budget.rate_per_s

    async def require_final(self, final: BlockRef) -> None:
        """Raises :class:`ProviderAstray` if its chain does not have our final block: what it has said of blocks
        below is then not of our chain; :class:`NodeBehind` if its chain is not that long.

        It is not asked again for a while, unless it is found wanting meanwhile: where chains can still differ, below a
        final block, answers are held against that block's own ancestors (:mod:`indexer.anchor`).
        """
        async with self._looking:
            if final != self._seen or self._clock() >= self._seen_until_s:
                await self._look_for(final)

    async def _look_for(self, final: BlockRef) -> None:
        header = await self.rpc.header(final.number)
        if header is None:
            raise NodeBehind(endpoint=self.rpc.endpoint, number=final.number)
        if header.hash != final.hash:
            raise ProviderAstray(
                endpoint=self.rpc.endpoint,
                number=final.number,
                ours=to_data(final.hash),
                theirs=to_data(header.hash),
            )
        self._seen, self._seen_until_s = final, self._clock() + SEEN_S

    def failed(self, error: Retryable) -> None:
        """Something that it answered turned out to be wrong."""
        self.standing.failed(str(error), self._clock())

    @contextmanager
    def relied_on(self) -> Iterator[None]:
        """What cannot be done meanwhile is laid to its account. A breaker sees only failures in a row; here one is
        enough, for a node may serve headers and have lost the logs. Its rate is the budget's affair."""
        try:
            yield
        except (DatabaseUnavailable, RpcRateLimited):
            raise
        except DeepReorg:
            self._seen = None
            raise
        except Retryable as error:
            self._seen = None
            self.standing.doubt(str(error), self._clock())
            raise

    def facts(self) -> ProviderFacts:
        standing = self.standing
        latency_s = standing.latency_s
        return ProviderFacts(
            name=self.name,
            operator=self.operator,
            healthy=standing.is_healthy and self.is_right is not False,
            score=round(standing.score, 4),
            latency_ms=None if latency_s is None else round(latency_s * 1000, 1),
            head_number=self.rpc.newest_number,
            finalized_number=self.rpc.finalized_number,
            failures=standing.failures,
            max_blocks=self.max_blocks,
            requests_per_s=self.requests_per_s,
            batch_calls=self.rpc.batch_calls,
            missing_methods=tuple(sorted(self._gate.missing)),
            requests_total=standing.requests_total,
            bytes_total=standing.bytes_total,
            last_failure=standing.last_failure,
        )

    async def close(self) -> None:
        await self.rpc.close()
