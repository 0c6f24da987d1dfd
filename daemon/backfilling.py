"""The loops of the index alone, with a view of how far they have come."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final, Protocol

import asyncpg
import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

import indexer.errors
from daemon.app import loops_of, opened, stop_on_signals, until
from daemon.backfill_meter import Meter, Progress, duration
from daemon.facts import holder_name
from daemon.health import STANDING_BY, LoopFacts
from daemon.index_status import ChainStatus, read_chains
from daemon.logs import configure
from daemon.settings import Settings
from daemon.status_queries import now
from daemon.supervisor import Supervisor
from indexer.database import AWAY
from indexer.follower import role

LOOK_S: Final = 1.0
LINE_EVERY_S: Final = 5.0
HOLDERS: Final = "SELECT role, holder FROM ops.lease WHERE expires_at > clock_timestamp()"


@dataclass(frozen=True, slots=True)
class BackfillEnd:
    """``fault``: what keeps it from ever being done, until somebody acts."""

    caught_up: bool
    fault: str | None = None


class View(Protocol):
    """Shows progress; it is told when it does so for the last time."""

    def show(
        self,
        progress: Sequence[Progress],
        loops: Sequence[LoopFacts],
        *,
        caught_up: bool,
        last: bool,
    ) -> None:
        """``loops`` tell what goes wrong."""


async def backfill_until(
    settings: Settings, *, until_caught_up: bool, as_json: bool
) -> BackfillEnd:
    """Run the loops of every chain until a signal, or until every contract has joined."""
    stop = stop_on_signals()
    with ExitStack() as stack:
        view = _view(settings, stack, as_json=as_json)
        async with opened(settings, stop, index_only=True) as parts:
            if parts is None:
                return BackfillEnd(caught_up=False)
            supervisor = Supervisor(
                parts.pool, holder_name(), settings.daemon.lease_ttl_s, loops_of(parts)
            )
            watching = asyncio.create_task(
                _watch(parts.pool, settings, supervisor, view, stop, until_caught_up)
            )
            try:
                await until(stop, supervisor)
                return await watching
            finally:
                watching.cancel()


async def _watch(
    pool: asyncpg.Pool,
    settings: Settings,
    supervisor: Supervisor,
    view: View,
    stop: asyncio.Event,
    until_caught_up: bool,
) -> BackfillEnd:
    """Look again and again, show what is seen, and tell when it is the end."""
    meter = Meter()
    end = BackfillEnd(caught_up=False)
    while not stop.is_set():
        loops = supervisor.facts()
        seen = await _look(pool, settings)
        if seen is not None:
            progress = meter.look(seen.chains, time.monotonic())
            is_done = seen.is_current(loops) and all(one.is_done for one in progress)
            end = BackfillEnd(is_done, _fault(loops) if until_caught_up else None)
            is_over = until_caught_up and (is_done or end.fault is not None)
            view.show(progress, loops, caught_up=is_done, last=is_over)
            if is_over:
                stop.set()
        try:
            await asyncio.wait_for(stop.wait(), LOOK_S)
        except TimeoutError:
            continue
    return end


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the database said at one look; ``holders`` are those of leases, by role."""

    chains: list[ChainStatus]
    holders: dict[str, str]

    def is_current(self, loops: Sequence[LoopFacts]) -> bool:
        """Whether every chain is followed closely, by a follower that has asked the node since it began: what the
        database says of the head may be old."""
        asked = {loop.name for loop in loops if loop.running}
        return all(
            chain.synced
            and (
                f"follower:{chain.name}" in asked
                or self.holders.get(role(chain.id)) not in (None, holder_name())
            )
            for chain in self.chains
        )


async def _look(pool: asyncpg.Pool, settings: Settings) -> _Seen | None:
    """None while Postgres is away; the loops tell of that."""
    try:
        async with pool.acquire(timeout=LOOK_S) as connection:
            chains = await read_chains(connection, settings, await now(connection))
            holders = await connection.fetch(HOLDERS)
    except (*AWAY, asyncpg.PostgresError):
        return None
    return _Seen(chains, {row["role"]: row["holder"] for row in holders})


def _fault(loops: Sequence[LoopFacts]) -> str | None:
    """An error that waiting cannot help."""
    for loop in loops:
        kind = getattr(indexer.errors, loop.error_kind or "", None)
        if isinstance(kind, type) and issubclass(kind, indexer.errors.Fatal):
            return f"{loop.name}: {loop.last_error}"
    return None


def _view(settings: Settings, stack: ExitStack, *, as_json: bool) -> View:
    if as_json:
        configure(settings.daemon.log_level)
        return _JsonLines()
    console = Console()
    if not console.is_terminal:
        configure(settings.daemon.log_level)
        return _Lines()
    live = stack.enter_context(Live(console=console, refresh_per_second=4))
    # What is amiss is in the table; log lines would tear it up.
    configure("critical", sys.stderr)
    stack.callback(configure, settings.daemon.log_level)
    return _Screen(live)


class _JsonLines:
    """One object a line, every few seconds and at the end."""

    def __init__(self) -> None:
        self._shown_s = 0.0

    def show(
        self,
        progress: Sequence[Progress],
        loops: Sequence[LoopFacts],
        *,
        caught_up: bool,
        last: bool,
    ) -> None:
        if not last and time.monotonic() - self._shown_s < LINE_EVERY_S:
            return
        self._shown_s = time.monotonic()
        line = {
            "caught_up": caught_up,
            "contracts": [asdict(one) for one in progress],
            "errors": {loop.name: loop.last_error for loop in _failing(loops)},
        }
        click.echo(json.dumps(line))


class _Lines:
    """For a log: a line for each contract, every few seconds and at the end."""

    def __init__(self) -> None:
        self._shown_s = 0.0

    def show(
        self,
        progress: Sequence[Progress],
        loops: Sequence[LoopFacts],
        *,
        caught_up: bool,
        last: bool,
    ) -> None:
        if not last and time.monotonic() - self._shown_s < LINE_EVERY_S:
            return
        self._shown_s = time.monotonic()
        for one in progress:
            click.echo(
                f"{one.chain} {one.contract}: {one.state}, {one.done_blocks} of {_count(one.total_blocks)} blocks "
                f"({one.percent:.1f} %), about {one.rows} rows, {_rate(one)} rows/s, {duration(_left(one))} left"
            )
        for loop in _failing(loops):
            click.echo(f"{loop.name}: {loop.last_error}")


class _Screen:
    """A table that is drawn anew in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(
        self,
        progress: Sequence[Progress],
        loops: Sequence[LoopFacts],
        *,
        caught_up: bool,
        last: bool,
    ) -> None:
        table = Table(title="Backfill", title_justify="left")
        for column in (
            "chain",
            "contract",
            "state",
            "blocks",
            "of",
            "done",
            "rows",
            "rows/s",
            "left",
        ):
            table.add_column(
                column, justify="left" if column in ("chain", "contract", "state") else "right"
            )
        for one in progress:
            table.add_row(
                one.chain,
                one.contract if one.version == 1 else f"{one.contract} ({one.version})",
                Text(one.state, style="green" if one.state == "joined" else "cyan"),
                f"{one.done_blocks:,}",
                _count(one.total_blocks),
                f"{one.percent:.1f} %",
                f"{one.rows:,}",
                _rate(one),
                duration(_left(one)),
            )
        failing = [
            Text(f"{loop.name}: {loop.last_error}", style="bold red") for loop in _failing(loops)
        ]
        self._live.update(Group(table, *failing), refresh=last)


def _failing(loops: Sequence[LoopFacts]) -> list[LoopFacts]:
    return [loop for loop in loops if loop.error_kind not in (None, STANDING_BY)]


def _left(one: Progress) -> float | None:
    return 0.0 if one.state == "joined" else one.eta_s


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _rate(one: Progress) -> str:
    return "?" if one.rows_per_s is None else f"{one.rows_per_s:,.0f}"
