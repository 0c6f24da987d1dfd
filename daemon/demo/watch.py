"""What the demo sees while it runs: the chain by a node, the daemon's work by the database."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import aiohttp
import asyncpg

from daemon.demo.token import MINTED, REJECTED, REQUESTED, SETTLED, TRANSFER, Event
from daemon.demo.world import World

POLL_S = 0.4
NOBODY = bytes(20)
ISSUANCE, REDEMPTION = "issuance", "redemption"
# In these states an operation needs nothing more. `dropped` is a request that a reorg undid.
ENDED = frozenset({"settled", "refunded", "returned", "expired", "dropped"})
STUCK_SHOWN = 5

OPERATIONS = "SELECT kind, state, count(*) AS number FROM bridge.operation GROUP BY kind, state"
BELIEFS = """
SELECT (SELECT count(*) FROM recon.break WHERE closed_at IS NULL) AS breaks,
       (SELECT count(*) FROM chain.reorg) AS reorgs,
       coalesce((SELECT head_number FROM chain.cursor), -1) AS followed
"""
PROOF = """
SELECT verdict, explanation, block_number,
       funded_not_minted = 0 AND paid_not_burned = 0 AND burned_not_paid = 0 AS nothing_in_flight
FROM recon.proof ORDER BY proof_id DESC LIMIT 1
"""
OLDEST = """
SELECT kind, operation_id, state, reason, updated_at FROM bridge.operation
WHERE state <> ALL($1) ORDER BY updated_at LIMIT $2
"""
BREAKS = """
SELECT kind, subject, detail FROM recon.break WHERE closed_at IS NULL ORDER BY break_id LIMIT $1
"""


class StuckError(Exception):
    """Something that must happen did not happen in time; the text says what is waiting."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at everything. `operations` counts by (kind, state).

    `head` is the node's, `followed` and `reorgs` are what the daemon has of it.
    """

    head: int = 0
    events: tuple[Event, ...] = ()
    operations: tuple[tuple[tuple[str, str], int], ...] = ()
    breaks: int = 0
    reorgs: int = 0
    followed: int = -1
    verdict: str = "none yet"
    proved_block: int = -1
    nothing_in_flight: bool = False

    def of(self, kind: bytes) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    @property
    def minted(self) -> int:
        return len(self.of(MINTED))

    @property
    def requested(self) -> int:
        return len(self.of(REQUESTED))

    @property
    def burned(self) -> int:
        return len(self.of(SETTLED))

    def in_state(self, kind: str, states: Iterable[str]) -> int:
        wanted = set(states)
        return sum(n for (k, state), n in self.operations if k == kind and state in wanted)

    @property
    def in_flight(self) -> int:
        return sum(number for (_, state), number in self.operations if state not in ENDED)

    @property
    def last_event_block(self) -> int:
        acts = (MINTED, REQUESTED, SETTLED, REJECTED)
        return max((event.block_number for event in self.events if event.kind in acts), default=0)

    def balances(self) -> Counter[bytes]:
        """Tokens of every address, from the transfers."""
        balances: Counter[bytes] = Counter()
        for event in self.of(TRANSFER):
            balances[event.address(0)] -= event.amount
            balances[event.address(1)] += event.amount
        del balances[NOBODY]
        return balances


class Watch:
    """Looks again and again; `latest` is the newest snapshot."""

    def __init__(self, world: World, on_look: Callable[[Snapshot], None]) -> None:
        self.latest = Snapshot()
        self._world = world
        self._on_look = on_look
        self._looked = asyncio.Condition()

    async def run(self) -> None:
        """Look until cancelled; raises if the daemon died by itself."""
        while True:
            self._world.daemon.check_alive()
            self.latest = await self._look()
            self._on_look(self.latest)
            async with self._looked:
                self._looked.notify_all()
            await asyncio.sleep(POLL_S)

    async def until(self, what: str, done: Callable[[Snapshot], bool], timeout_s: float) -> None:
        """Wait for a snapshot of which `done` is true; raises StuckError with what is in the way."""
        deadline = time.monotonic() + timeout_s
        while not done(self.latest):
            if time.monotonic() > deadline:
                raise StuckError(await self._explain(what, timeout_s))
            async with self._looked:
                await self._looked.wait()

    async def _look(self) -> Snapshot:
        head = int(await self._world.chain.rpc("eth_blockNumber"), 16)
        events = await self._world.token.events()
        async with self._world.database.acquire() as connection:
            operations = await connection.fetch(OPERATIONS)
            beliefs = await connection.fetchrow(BELIEFS)
            proof = await connection.fetchrow(PROOF)
        snapshot = Snapshot(
            head,
            tuple(events),
            tuple(((row["kind"], row["state"]), row["number"]) for row in operations),
            **dict(beliefs or {}),
        )
        return snapshot if proof is None else _with_proof(snapshot, proof)

    async def _explain(self, what: str, timeout_s: float) -> str:
        latest = self.latest
        states = ", ".join(f"{n} {kind} {state}" for (kind, state), n in sorted(latest.operations))
        lines = [
            f"{what}: not within {timeout_s:.0f} s",
            f"on the chain: {latest.minted} minted, {latest.requested} requested, "
            f"{latest.burned} burned; operations: {states or 'none'}; "
            f"newest proof: {latest.verdict} at block {latest.proved_block}",
        ]
        async with self._world.database.acquire() as connection:
            lines += [
                f"waiting: {row['kind']} {row['operation_id']} is {row['state']} since "
                f"{row['updated_at']:%H:%M:%S} ({row['reason']})"
                for row in await connection.fetch(OLDEST, list(ENDED), STUCK_SHOWN)
            ]
            lines += [
                f"break: {row['kind']} {row['subject']}: {row['detail']}"
                for row in await connection.fetch(BREAKS, STUCK_SHOWN)
            ]
        lines += await self._failing_loops()
        return "\n  ".join(lines)

    async def _failing_loops(self) -> list[str]:
        try:
            loops = (await self._world.daemon.status())["loops"]
        except (aiohttp.ClientError, TimeoutError) as error:
            return [f"the daemon does not answer: {error or type(error).__name__}"]
        return [
            f"loop {loop['name']}: {loop['last_error']}" for loop in loops if loop["last_error"]
        ]


def _with_proof(snapshot: Snapshot, proof: asyncpg.Record) -> Snapshot:
    return replace(
        snapshot,
        verdict=proof["verdict"],
        proved_block=proof["block_number"],
        nothing_in_flight=proof["nothing_in_flight"],
    )
