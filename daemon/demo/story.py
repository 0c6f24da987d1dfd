"""What happened in the demo, told once it is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.demo.disturbance import Reorg


@dataclass(slots=True)
class Story:
    """`entry_keys`: the bank's key of each deposit, by the deposit's number."""

    entry_keys: dict[int, str] = field(default_factory=dict)
    reorgs: list[Reorg] = field(default_factory=list)
    restarts: int = 0
    resent: int = 0

    @property
    def unminted(self) -> int:
        return sum(each.unminted for each in self.reorgs)

    @property
    def dropped_requests(self) -> int:
        return sum(each.dropped_requests for each in self.reorgs)
