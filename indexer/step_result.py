"""What one step of the follower did, for those that wait for it and for the log."""

from dataclasses import dataclass
from typing import Literal

import structlog

from indexer.block import BlockRef
from indexer.change import Change
from indexer.cursor import Cursor
from indexer.reorg import Behind, Extend, RollBack, Verdict

log = structlog.get_logger()

StepKind = Literal["unchanged", "behind", "extended", "rolled_back", "leaped", "joined"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did. ``undecoded_logs`` are kept raw only.
    ``more``: there is more to do now."""

    kind: StepKind
    head: BlockRef | None = None
    finalized_number: int | None = None
    node_head_number: int | None = None
    applied_blocks: int = 0
    retracted_blocks: int = 0
    events: int = 0
    undecoded_logs: int = 0
    more: bool = False


def outcome(
    verdict: Verdict, before: Cursor, after: Cursor, change: Change, *, more: bool
) -> StepResult:
    """What came of ``verdict``: the cursor before and after it, and what was written."""
    kind: StepKind = "unchanged"
    retracted = 0
    if isinstance(verdict, RollBack):
        kind, retracted = "rolled_back", verdict.depth_blocks
    elif isinstance(verdict, Extend):
        kind = "extended"
    elif isinstance(verdict, Behind):
        kind = "behind"
    head_number = before.start_block - 1 if after.head is None else after.head.number
    return StepResult(
        kind=kind,
        head=after.head,
        finalized_number=after.finalized.number if after.finalized else None,
        node_head_number=change.node_head_number,
        applied_blocks=len(change.blocks),
        retracted_blocks=retracted,
        events=sum(block.rows.events for block in change.blocks),
        undecoded_logs=sum(block.rows.undecoded for block in change.blocks),
        more=more
        or (kind in ("extended", "rolled_back") and change.node_head_number > head_number),
    )


def tell(result: StepResult) -> None:
    """Log what an operator wants to hear of."""
    if result.kind == "rolled_back":
        log.warning(
            "reorg",
            retracted_blocks=result.retracted_blocks,
            applied_blocks=result.applied_blocks,
            head=result.head.number if result.head else None,
        )
    if result.undecoded_logs:
        log.warning("undecoded_logs", count=result.undecoded_logs)
