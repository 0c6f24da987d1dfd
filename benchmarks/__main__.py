"""Measure: `python -m benchmarks [NAME...] [--peers DIR]`.

One line of JSON on standard output for each measurement, progress on standard error. The status is
1 if a measurement could not be made, whatever the numbers are.
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
import uvloop

from benchmarks.backfill import backfill, backfill_10x, backfill_limit, backfill_verified
from benchmarks.broadcast_latency import broadcast_latency
from benchmarks.errors import BenchmarkError
from benchmarks.head_latency import head_latency, head_latency_10m
from benchmarks.mints import mints_batched, mints_naive, mints_single, submit_memory
from benchmarks.peers import Harness
from benchmarks.program import PEER
from benchmarks.redis_latency import redis_latency
from benchmarks.reorg_convergence import reorg_convergence
from benchmarks.result import NAMES, Result
from benchmarks.resume import resume_in_flight
from benchmarks.session import FULL, SMALL, Session, progress
from benchmarks.slow_provider import slow_provider

BENCHMARKS: dict[str, Callable[[Session], Awaitable[Result]]] = {
    "backfill": backfill,
    "backfill_10x": backfill_10x,
    "backfill_verified": backfill_verified,
    "backfill_limit": backfill_limit,
    "head_latency": head_latency,
    "head_latency_10m": head_latency_10m,
    "reorg_convergence": reorg_convergence,
    "slow_provider": slow_provider,
    "redis_latency": redis_latency,
    "mints_batched": mints_batched,
    "mints_single": mints_single,
    "mints_naive": mints_naive,
    "broadcast_latency": broadcast_latency,
    "resume_in_flight": resume_in_flight,
    "submit_memory": submit_memory,
}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; none: all"
    )
    parser.add_argument("--peers", type=Path, metavar="DIR", help="the harness of other indexers")
    parser.add_argument("--small", action="store_true", help="small sizes, only to try it out")
    parser.add_argument("--program", type=Path, default=PEER, help="what is measured")
    given = parser.parse_args(argv)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return given


async def measure(session: Session, name: str) -> bool:
    """Print the measurement's line; whether it could be made."""
    progress(name)
    before = session.machine()  # the load is to be that of others
    try:
        result = await BENCHMARKS[name](session)
    except BenchmarkError as error:
        result = failed(name, str(error))
    except Exception as error:  # noqa: BLE001
        traceback.print_exc(file=sys.stderr)
        result = failed(name, f"{type(error).__name__}: {error}")
    result = replace(result, extra={**result.extra, **before})
    print(result.line(), flush=True)
    return "error" not in result.extra


def failed(name: str, reason: str) -> Result:
    progress(reason)
    return Result(name, None, "", extra={"error": reason})


async def run(given: argparse.Namespace) -> int:
    names = tuple(name for name in NAMES if not given.names or name in given.names)
    harness = None if given.peers is None else Harness(given.peers)
    if harness is not None:
        harness.check()
    sizes = SMALL if given.small else FULL
    program = given.program.absolute()
    async with Session(names, sizes=sizes, harness=harness, program=program) as session:
        made = [await measure(session, name) for name in names]
    return 0 if all(made) else 1


def main() -> None:
    # Parts of the program run in this process too; what they tell is not a result.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    sys.exit(uvloop.run(run(arguments())))


if __name__ == "__main__":
    main()
