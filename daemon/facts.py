"""What one process knows of itself: how its loops fare, and the nodes that it talks to. Plain values."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.health import LoopFacts
from indexer.heads import HeadsFacts
from indexer.provider import ProviderFacts


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Of one chain. ``heads`` is None where no provider has a WebSocket."""

    providers: tuple[ProviderFacts, ...] = ()
    heads: HeadsFacts | None = None


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """``holder`` is the name with which it signs its leases; ``nodes`` are by the name of their chain."""

    holder: str
    loops: tuple[LoopFacts, ...] = ()
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)


def holder_name() -> str:
    """How this process signs its leases."""
    return f"{socket.gethostname()}:{os.getpid()}"
