"""The loop that follows a chain: ask the node, judge, write; one step at a time.

A step reads the cursor and its window, then the node's finality and its newest header; the pure judge
``reorg.step`` says what that header means; what it asks for is fetched; the outcome is written in one
transaction. No transaction is open while the node is asked. Nothing of the chain is kept between two
steps, so a start is a step like any other: stored hashes are compared, only a fork is rolled back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import asyncpg
import structlog

from indexer import cursor as cursors
from indexer import finality, tables, writer
from indexer.abi import DecodeError
from indexer.block import BlockRef, Header
from indexer.change import Change, Retraction
from indexer.contract import Contract
from indexer.cursor import Cursor
from indexer.database import reachable
from indexer.errors import CursorMoved, DeepReorg, StartBlockChanged
from indexer.finality import NodeFinality, OurChain
from indexer.hexadecimal import to_data
from indexer.inquiry import Inquiry, together
from indexer.lease import Fence
from indexer.record import block_record
from indexer.reorg import Behind, Extend, RollBack, TooDeep, Verdict, Window
from indexer.rpc import Rpc
from indexer.source import LogSource

log = structlog.get_logger()

ROLE: Final = "follow"
MAX_CHUNK_BLOCKS: Final = 64

StepKind = Literal["unchanged", "behind", "extended", "rolled_back"]


@dataclass(frozen=True, slots=True)
class FollowerSettings:
    """``finality_depth_blocks`` is for chains whose nodes have no ``finalized`` tag; None uses the tag."""

    chain_id: int
    start_block: int
    chunk_blocks: int = MAX_CHUNK_BLOCKS
    finality_depth_blocks: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.chunk_blocks <= MAX_CHUNK_BLOCKS:
            raise ValueError(f"chunk_blocks is {self.chunk_blocks}, not 1 to {MAX_CHUNK_BLOCKS}")
        if self.start_block < 0:
            raise ValueError("start_block must not be negative")
        if self.finality_depth_blocks is not None and self.finality_depth_blocks < 1:
            raise ValueError("finality_depth_blocks must be at least 1")


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did. ``undecoded_logs`` are kept raw only.
    ``more``: the node has further blocks now."""

    kind: StepKind
    head: BlockRef | None = None
    finalized_number: int | None = None
    node_head_number: int | None = None
    applied_blocks: int = 0
    retracted_blocks: int = 0
    logs: int = 0
    undecoded_logs: int = 0
    more: bool = False


class Follower:
    """Follows one chain, under the lease of role ``follow``."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        rpc: Rpc,
        contracts: Sequence[Contract],
        settings: FollowerSettings,
    ) -> None:
        self._pool = pool
        self._rpc = rpc
        self._contracts = tuple(contracts)
        self._by_address = {contract.address: contract for contract in contracts}
        self._settings = settings
        self._inquiry = Inquiry(rpc, settings.chunk_blocks, settings.finality_depth_blocks)
        self._source = LogSource(rpc, list(self._by_address))
        self._opened = False

    async def open(self, fence: Fence) -> None:
        """Compare node, settings and database before the first step; begin the cursor if there is none.

        Raises Fatal errors that name the setting to change.
        """
        if self._opened:
            return
        chain_id, start_block = self._settings.chain_id, self._settings.start_block
        async with reachable(), self._pool.acquire() as connection:
            stored = await cursors.read(connection, chain_id)
            for contract in self._contracts:
                await tables.check(connection, contract.name, contract.events)
        genesis = await self._rpc.require_chain(chain_id, stored.genesis_hash if stored else None)
        if stored is not None and stored.start_block != start_block:
            raise StartBlockChanged(
                chain_id=chain_id, stored=stored.start_block, wanted=start_block
            )
        for contract in self._contracts:
            await self._rpc.require_code(contract.name, contract.address, chain_id)
        if stored is None:
            await cursors.open_chain(self._pool, fence, chain_id, genesis, start_block)
        self._opened = True

    async def step(self, fence: Fence) -> StepResult:
        """One step; what cannot be completed raises, and writes nothing."""
        await self.open(fence)
        position = await cursors.read_with_window(self._pool, self._settings.chain_id)
        if position is None:
            raise CursorMoved(chain_id=self._settings.chain_id)
        cursor, window = position
        node = await self._inquiry.finality()
        newest = await self._inquiry.newest()
        verdict = await self._inquiry.judge(window, newest)
        change = await self._prepare(window, node, newest, verdict)
        after = cursor
        if _says_something_new(cursor, change):
            after = await writer.write(self._pool, fence, self._contracts, change)
        result = _result(verdict, cursor, after, change)
        _tell(result)
        return result

    async def _prepare(
        self, window: Window, node: NodeFinality, newest: Header, verdict: Verdict
    ) -> Change:
        """Fetch and decode the logs of the new blocks, and say what is final with them."""
        if isinstance(verdict, TooDeep):
            raise DeepReorg(
                chain_id=self._settings.chain_id,
                number=verdict.number,
                ours=to_data(verdict.ours),
                theirs=to_data(verdict.theirs),
            )
        branch = verdict.headers if isinstance(verdict, Extend | RollBack) else ()
        branch = branch[: self._settings.chunk_blocks]
        retraction = Retraction(verdict.to) if isinstance(verdict, RollBack) else None
        chain = OurChain(window, retraction.to if retraction else window.head, branch)
        final = finality.finalized(chain, node, newest.number)
        logs = await together([self._source.logs(header) for header in branch])
        blocks = (
            block_record(header, found, self._by_address)
            for header, found in zip(branch, logs, strict=True)
        )
        return Change(
            chain_id=self._settings.chain_id,
            based_on=window.head,
            retraction=retraction,
            blocks=tuple(blocks),
            finalized=final,
            safe_number=finality.safe_number(chain, node),
            node_head_number=newest.number,
        )


def _tell(result: StepResult) -> None:
    if result.kind == "rolled_back":
        log.warning(
            "reorg",
            retracted_blocks=result.retracted_blocks,
            applied_blocks=result.applied_blocks,
            head=result.head.number if result.head else None,
        )
    if result.undecoded_logs:
        log.warning("undecoded_logs", count=result.undecoded_logs)


def _says_something_new(cursor: Cursor, change: Change) -> bool:
    """Whether a step without blocks is worth a transaction."""
    if change.blocks or change.node_head_number != cursor.node_head_number:
        return True
    final = cursor.finalized.number if cursor.finalized else -1
    safe = -1 if cursor.safe_number is None else cursor.safe_number
    return (change.finalized is not None and change.finalized.number > final) or (
        change.safe_number is not None and change.safe_number > safe
    )


def _result(verdict: Verdict, before: Cursor, after: Cursor, change: Change) -> StepResult:
    kind: StepKind = "unchanged"
    retracted = 0
    if isinstance(verdict, RollBack):
        kind, retracted = "rolled_back", verdict.depth_blocks
    elif isinstance(verdict, Extend):
        kind = "extended"
    elif isinstance(verdict, Behind):
        kind = "behind"
    records = [record for block in change.blocks for record in block.logs]
    head_number = before.start_block - 1 if after.head is None else after.head.number
    return StepResult(
        kind=kind,
        head=after.head,
        finalized_number=after.finalized.number if after.finalized else None,
        node_head_number=change.node_head_number,
        applied_blocks=len(change.blocks),
        retracted_blocks=retracted,
        logs=len(records),
        undecoded_logs=sum(isinstance(record.outcome, DecodeError) for record in records),
        more=kind in ("extended", "rolled_back") and change.node_head_number > head_number,
    )
