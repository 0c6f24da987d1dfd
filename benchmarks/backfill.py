"""How fast a chain that is already there is read into Postgres, from process start to the last row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import limits, rows
from benchmarks.chain import Chain, Shape
from benchmarks.database import connected
from benchmarks.latencies import median
from benchmarks.limits import Parts
from benchmarks.meter import Usage, tree_cpu_s
from benchmarks.peers import Measured
from benchmarks.program import Options, Program
from benchmarks.result import Result, Wanted, ratio
from benchmarks.session import Session, progress

TIMEOUT_S = 1_200.0
POLL_S = 0.05
PEER = "sqd"
TUNED_PEER = "ponder-0.17-fast"
MAX_RSS_GROWTH = 1.10


@dataclass(frozen=True, slots=True)
class Run:
    """One backfill. `postgres_cpu_s` and `anvil_cpu_s` are what it cost the other two."""

    events: int
    wall_s: float
    usage: Usage
    postgres_cpu_s: float
    anvil_cpu_s: float

    @property
    def events_per_s(self) -> float:
        return self.events / self.wall_s

    def facts(self) -> dict[str, Any]:
        return {
            "cpu_s": self.usage.cpu_s,
            "peak_rss_mb": self.usage.peak_rss_mb,
            "postgres_cpu_s": round(self.postgres_cpu_s, 2),
            "anvil_cpu_s": round(self.anvil_cpu_s, 2),
        }


@dataclass(frozen=True, slots=True)
class Rounds:
    """Backfills of the same chain, with a peer's in between so that a slow spell hits both."""

    own: list[Run]
    peer: list[Measured]

    @property
    def median(self) -> Run:
        """The run whose wall time is the middle one (of an even number, the slower of the two)."""
        return sorted(self.own, key=lambda run: run.wall_s)[len(self.own) // 2]

    def peer_wall_s(self) -> float | None:
        return median([run["wall_s"] for run in self.peer]) if self.peer else None

    def peer_events_per_s(self) -> float | None:
        return median([run["events_per_s"] for run in self.peer]) if self.peer else None

    def facts(self) -> dict[str, Any]:
        """For the line of JSON."""
        middle = self.median
        return {
            "events": middle.events,
            "exact": True,
            "runs_s": [round(run.wall_s, 3) for run in self.own],
            "against_runs_s": [run["wall_s"] for run in self.peer],
            "events_per_s": round(middle.events_per_s),
            "against_peak_rss_mb": max((run["peak_rss_mb"] for run in self.peer), default=None),
            **middle.facts(),
        }

    def peer_versions(self) -> dict[str, str]:
        return {PEER: self.peer[0]["version"]} if self.peer else {}


async def run_once(session: Session, chain: Chain, shape: Shape, verify: str = "none") -> Run:
    """One backfill of a whole chain into a fresh database. Raises RowsDifferError."""
    server = await session.postgres()
    async with session.database("backfill") as dsn, connected(dsn) as connection:

        async def is_complete() -> bool:
            return await rows.any_row(connection) and await rows.count(connection) >= shape.events

        before = tree_cpu_s(server.pid), tree_cpu_s(chain.pid)
        options = Options(verify=verify)
        async with Program(session.program, chain, dsn, options) as program:
            wall_s = await program.until(
                f"{shape.events} rows", is_complete, timeout_s=TIMEOUT_S, poll_s=POLL_S
            )
            after = tree_cpu_s(server.pid), tree_cpu_s(chain.pid)
            await rows.require_exact(chain, connection)
            usage = await program.stop()
    progress(f"{shape.events} events in {wall_s:.2f} s")
    return Run(shape.events, wall_s, usage, after[0] - before[0], after[1] - before[1])


async def run_rounds(session: Session, verify: str) -> Rounds:
    """Backfills of the small chain, and as many of the peer's on its own."""
    rounds = Rounds([], [])
    size = ("--small",) if session.small else ()
    shape = session.sizes.backfill
    async with Chain() as chain:
        await chain.generate(shape)
        for _ in range(session.sizes.rounds):
            rounds.own.append(await run_once(session, chain, shape, verify))
            measured = await session.peers("w1", PEER, flags=(*size, "--n", "1"))
            rounds.peer.extend(measured.values())
    return rounds


async def unverified_rounds(session: Session) -> Rounds:
    return await session.once("backfill", lambda: run_rounds(session, "none"))


async def run_large(session: Session) -> tuple[Run, Parts | None]:
    """The large chain once, and what the machine allows for it if that was asked for."""
    shape = session.sizes.large
    async with Chain(light=True) as chain:
        await chain.generate(shape)
        run = await run_once(session, chain, shape)
        if "backfill_limit" not in session.names:
            return run, None
        async with session.database("limits") as dsn, connected(dsn) as connection:
            return run, await limits.measure(chain, connection)


async def backfill(session: Session) -> Result:
    """200,000 events in 2,000 blocks: seconds."""
    rounds = await unverified_rounds(session)
    return Result(
        "backfill",
        round(rounds.median.wall_s, 3),
        "s",
        PEER if rounds.peer else None,
        rounds.peer_wall_s(),
        Wanted("<=", 0.4),
        await session.versions(**rounds.peer_versions()),
        rounds.facts(),
    )


async def backfill_verified(session: Session) -> Result:
    """The same, every block's logs proved complete by its receipts: events a second."""
    rounds = await run_rounds(session, "full")
    return Result(
        "backfill_verified",
        round(rounds.median.events_per_s),
        "events/s",
        PEER if rounds.peer else None,
        rounds.peer_events_per_s(),
        Wanted(">=", 1.0),
        await session.versions(**rounds.peer_versions()),
        rounds.facts(),
    )


async def backfill_10x(session: Session) -> Result:
    """Ten times as many events: events a second, and whether memory grew with them."""
    small = (await unverified_rounds(session)).median
    run, _ = await session.once("backfill_10x", lambda: run_large(session))
    peers = await large_peers(session)
    sqd, ponder = peers.get(PEER), peers.get(TUNED_PEER)
    return Result(
        "backfill_10x",
        round(run.events_per_s),
        "events/s",
        PEER if sqd else None,
        sqd["events_per_s"] if sqd else None,
        Wanted(">=", 3.0),
        await session.versions(**{name: peer["version"] for name, peer in peers.items()}),
        {
            "events": run.events,
            "exact": True,
            "wall_s": round(run.wall_s, 3),
            **run.facts(),
            "small_peak_rss_mb": small.usage.peak_rss_mb,
            "rss_ratio": ratio(run.usage.peak_rss_mb, small.usage.peak_rss_mb),
            "rss_wanted": f"<= {MAX_RSS_GROWTH:g}",
            "against_wall_s": sqd["wall_s"] if sqd else None,
            "against_peak_rss_mb": sqd["peak_rss_mb"] if sqd else None,
            "second": TUNED_PEER if ponder else None,
            "second_value": ponder["events_per_s"] if ponder else None,
            "second_ratio": ratio(run.events_per_s, ponder["events_per_s"] if ponder else None),
            "second_wanted": ">= 8",
        },
    )


async def large_peers(session: Session) -> dict[str, Measured]:
    """Both peers on the harness's own large chain, which takes it some minutes to make."""
    size = "--small" if session.small else "--large"
    flags = (size, "--n", "1", "--timeout", str(TIMEOUT_S))
    return await session.peers("w1", PEER, TUNED_PEER, flags=flags)


async def backfill_limit(session: Session) -> Result:
    """The large backfill's rate against what the machine allows."""
    run, parts = await session.once("backfill_10x", lambda: run_large(session))
    if parts is None:
        raise RuntimeError("the limit was not measured")
    return Result(
        "backfill_limit",
        round(run.events_per_s),
        "events/s",
        "fetch + slice + encode + COPY, measured apart",
        round(parts.events_per_s),
        Wanted(">=", 0.6),
        await session.versions(),
        {"exact": True, "wall_s": round(run.wall_s, 3), **run.facts(), "limit": parts.facts()},
    )
