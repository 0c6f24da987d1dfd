"""Play seeds: ``python -m tests.simulation [--seeds 1000] [--first 0]``, or one: ``--seed 4711 [--without 3,5]``.

The status is 1 if a seed fails; each prints what happened, what was wrong, and how to play it again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from tests.simulation.company import Company, Report, company

AT_ONCE = 10
# So many failures are enough to look at.
MOST_FAILURES = 5
TELL_EVERY_S = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--without", default="", help="numbers of its actions to leave out: 3,5")
    wanted = parser.parse_args()
    without = [int(each) for each in wanted.without.split(",") if each]
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    if wanted.seed is not None:
        seeds = range(wanted.seed, wanted.seed + 1)
    return asyncio.run(_run(seeds, without))


async def _run(seeds: range, without: list[int]) -> int:
    began = time.monotonic()
    async with company() as players:
        if len(seeds) == 1:
            reports = await asyncio.wrap_future(players.play(seeds, without))
            for report in reports:
                print(f"\nSeed {report.seed} fails.\n\n{report.text}")
        else:
            reports = await asyncio.to_thread(_play, players, seeds, began)
    took_s = time.monotonic() - began
    outcome = f"{len(reports)} failed" if reports else "all end as they must"
    print(f"{len(seeds)} seeds in {took_s:.0f} s: {outcome}")
    return 1 if reports else 0


def _play(players: Company, seeds: range, began: float) -> list[Report]:
    reports: list[Report] = []
    played, told = 0, began
    for count, failed in players.play_all(seeds, AT_ONCE):
        played += count
        reports += failed
        for report in failed:
            print(f"\nSeed {report.seed} fails.\n\n{report.text}", flush=True)
        now = time.monotonic()
        if now - told > TELL_EVERY_S:
            told = now
            print(
                f"{played} of {len(seeds)} seeds, {len(reports)} failed",
                file=sys.stderr,
                flush=True,
            )
        if len(reports) >= MOST_FAILURES:
            print(f"Enough of it: {len(reports)} failures in {played} seeds.", file=sys.stderr)
            break
    return reports


if __name__ == "__main__":
    sys.exit(main())
