"""Reads ranges of final blocks again, through another provider than the one that is followed, and compares.

One step reads a few blocks and rests, so that nobody waits for it; what was read makes one row of
``chain.audit`` when its range is through, or when something is amiss. Nothing but that row remembers it: after a
kill the range is chosen anew, and its blocks are read once more. A difference is read a second time before it is
told, and never mended.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import asyncpg
import structlog

from indexer import audit_choice, audit_log, sources, verifier
from indexer import cursor as cursors
from indexer.audit_choice import Choice
from indexer.audit_log import Alarm, Finding
from indexer.audit_reading import Reading
from indexer.block import BlockRef
from indexer.budget import Sleep
from indexer.children import Children
from indexer.comparison import Comparison
from indexer.contract import Contract, Verify
from indexer.cursor import Cursor
from indexer.database import reachable
from indexer.errors import (
    BlockVanished,
    DatabaseUnavailable,
    MethodMissing,
    NodeBehind,
    Retryable,
    RpcUnavailable,
)
from indexer.lease import Fence
from indexer.provider import Provider
from indexer.providers import Providers
from indexer.source import Source
from indexer.spans import Span
from indexer.witness import Witness

log = structlog.get_logger()

IDLE_S: Final = 5.0
# What one row tells of: about as much as is read in this time.
RANGE_S: Final = 600.0
MAX_RANGE_BLOCKS: Final = 100_000
# Each block of these may cost a large answer, and others ask the same provider.
PROVEN_BLOCKS: Final = 4
CONFIRMED_BLOCKS: Final = 10
# Further behind the node than this, the head comes first.
MAX_LAG_BLOCKS: Final = 20
# These say nothing of the blocks that were asked for.
AWAY: Final = (RpcUnavailable, NodeBehind, BlockVanished)


@dataclass(frozen=True, slots=True)
class AuditorSettings:
    """``blocks_per_hour``: at most so many blocks are read, each for one contract."""

    chain_id: int
    blocks_per_hour: int

    def __post_init__(self) -> None:
        if self.blocks_per_hour < 1:
            raise ValueError("blocks_per_hour must be at least 1")

    @property
    def range_blocks(self) -> int:
        wanted = int(self.blocks_per_hour * RANGE_S / 3600)
        return max(PROVEN_BLOCKS, min(wanted, MAX_RANGE_BLOCKS))

    def rest_s(self, blocks: int) -> float:
        """How long so many blocks are worth."""
        return blocks * 3600 / self.blocks_per_hour


@dataclass(frozen=True, slots=True)
class _Run:
    """A range that is being read; ``exact`` is what was found so far, up to ``next_block``."""

    choice: Choice
    source: Source
    children: Children
    provider: Provider
    next_block: int
    exact: Reading

    @property
    def rest(self) -> Span:
        return Span(self.next_block, self.choice.span.last)

    def finding(self, span: Span, first: Reading, second: Reading | None = None) -> Finding:
        return Finding(self.source, self.choice, span, first, second)

    def so_far(self) -> list[Finding]:
        """What is through; nothing before the first piece."""
        first = self.choice.span.first
        if self.next_block == first:
            return []
        return [self.finding(Span(first, self.next_block - 1), self.exact)]


class Auditor:
    """Of one chain, under the lease of its role ``audit:…``. ``alarm`` is raised in the transaction that tells of
    a difference."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        providers: Providers,
        contracts: Sequence[Contract],
        settings: AuditorSettings,
        *,
        alarm: Alarm,
        chance: Random | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._contracts = tuple(contracts)
        self._settings = settings
        self._alarm = alarm
        self._chance = chance or Random()  # noqa: S311 - it guards nothing
        self._sleep = sleep
        self._run: _Run | None = None
        self._rest_s = IDLE_S

    async def step(self, fence: Fence) -> bool:
        """Read some blocks of a range; there is never more to do at once.

        Raises Retryable errors, which leave the range to be chosen anew.
        """
        run, self._run, self._rest_s = self._run, None, IDLE_S
        cursor, live = await self._position()
        if cursor is None or cursor.finalized is None or not is_quiet(cursor, live):
            return False
        if run is None or run.source.source_id not in {source.source_id for source in live}:
            run = await self._begin(live, cursor.finalized.number)
        if run is not None and run.provider.load >= 1:
            # Others wait for it already.
            self._run = run
        elif run is not None:
            self._run = await self._advance(fence, run, cursor.finalized)
        return False

    async def rest(self) -> None:
        """As long as what was read last is worth."""
        await self._sleep(self._rest_s)

    async def _position(self) -> tuple[Cursor | None, list[Source]]:
        async with reachable(), self._pool.acquire() as connection:
            cursor = await cursors.read(connection, self._settings.chain_id)
            return cursor, await sources.live(connection, self._settings.chain_id, self._contracts)

    async def _begin(self, live: Sequence[Source], final: int) -> _Run | None:
        """Choose a range, and whom to ask about it. Raises :class:`NoProvider`."""
        async with reachable(), self._pool.acquire() as connection:
            candidates = await audit_log.candidates(connection, live)
        choice = audit_choice.choose(candidates, final, self._settings.range_blocks, self._chance)
        if choice is None:
            return None
        (source,) = (one for one in live if one.source_id == choice.source_id)
        children = await verifier.children_of(self._pool, live, choice.span.last)
        followed = self._providers.best()
        provider = self._providers.other_than(followed) or followed
        exact = Reading(provider.name, source.contract.options.verify)
        return _Run(choice, source, children, provider, choice.span.first, exact)

    async def _advance(self, fence: Fence, run: _Run, final: BlockRef) -> _Run | None:
        """Read the next piece; what is left of the run, None if it is over."""
        piece = _piece(run)
        first = await self._read(run, run.provider, piece, run.exact.verify, final)
        if isinstance(first.failure, AWAY):
            raise first.failure
        if first.failure is not None:
            # The rest of the range would hardly be answered.
            piece = run.rest
        elif not first.differences:
            run = replace(run, next_block=piece.last + 1, exact=_added(run.exact, first))
            self._rest_s = self._settings.rest_s(piece.blocks)
            if run.rest.blocks > 0:
                return run
            await self._record(fence, run.so_far())
            return None
        second = await self._confirm(run, first, piece, final) if first.differences else None
        self._rest_s = self._settings.rest_s(piece.blocks)
        await self._record(fence, [*run.so_far(), run.finding(piece, first, second)])
        return None

    async def _confirm(self, run: _Run, first: Reading, piece: Span, final: BlockRef) -> Reading:
        """Where the first reading differs, read again: with a full proof, and by somebody else if there is one.

        Where the chain cannot be proved so, the plain word of another operator counts too; and where no node
        has receipts to prove it with, the same node's second word.
        """
        span = first.suspect(piece, CONFIRMED_BLOCKS)
        way = run.exact.verify
        other = self._providers.other_than(run.provider)
        attempts: list[tuple[Provider, Verify]] = [(run.provider, "full")]
        if other is not None:
            attempts = [(other, "full"), *attempts]
            if other.operator != run.provider.operator and way != "full":
                attempts.insert(1, (other, way))
        reading = Reading(run.provider.name, "full")
        for provider, proof in attempts:
            reading = await self._read(run, provider, span, proof, final)
            if reading.failure is None:
                return reading
        if isinstance(reading.failure, MethodMissing):
            return await self._read(run, run.provider, span, way, final)
        return reading

    async def _read(
        self, run: _Run, provider: Provider, span: Span, way: Verify, final: BlockRef
    ) -> Reading:
        """Whatever the node does is in the reading. Raises :class:`DatabaseUnavailable`."""
        tables: dict[str, Comparison] = {}
        try:
            async for verified in verifier.verify(
                self._pool,
                Witness(provider),
                run.source,
                run.children,
                span,
                way,
                final=final,
                workers=1,
            ):
                tables = verified.tables
        except DatabaseUnavailable:
            raise
        except Retryable as error:
            return Reading(provider.name, way, failure=error)
        except ValueError as error:
            return Reading(provider.name, way, spoilt=str(error))
        return Reading(provider.name, way, tables)

    async def _record(self, fence: Fence, findings: Sequence[Finding]) -> None:
        await audit_log.record(self._pool, fence, findings, self._alarm)
        for one in findings:
            tell = {"differs": log.error, "exact": log.debug}.get(one.outcome, log.warning)
            tell(
                f"audit_{one.outcome}",
                contract=one.source.name,
                version=one.source.version,
                from_block=one.span.first,
                to_block=one.span.last,
                provider=one.first.provider,
                confirmed_by=None if one.second is None else one.second.provider,
                differences=one.first.differences,
                reason=_reason(one),
            )


def is_quiet(cursor: Cursor, live: Sequence[Source]) -> bool:
    """Whether nobody waits for the chain: it is followed closely, and no contract's history is being read."""
    if cursor.head is None or not all(source.joined for source in live):
        return False
    node_head = cursor.node_head_number
    return node_head is None or node_head - cursor.head.number <= MAX_LAG_BLOCKS


def role(chain_id: int) -> str:
    """Of the lease under which a chain is audited."""
    return f"audit:{chain_id}"


def _piece(run: _Run) -> Span:
    """What is read at once: of proven blocks a few, since each of them is asked for."""
    rest = run.rest
    if run.exact.verify == "none":
        return rest
    return Span(rest.first, min(rest.last, rest.first + PROVEN_BLOCKS - 1))


def _added(before: Reading, after: Reading) -> Reading:
    tables = {
        name: verifier.added(before.tables[name], one) if name in before.tables else one
        for name, one in after.tables.items()
    }
    return replace(before, tables=tables)


def _reason(one: Finding) -> str | None:
    """Why nothing is known, for the log."""
    last = one.second or one.first
    return None if last.failure is None else str(last.failure)
