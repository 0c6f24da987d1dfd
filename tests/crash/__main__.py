"""Kill the daemon everywhere: ``python -m tests.crash [--point NAME] [--seed 1] [--workers 2] [--json]``.

The status is 1 if a run ends otherwise than it must. A name is a point, or a part of the names of several.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

from tests.crash.matrix import Matrix, players
from tests.crash.run import Outcome

WORKERS = 2
# So many failures are enough to look at.
MOST_FAILURES = 5
TELL_EVERY_S = 20.0


class Teller:
    """Tells on standard error how far it is, and of each failure at once."""

    def __init__(self, matrix: Matrix, *, each: bool) -> None:
        self._matrix = matrix
        self._each = each
        self._began_s = self._told_s = time.monotonic()

    def tell(self, outcome: Outcome) -> None:
        if outcome.faults:
            faults = "\n  ".join(outcome.faults)
            _say(f"{outcome.run}\n  {_died(outcome)}\n  {faults}")
        elif self._each:
            _say(f"{outcome.run}: {_died(outcome)}; {outcome.took_s:.1f} s")
        now_s = time.monotonic()
        if now_s - self._told_s > TELL_EVERY_S and not self._each:
            self._told_s = now_s
            done, left = len(self._matrix.outcomes), len(self._matrix.runs)
            _say(f"{now_s - self._began_s:.0f} s: {done} runs, {left} to come")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--point", default="", help="points whose name has this in it")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn")
    parser.add_argument("--workers", type=int, default=WORKERS, help="runs at the same time")
    parser.add_argument("--json", action="store_true", help="the numbers as the last line")
    parser.add_argument("--each", action="store_true", help="tell of every run")
    wanted = parser.parse_args()
    matrix = Matrix(wanted.seed, wanted.point)
    began_s = time.monotonic()
    teller = Teller(matrix, each=wanted.each)
    asyncio.run(_play(matrix, teller, wanted.workers))
    return _report(matrix, time.monotonic() - began_s, as_json=wanted.json)


async def _play(matrix: Matrix, teller: Teller, workers: int) -> None:
    async with players() as group:
        await group.play(matrix, workers, teller.tell, MOST_FAILURES)


def _report(matrix: Matrix, took_s: float, *, as_json: bool) -> int:
    died = matrix.died_at & matrix.passed
    numbers = {
        "points": len({point for _, point in died}),
        "places": dict(Counter(str(context) for context, _ in died)),
        "runs": len(matrix.outcomes),
        "deaths": sum(len(one.deaths) for one in matrix.outcomes),
        "missed": [f"{context}: {point}" for context, point in matrix.missed],
        "failed": len(matrix.failed),
        "seconds": round(took_s),
    }
    for context, point in matrix.missed:
        print(f"passed, and never died at: {point} ({context})")
    outcome = f"{len(matrix.failed)} failed" if matrix.failed else "all end as they must"
    print(
        f"{numbers['points']} points, {len(died)} with their contexts; {numbers['runs']} runs, "
        f"{numbers['deaths']} deaths in {took_s:.0f} s: {outcome}"
    )
    if as_json:
        print(json.dumps(numbers))
    return 1 if matrix.failed or not died else 0


def _died(outcome: Outcome) -> str:
    return f"died: {', then '.join(outcome.deaths)}" if outcome.deaths else "nobody died"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
