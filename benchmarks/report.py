"""Tables of results in Markdown: `python -m benchmarks.report RESULTS.jsonl`.

The last line of each measurement counts, so that one which was repeated can just be appended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import NAMES, parse_lines

HEAD = ("measurement", "value", "against", "its value", "ratio", "wanted", "met")
# What is in the table already, or says nothing that a reader would want in a list of details.
SHOWN = ("bench", "value", "unit", "against", "against_value", "ratio", "wanted", "met", "versions")


def report(results: Sequence[Mapping[str, Any]]) -> str:
    """The summary, the details and the versions."""
    last = {result["bench"]: result for result in results}
    ordered = [last[name] for name in NAMES if name in last]
    parts = [
        table(HEAD, [row(result) for result in ordered]),
        "\n".join(details(result) for result in ordered),
        "Versions: " + ", ".join(versions(ordered)) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """In Markdown; a bar in a cell is escaped."""
    rule = ["---"] * len(head)
    cells = ([cell.replace("|", "\\|") for cell in line] for line in (head, rule, *lines))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def row(result: Mapping[str, Any]) -> list[str]:
    """One measurement's cells; a dash where there is nothing."""
    if "error" in result:
        return [f"`{result['bench']}`", "not made", *["–"] * (len(HEAD) - 2)]
    return [
        f"`{result['bench']}`",
        f"{shown(result['value'])} {result['unit']}",
        shown(result.get("against")),
        shown(result.get("against_value")),
        shown(result.get("ratio")),
        shown(result.get("wanted")),
        shown(result.get("met")),
    ]


def details(result: Mapping[str, Any]) -> str:
    """Everything else that the line says, as an item of a list; what is empty is left out."""
    rest = {name: value for name, value in result.items() if name not in SHOWN}
    said = (f"{name} {shown(value)}" for name, value in rest.items() if value not in (None, []))
    return f"- `{result['bench']}`: {'; '.join(said)}"


def versions(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each program with its version, in the order of their first appearance."""
    found = dict.fromkeys(
        f"{program} {version}"
        for result in results
        for program, version in result.get("versions", {}).items()
    )
    return list(found)


def shown(value: object) -> str:
    """A value as a reader wants it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return str(value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, help="lines that `make bench` printed")
    given = parser.parse_args()
    sys.stdout.write(report(parse_lines(given.results.read_text().splitlines())))


if __name__ == "__main__":
    main()
