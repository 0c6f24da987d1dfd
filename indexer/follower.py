"""The loop that follows a chain: ask the node, judge, write; one step at a time.

A step learns of the newest header (pushed by a WebSocket, or asked for), and the pure judge ``reorg.step``
says what it means; what it asks for is fetched; the outcome is written in one transaction. No transaction
is open while a node is asked. Cursor, window and sources are kept between steps only to save their reading:
the writer compares the head, and after any failure everything is read anew, so a start is a step like any
other. Far behind the finalized block, it leaps: final blocks are read in ranges.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from indexer import cursor as cursors
from indexer import finality, joining, opening, reorg, sources, step_result, writer
from indexer.block import BlockRef, Header
from indexer.block_reader import BlockReader
from indexer.change import Change, Retraction, sliding
from indexer.children import Children
from indexer.contract import Contract
from indexer.cursor import Cursor
from indexer.database import reachable
from indexer.errors import CursorMoved, DeepReorg, ProviderAstray
from indexer.finality import NodeFinality, OurChain
from indexer.heads import Heads, SeenHead
from indexer.hexadecimal import to_data
from indexer.inquiry import Inquiry
from indexer.leaper import Leaper
from indexer.lease import Fence
from indexer.provider import Provider
from indexer.providers import Providers
from indexer.reorg import Extend, RollBack, TooDeep, Verdict, Window
from indexer.source import Source
from indexer.step_result import StepResult

log = structlog.get_logger()

MAX_CHUNK_BLOCKS: Final = 64
# A head is waited for at most so many block times before the node is asked.
PATIENCE_BLOCK_TIMES: Final = 3.0
LONGEST_REST_S: Final = 15.0
# Of a provider's rate, while there is a backfill to be done with it.
POLLING_SHARE: Final = 0.01
CALLS_A_POLL: Final = 3


def role(chain_id: int) -> str:
    """The lease under which a chain is followed."""
    return f"follow:{chain_id}"


@dataclass(frozen=True, slots=True)
class FollowerSettings:
    """``finality_depth_blocks`` is for chains whose nodes have no ``finalized`` tag; None uses the tag.
    ``quorum``: how many operators must agree on what is final. ``poll_interval_s``: how often the node is
    asked where no WebSocket tells."""

    chain_id: int
    chunk_blocks: int = MAX_CHUNK_BLOCKS
    finality_depth_blocks: int | None = None
    quorum: int = 1
    poll_interval_s: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.chunk_blocks <= MAX_CHUNK_BLOCKS:
            raise ValueError(f"chunk_blocks is {self.chunk_blocks}, not 1 to {MAX_CHUNK_BLOCKS}")
        if self.finality_depth_blocks is not None and self.finality_depth_blocks < 1:
            raise ValueError("finality_depth_blocks must be at least 1")
        if self.quorum < 1:
            raise ValueError("quorum must be at least 1")


@dataclass(slots=True)
class _Held:
    """What is known between two steps. ``finality`` was read before any header that is judged with it.
    ``extended_by``: who gave the blocks that were added just now, and so has all of ours."""

    cursor: Cursor
    window: Window
    sources: list[Source]
    reader: BlockReader
    finality: NodeFinality = field(default_factory=NodeFinality)
    leaped: bool = False
    provider: Provider | None = None
    extended_by: Provider | None = None

    @property
    def joined(self) -> list[Source]:
        return [source for source in self.sources if source.joined]


class Follower:
    """Follows one chain, under the lease of role ``follow:<chain id>``.

    ``wake`` is set by others in this process when there may be something to do.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        providers: Providers,
        contracts: Sequence[Contract],
        settings: FollowerSettings,
        heads: Heads | None = None,
    ) -> None:
        self._pool = pool
        self._providers = providers
        self._contracts = tuple(contracts)
        self._settings = settings
        self._chain_id = settings.chain_id
        self._heads = heads
        self._inquiry = Inquiry(settings.chunk_blocks)
        self._leaper = Leaper(pool, providers, settings.chain_id, settings.quorum)
        self._held: _Held | None = None
        self._is_open = False
        self._look: opening.Look | None = None
        self._has_news = False
        self.wake = asyncio.Event()

    async def open(self, fence: Fence) -> None:
        """Compare node, settings and database before the first step; begin the cursor if there is none.

        Raises Fatal errors that name the setting to change.
        """
        if self._is_open:
            return
        self._look = await opening.open_chain(
            self._pool,
            fence,
            self._providers,
            self._contracts,
            self._chain_id,
            self._settings.quorum,
            self._settings.finality_depth_blocks,
        )
        self._is_open = True

    async def step(self, fence: Fence) -> StepResult:
        """One step; what cannot be completed raises, and writes nothing."""
        # Before anything is looked at: a word that comes from now on is about what is not seen yet.
        self._has_news = self.wake.is_set()
        self.wake.clear()
        try:
            await self.open(fence)
            result = await self._step(fence, await self._known())
        except BaseException:
            await self.forget()
            raise
        step_result.tell(result)
        return result

    async def rest(self) -> None:
        """Until there may be something to do: a head, a word from others, or the time to ask again."""
        facts = self._heads.facts() if self._heads else None
        if self._heads is None or facts is None or not facts.connected or facts.mute:
            await _first_of(self.wake.wait(), timeout_s=self._poll_interval_s())
            return
        patience_s = max(PATIENCE_BLOCK_TIMES * (facts.block_time_s or 0), self._poll_interval_s())
        timeout_s = min(patience_s, LONGEST_REST_S)
        await _first_of(self.wake.wait(), self._heads.wait(timeout_s), timeout_s=timeout_s)

    def _poll_interval_s(self) -> float:
        """As configured; longer while requests are rationed and a backfill needs them more."""
        held, configured_s = self._held, self._settings.poll_interval_s
        if held is None or held.provider is None or all(one.joined for one in held.sources):
            return configured_s
        rate = held.provider.requests_per_s
        if rate is None:
            return configured_s
        return min(LONGEST_REST_S, max(configured_s, CALLS_A_POLL / (rate * POLLING_SHARE)))

    async def forget(self) -> None:
        """Read everything anew at the next step; what was being prepared is dropped."""
        self._held = None
        self._look = None
        await self._leaper.close()

    async def _step(self, fence: Fence, held: _Held) -> StepResult:
        extended_by, held.extended_by = held.extended_by, None
        if extended_by is not None or self._has_news:
            # Where blocks come faster than steps, there is never a step without one in which to join.
            joined = await self._join(fence, held, extended_by or self._providers.best())
            if joined is not None:
                return joined
        pushed = self._heads.take() if self._heads else []
        if pushed and self._is_of_use(held, pushed[-1]):
            provider, newest = pushed[-1].provider, pushed[-1].header
            run = reorg.linked(
                held.window, [one.header for one in pushed if one.provider is provider]
            )
            verdict = Extend(run) if run else await self._judge(held, provider, newest)
            # A header can come so late that its branch ends below what is final by now: the node is asked again.
            if not isinstance(verdict, TooDeep):
                # Finality comes after the events: it is asked for at once, but holds nobody up.
                return await self._apply(fence, held, provider, newest, verdict, more=True)
        provider = self._providers.best()
        # What was seen a moment ago, when the chain was opened, need not be asked for again.
        look, self._look = self._look, None
        held.finality, newest = look or await self._providers.look(
            provider, self._settings.quorum, self._settings.finality_depth_blocks
        )
        held.provider = provider
        if held.cursor.head is None:
            # What has no history below our first block is there from the start.
            joined = await self._join(fence, held, provider)
            if joined is not None:
                return joined
        leap = await self._leap(fence, held, provider, newest)
        if leap is not None:
            return leap
        if held.leaped:
            # The children that were born on the way are not known yet.
            await self.forget()
            held = await self._known()
        verdict = await self._judge(held, provider, newest)
        if isinstance(verdict, Extend | RollBack | TooDeep):
            return await self._apply(fence, held, provider, newest, verdict)
        joined = await self._join(fence, held, provider)
        if joined is not None:
            return joined
        return await self._apply(fence, held, provider, newest, verdict)

    def _is_of_use(self, held: _Held, pushed: SeenHead) -> bool:
        """Whether a pushed head is worth following at once: with nothing to be leaped over before, with every
        child known that was born on the way, and of a provider that can be relied on for the rest."""
        if held.leaped or pushed.provider.is_doubted:
            return False
        head_number = -1 if held.cursor.head is None else held.cursor.head.number
        return pushed.header.number - head_number <= self._settings.chunk_blocks

    async def _judge(self, held: _Held, provider: Provider, newest: Header) -> Verdict:
        with provider.relied_on():
            return await self._inquiry.judge(provider.rpc, held.window, newest)

    async def _apply(
        self,
        fence: Fence,
        held: _Held,
        provider: Provider,
        newest: Header,
        verdict: Verdict,
        *,
        more: bool = False,
    ) -> StepResult:
        """Fetch what the verdict asks for, and write it."""
        with provider.relied_on():
            change = await self._prepare(held, provider, newest, verdict)
        before = held.cursor
        if _says_something_new(before, change):
            held.cursor = await writer.write(self._pool, fence, held.joined, change)
            held.window = sliding(held.window, held.cursor, change)
        if isinstance(verdict, Extend):
            held.extended_by = provider
        return step_result.outcome(verdict, before, held.cursor, change, more=more)

    async def _prepare(
        self, held: _Held, provider: Provider, newest: Header, verdict: Verdict
    ) -> Change:
        """Fetch and record the logs of the new blocks, and say what is final with them."""
        if isinstance(verdict, TooDeep):
            raise await self._too_deep(provider, verdict)
        branch = verdict.headers if isinstance(verdict, Extend | RollBack) else ()
        branch = branch[: self._settings.chunk_blocks]
        retraction = Retraction(verdict.to) if isinstance(verdict, RollBack) else None
        if retraction is not None:
            kept = held.cursor.start_block - 1 if retraction.to is None else retraction.to.number
            held.reader.forget_above(kept)
        chain = OurChain(held.window, retraction.to if retraction else held.window.head, branch)
        final = finality.finalized(chain, held.finality, newest.number)
        blocks = await held.reader.read(provider.rpc, branch)
        return Change(
            chain_id=self._chain_id,
            based_on=held.window.head,
            retraction=retraction,
            blocks=tuple(blocks),
            finalized=final,
            safe_number=finality.safe_number(chain, held.finality),
            node_head_number=newest.number,
        )

    async def _too_deep(self, provider: Provider, verdict: TooDeep) -> DeepReorg | ProviderAstray:
        """A chain that was rewritten, unless another provider still has our final block: then this one is astray,
        such as a node that stopped on a branch long dead."""
        ours, theirs = to_data(verdict.ours), to_data(verdict.theirs)
        number = verdict.number
        if await self._providers.contradict(provider, BlockRef(number, verdict.ours)):
            endpoint = provider.rpc.endpoint
            return ProviderAstray(endpoint=endpoint, number=number, ours=ours, theirs=theirs)
        return DeepReorg(chain_id=self._chain_id, number=number, ours=ours, theirs=theirs)

    async def _leap(
        self, fence: Fence, held: _Held, provider: Provider, newest: Header
    ) -> StepResult | None:
        """Over final blocks, if there are many above our head."""
        final = held.finality.finalized
        if held.finality.depth_blocks is not None:
            final = await self._inquiry.at_depth(provider.rpc, newest, held.finality.depth_blocks)
        if final is None:
            return None
        leap = await self._leaper.next(
            provider, held.cursor, held.joined, final, newest.number, self._settings.chunk_blocks
        )
        if leap is None:
            return None
        held.cursor = await writer.write_leap(self._pool, fence, leap)
        held.window = Window(held.cursor.start_block, leap.to.number, (leap.to.hash,))
        held.leaped = True
        return StepResult(
            kind="leaped",
            head=held.cursor.head,
            finalized_number=leap.to.number,
            node_head_number=newest.number,
            events=leap.rows.events,
            undecoded_logs=leap.rows.undecoded,
            more=True,
        )

    async def _join(self, fence: Fence, held: _Held, provider: Provider) -> StepResult | None:
        """One source that has caught up, if there is one."""
        # There may be a source that was made after they were read, and has caught up since.
        if all(one.joined for one in held.sources) and not self._has_news:
            return None
        async with reachable(), self._pool.acquire() as connection:
            held.sources = await sources.live(connection, self._chain_id, self._contracts)
        cursor = await joining.join_one(self._pool, fence, provider, held.sources, held.cursor)
        if cursor is None:
            return None
        # What was being read ahead knows nothing of it.
        await self.forget()
        return StepResult(
            kind="joined",
            head=cursor.head,
            finalized_number=cursor.finalized.number if cursor.finalized else None,
            node_head_number=cursor.node_head_number,
            more=True,
        )

    async def _known(self) -> _Held:
        if self._held is None:
            position = await cursors.read_with_window(self._pool, self._chain_id)
            if position is None:
                raise CursorMoved(chain_id=self._chain_id)
            cursor, window = position
            async with reachable(), self._pool.acquire() as connection:
                live = await sources.live(connection, self._chain_id, self._contracts)
                joined = [source for source in live if source.joined]
                children = Children(joined)
                await children.load(connection)
            self._held = _Held(cursor, window, live, BlockReader(joined, children))
        return self._held


async def _first_of(*waits: object, timeout_s: float) -> None:
    tasks = [asyncio.ensure_future(one) for one in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _says_something_new(cursor: Cursor, change: Change) -> bool:
    """Whether a step without blocks is worth a transaction."""
    if change.blocks or change.node_head_number != cursor.node_head_number:
        return True
    final = cursor.finalized.number if cursor.finalized else -1
    safe = -1 if cursor.safe_number is None else cursor.safe_number
    return (change.finalized is not None and change.finalized.number > final) or (
        change.safe_number is not None and change.safe_number > safe
    )
