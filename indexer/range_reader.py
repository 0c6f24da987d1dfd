"""Reads a long range of final blocks: many spans at a time, handed on in order.

Fetching, recording and writing overlap: while one batch is being copied into Postgres, further spans are on
their way and what has come is made into rows. What waits to be handed on is bounded in rows, so the size of
the range does not show in memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from indexer import proof, range_logs, transactions
from indexer.anchor import Anchor
from indexer.block import BlockRef, Header
from indexer.contract import Verify
from indexer.errors import LogsMalformed, RangeRefused, Retryable
from indexer.nodes import Nodes
from indexer.query import LogQuery
from indexer.recorder import Recorder
from indexer.rows import Rows
from indexer.spans import Span, Spans

WORKERS: Final = 6
MAX_WAITING_ROWS: Final = 80_000
MAX_WAITING_SPANS: Final = 64
BATCH_ROWS: Final = 20_000
BATCH_BLOCKS: Final = 200_000
MAX_TRIES: Final = 5
RETRY_PAUSE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive spans, ``first`` to ``last``, as rows. ``headers``: all of them where they were verified, linked
    one to the next; else none."""

    first: int
    last: int
    rows: Rows
    headers: tuple[Header, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class _Read:
    span: Span
    rows: Rows
    headers: Sequence[Header] = field(repr=False)


class RangeReader:
    """Reads blocks ``first`` to ``last``; :meth:`next` hands on batches. An async context manager.

    ``final``: our final block, not below them; only providers that have it are believed.

    A failure of any span is raised by the next call of :meth:`next`; the reader is then of no use any more.
    """

    def __init__(
        self,
        providers: Nodes,
        query: LogQuery,
        recorder: Recorder,
        span: Span,
        verify: Verify,
        *,
        final: BlockRef | None = None,
        workers: int = WORKERS,
    ) -> None:
        self._providers = providers
        self._query = query
        self._recorder = recorder
        self._verify: Verify = verify
        self.anchor = Anchor(providers, span, final)
        self._workers = workers
        self._spans = Spans.of(span, providers.best().requests_per_s)
        self._next = span.first
        self._last = span.last
        self._last_header: Header | None = None
        self._done: dict[int, _Read] = {}
        self._waiting_rows = 0
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def next_block(self) -> int:
        """The first block that was not handed on yet."""
        return self._next

    async def next(self) -> Batch | None:
        """The next batch, as large as what has come allows; None at the end of the range."""
        if self._next > self._last:
            return None
        first, rows, headers = self._next, Rows(), list[Header]()
        while rows.count < BATCH_ROWS and self._next - first < BATCH_BLOCKS:
            read = await self._in_turn(wait=self._next == first)
            if read is None:
                break
            rows.extend(read.rows)
            headers.extend(read.headers)
            self._next = read.span.last + 1
        return Batch(first, self._next - 1, rows, tuple(headers))

    async def _in_turn(self, *, wait: bool) -> _Read | None:
        """The span that begins where the last one ended; None if it is not there and is not waited for."""
        async with self._changed:
            while self._next not in self._done:
                if self._failure is not None:
                    raise self._failure
                if not wait or self._next > self._last:
                    return None
                await self._changed.wait()
            read = self._done.pop(self._next)
            self._waiting_rows -= read.rows.count
            self._changed.notify_all()
        if read.headers:
            parent = self._last_header
            proof.headers_linked(read.headers[:1], parent.hash if parent else None, None)
            self._last_header = read.headers[-1]
        return read

    async def _work(self) -> None:
        try:
            while (span := await self._assigned()) is not None:
                read = await self._read(span)
                async with self._changed:
                    self._under_way -= 1
                    if read is not None:
                        self._done[span.first] = read
                        self._waiting_rows += read.rows.count
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - handed to whoever takes the batches
            async with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()

    async def _assigned(self) -> Span | None:
        """A span to read, once there is room for it; None when there is none left or all is lost."""
        async with self._changed:
            while self._failure is None:
                if self._has_room():
                    span = self._spans.take(self._providers.span_blocks())
                    if span is not None:
                        self._under_way += 1
                        return span
                    if self._next > self._last:
                        return None
                # What others have under way may come back in pieces.
                await self._changed.wait()
        return None

    def _has_room(self) -> bool:
        """The span that is next in turn is always read, or nothing would ever move."""
        if self._spans.is_probing and self._under_way:
            return False
        return (
            self._waiting_rows < MAX_WAITING_ROWS and len(self._done) < MAX_WAITING_SPANS
        ) or self._spans.lowest <= self._next

    async def _read(self, span: Span) -> _Read | None:
        """None if the span was cut into pieces, which are read in its stead."""
        for left in reversed(range(MAX_TRIES)):
            try:
                answer = await range_logs.read(
                    self._providers, self._query, span, self._verify, self.anchor
                )
                break
            except RangeRefused as refusal:
                await self._cut(span, refusal)
                return None
            except Retryable:
                if not left:
                    raise
                await asyncio.sleep(RETRY_PAUSE_S)
        self._spans.answered(span, answer.size_bytes)
        try:
            rows = self._recorder.record(answer.logs, answer.timestamps)
        except ValueError as error:
            raise LogsMalformed(reason=str(error)) from error
        if rows.touched:
            rpc = self._providers.best().rpc
            await transactions.add(rpc, self._recorder.sources, rows, answer.timestamps)
        return _Read(span, rows, answer.headers)

    async def _cut(self, span: Span, refusal: RangeRefused) -> None:
        async with self._changed:
            if not self._spans.refused(span, refusal.accepted_blocks):
                raise refusal
            self._changed.notify_all()
