"""Draws chains, contracts and providers for a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from daemon.health import ChainState
from daemon.index_status import ChainStatus

_STATE_STYLE = {
    ChainState.SYNCED: "green",
    ChainState.BACKFILLING: "cyan",
    ChainState.CATCHING_UP: "yellow",
    ChainState.WAITING: "yellow",
    ChainState.STOPPED: "red",
    ChainState.FAILING: "bold red",
    ChainState.REWRITTEN: "bold red",
    "joined": "green",
    "backfilling": "cyan",
    "waiting": "yellow",
    "retired": "dim",
}
_NUMBERS = frozenset(
    (
        *("head", "of", "final", "behind", "age", "reorgs"),
        *("from", "to", "done", "rows (estimate)"),
    )
)


def render(chains: Sequence[ChainStatus]) -> RenderableType:
    """Alarms, chains, providers where they are known, contracts."""
    parts: list[RenderableType] = [*alarms_of(chains), chains_table(chains)]
    if any(chain.providers for chain in chains):
        parts.append(_providers_table(chains))
    parts.append(sources_table(chains))
    return Group(*parts)


def alarms_of(chains: Sequence[ChainStatus]) -> list[Text]:
    """What should be seen first of them."""
    lines = []
    for chain in chains:
        if chain.state is ChainState.REWRITTEN:
            lines.append(
                Text(
                    f"CHAIN {chain.name} WAS REWRITTEN BELOW ITS FINALIZED BLOCK: {chain.error}",
                    style="bold red",
                )
            )
        elif chain.state is ChainState.FAILING:
            lines.append(Text(f"chain {chain.name} fails: {chain.error}", style="bold red"))
        lines += [
            Text(
                f"DIFFERENCE {one.audit_id}: contract {one.contract} (version {one.version}) differs from chain "
                f"{chain.name} in blocks {one.from_block} to {one.to_block}",
                style="bold red",
            )
            for one in chain.audit.differences
        ]
    return lines


def chains_table(chains: Sequence[ChainStatus]) -> Table:
    """A row for each chain."""
    columns = ("chain", "id", "state", "head", "of", "final", "behind", "age", "reorgs")
    table = _table("Chains", *columns)
    for chain in chains:
        table.add_row(
            chain.name,
            str(chain.id),
            _state(chain.state),
            known(chain.head),
            known(chain.node_head),
            known(chain.finalized),
            known(chain.lag_blocks),
            "?" if chain.lag_s is None else f"{chain.lag_s:.0f} s",
            str(chain.reorgs),
        )
    # Too long for columns.
    table.caption = "\n".join(
        f"{chain.name}: final is {_finality(chain)}; {_audit(chain)}" for chain in chains
    )
    return table


def sources_table(chains: Sequence[ChainStatus]) -> Table:
    """A row for each version of each contract."""
    columns = ("chain", "contract", "version", "state", "from", "to", "done", "rows (estimate)")
    table = _table("Contracts", *columns)
    for chain in chains:
        for one in chain.sources:
            table.add_row(
                chain.name,
                one.name,
                str(one.version),
                _state(one.state),
                known(one.start_block),
                "head" if one.state == "joined" else known(one.covered_to),
                f"{one.percent:.1f} %",
                f"{one.rows_estimate:,}",
            )
    return table


def _audit(chain: ChainStatus) -> str:
    differences = f"{chain.audit.open} difference{'s' * (chain.audit.open != 1)}"
    if not chain.audit.blocks_per_hour:
        return f"not audited, {differences} open"
    return f"{chain.audit.percent:.1f} % audited, {differences} open"


def known(number: int | None) -> str:
    """A question mark for what is not known."""
    return "?" if number is None else str(number)


def named(numbers: dict[str, int]) -> str:
    """Names, each with its number."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items()) or "none"


def _providers_table(chains: Sequence[ChainStatus]) -> Table:
    columns = ("chain", "provider", "works", "latency", "head", "failures")
    table = _table("Providers", *columns)
    for chain in chains:
        for one in chain.providers:
            table.add_row(
                chain.name,
                Text(one.name),
                Text("yes", style="green") if one.healthy else Text("no", style="bold red"),
                "?" if one.latency_ms is None else f"{one.latency_ms:.0f} ms",
                known(one.head_number),
                str(one.failures),
            )
    # Too long for a column.
    table.caption = Text("\n").join(
        Text(f"{one.name} last failed: {one.last_failure}")
        for chain in chains
        for one in chain.providers
        if one.last_failure
    )
    return table


def _finality(chain: ChainStatus) -> str:
    depth = chain.finality_depth_blocks
    what = "what nodes call finalized" if depth is None else f"{depth} blocks deep"
    if chain.quorum > 1:
        return f"{what}, by {chain.quorum} operators"
    return f"{what}, single provider" if chain.single_provider else what


def _state(state: str) -> Text:
    return Text(str(state).replace("_", " "), style=_STATE_STYLE.get(state, ""))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    return table
