"""Draws the status for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bridge.bank.amounts import format_minor
from daemon.index_table import alarms_of, chains_table, known, named, sources_table
from daemon.status import BridgeStatus, ProofStatus, Status

_VERDICT_STYLE = {"agree": "green", "stale": "yellow", "drift": "bold red"}


def render(status: Status) -> RenderableType:
    """What should be seen first, then chains and contracts, then the rest; amounts as decimals."""
    parts: list[RenderableType] = [*_alarms(status), chains_table(status.chains)]
    if any(chain.sources for chain in status.chains):
        parts.append(sources_table(status.chains))
    rows = [*([] if status.bridge is None else _of_bridge(status.bridge)), *_of_process(status)]
    if rows:
        table = Table(title=f"Landbridge {status.version}", show_header=False, title_justify="left")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            # As text: square brackets in a reason or an error are not markup.
            table.add_row(name, Text(value) if isinstance(value, str) else value)
        parts.append(table)
    return Group(*parts)


def _alarms(status: Status) -> list[Text]:
    """What a person should see first."""
    lines = [
        Text(f"HALTED ({halt.scope}): {halt.reason} (by {halt.opened_by})", style="bold red")
        for halt in status.halts
    ]
    lines += alarms_of(status.chains)
    if status.bridge is not None and status.bridge.breaks.critical:
        lines.append(
            Text(f"critical breaks open: {status.bridge.breaks.critical}", style="bold red")
        )
    lines += [
        Text(
            f"nobody works with signer {one.name}, which has {one.open_transactions} transactions without an outcome "
            f"and {one.open_intents} intents",
            style="bold red",
        )
        for one in ([] if status.bridge is None else status.bridge.signers)
        if (one.open_transactions or one.open_intents) and not one.worked
    ]
    return lines


def _of_bridge(bridge: BridgeStatus) -> list[tuple[str, str | Text]]:
    oldest = bridge.oldest_in_flight
    return [
        ("supply", _amount(bridge.supply, bridge)),
        ("reserve", _amount(bridge.reserve, bridge)),
        ("proof", _proof(bridge.proof)),
        ("issuance", named(bridge.operations.issuance)),
        ("redemption", named(bridge.operations.redemption)),
        (
            "oldest in flight",
            "none"
            if oldest is None
            else f"{oldest.kind} {oldest.operation_id}, {oldest.state}, {oldest.age_s:.0f} s",
        ),
        ("transactions", f"{bridge.in_flight_transactions} in flight"),
        *(
            (
                f"signer {one.name}",
                f"{one.address}, {one.state}, {one.open_transactions} in flight, "
                + ("worked" if one.worked else "nobody works with it"),
            )
            for one in bridge.signers
        ),
        ("breaks", named(bridge.breaks.open)),
        ("bank read to", known(bridge.bank.read_through)),
    ]


def _of_process(status: Status) -> list[tuple[str, str | Text]]:
    rows: list[tuple[str, str | Text]] = [
        (
            f"feed of {chain.name}",
            f"seq {chain.retention.feed_from} to {chain.feed_seq}; rows behind: "
            + named({name: one.lag for name, one in chain.consumers.items()}),
        )
        for chain in status.chains
        if chain.consumers
    ]
    rows += [
        (
            f"stream of {chain.name}",
            f"{chain.stream.length} entries, {chain.stream.rows_behind} rows behind; groups' rows behind: "
            + named({name: one.rows_behind for name, one in chain.stream.groups.items()}),
        )
        for chain in status.chains
        if chain.stream is not None
    ]
    rows += [
        (
            f"lease {lease.role}",
            f"{lease.holder}, epoch {lease.epoch}, {_rest(lease.expires_in_s)}",
        )
        for lease in status.leases
    ]
    rows += [
        (
            f"loop {loop.name}",
            f"{'runs' if loop.running else 'does not run'}, {loop.restarts} restarts"
            + (f", {loop.last_error}" if loop.last_error else ""),
        )
        for loop in status.loops
    ]
    return rows


def _amount(amount_minor: int | None, bridge: BridgeStatus) -> str:
    if amount_minor is None:
        return "not known yet"
    return f"{format_minor(amount_minor, bridge.decimals)} {bridge.currency}"


def _proof(proof: ProofStatus | None) -> str | Text:
    if proof is None:
        return "none yet"
    text = f"{proof.verdict} at block {proof.block}, {proof.age_s:.0f} s ago: {proof.explanation}"
    return Text(text, style=_VERDICT_STYLE.get(proof.verdict, ""))


def _rest(seconds: float) -> str:
    return f"{seconds:.0f} s left" if seconds > 0 else "expired"
