"""A source: one version of a contract as the database knows it, with the tables that it fills. Pure.

``landbridge migrate`` makes sources out of the configuration (``indexer.registry``); the daemon follows those
that it finds. A source backfills until it has caught up, then it joins: from there on the chain's cursor
speaks for it. A version that is not wanted any more is followed until its successor joins.
"""

from dataclasses import dataclass

from indexer.abi import Event
from indexer.contract import Contract
from indexer.table import versioned


@dataclass(frozen=True, slots=True)
class Source:
    """``start_block`` is None until it is found; ``covered_to`` is the last block of its backfill, None before
    the first range. ``tables`` are all that it fills, in the schema ``event``. ``indexed``: they have all their
    indexes, so it may join; ``published``: its views are its own."""

    source_id: int
    version: int
    contract: Contract
    start_block: int | None
    covered_to: int | None
    tables: tuple[str, ...]
    joined: bool
    indexed: bool
    published: bool
    wanted: bool

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def next_block(self) -> int:
        """The first block that is not covered. Raises ``ValueError`` before the start is known."""
        if self.start_block is None:
            raise ValueError(f"the start of source {self.name} is not known yet")
        return self.start_block if self.covered_to is None else self.covered_to + 1

    def table(self, event: Event) -> str:
        """The event's table in the schema ``event``."""
        return versioned(event.table, self.version)
