"""The demo's result: numbers and checks, as a table for people and as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from daemon.demo.bank import CURRENCY, as_text
from daemon.demo.checks import Check
from daemon.demo.facts import Facts
from daemon.demo.story import Story
from daemon.demo.token import MINTED, SETTLED
from daemon.demo.watch import ENDED


@dataclass(frozen=True, slots=True)
class Numbers:
    """Counts; supply and reserve in minor units. The names are the keys of the JSON object."""

    deposits: int
    minted: int
    redeemed: int
    paid: int
    in_flight: int
    breaks: int
    unminted_by_reorg: int
    reorgs: int
    restarts: int
    seconds: float
    ok: bool
    supply: int
    reserve: int

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def count(facts: Facts, story: Story, checks: Sequence[Check], seconds: float) -> Numbers:
    """The numbers, each from the side that knows best: chain, bank, or database."""
    directions = [entry.direction for entry in facts.bank.entries]
    kinds = [event.kind for event in facts.chain.events]
    return Numbers(
        deposits=directions.count("credit"),
        minted=kinds.count(MINTED),
        redeemed=kinds.count(SETTLED),
        paid=directions.count("debit"),
        in_flight=sum(row.state not in ENDED for row in facts.database.operations),
        breaks=len(facts.database.breaks),
        unminted_by_reorg=story.unminted,
        reorgs=len(story.reorgs),
        restarts=story.restarts,
        seconds=round(seconds, 1),
        ok=all(check.holds for check in checks),
        supply=facts.chain.total_supply,
        reserve=facts.bank.balance_minor,
    )


def table(numbers: Numbers, story: Story, checks: Sequence[Check]) -> RenderableType:
    """What a person reads at the end."""
    counted = Table(title="What happened", title_justify="left", min_width=64)
    counted.add_column("")
    counted.add_column("number", justify="right")
    counted.add_column("asked of")
    for row in _rows(numbers, story):
        counted.add_row(*row)
    judged = Table(title="What was checked", title_justify="left", min_width=64)
    judged.add_column("")
    judged.add_column("claim")
    for check in checks:
        mark = Text("ok", "green") if check.holds else Text("FAULT", "bold red")
        faults = "" if check.holds else f"\n{check.first_faults}"
        judged.add_row(mark, Text(check.claim + faults))
    verdict = Text("ok", "bold green") if numbers.ok else Text("NOT ok", "bold red")
    return Group(counted, judged, Text.assemble(verdict, f" after {numbers.seconds} s"))


def _rows(numbers: Numbers, story: Story) -> list[tuple[str, str, str]]:
    return [
        ("deposits booked", str(numbers.deposits), "the bank"),
        ("deposits minted", str(numbers.minted), "the chain"),
        ("mints undone by reorgs, and minted again", str(numbers.unminted_by_reorg), "the chain"),
        ("redemptions paid out", str(numbers.paid), "the bank"),
        ("redemptions burned", str(numbers.redeemed), "the chain"),
        ("requests dropped by reorgs", str(story.dropped_requests), "the chain"),
        ("requests that holders sent again", str(story.resent), "the holders"),
        ("operations in flight", str(numbers.in_flight), "the database"),
        ("open breaks", str(numbers.breaks), "the database"),
        ("reorgs", str(numbers.reorgs), "the chain"),
        ("daemon killed and started again", str(numbers.restarts), "the demo"),
        ("token supply", f"{as_text(numbers.supply)} {CURRENCY}", "the chain"),
        ("bank balance", f"{as_text(numbers.reserve)} {CURRENCY}", "the bank"),
    ]
