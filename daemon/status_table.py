"""Draws the status for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bridge.bank.amounts import format_minor
from daemon.status import ProofStatus, Status

_VERDICT_STYLE = {"agree": "green", "stale": "yellow", "drift": "bold red"}


def render(status: Status) -> RenderableType:
    """What should be seen first, then everything in one table; amounts as decimals."""
    table = Table(title=f"Landbridge {status.version}", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(status):
        # As text: square brackets in a reason or an error are not markup.
        table.add_row(name, Text(value) if isinstance(value, str) else value)
    return Group(*_alarms(status), table)


def _alarms(status: Status) -> list[Text]:
    """What a person should see first."""
    lines = [
        Text(f"HALTED ({halt.scope}): {halt.reason} (by {halt.opened_by})", style="bold red")
        for halt in status.halts
    ]
    if status.breaks.critical:
        lines.append(Text(f"critical breaks open: {status.breaks.critical}", style="bold red"))
    return lines


def _rows(status: Status) -> list[tuple[str, str | Text]]:
    oldest = status.oldest_in_flight
    rows: list[tuple[str, str | Text]] = [
        ("chain", _chain(status)),
        ("provider", _provider(status)),
        ("feed", _feed(status)),
        ("supply", _amount(status.supply, status)),
        ("reserve", _amount(status.reserve, status)),
        ("proof", _proof(status.proof)),
        ("issuance", _named(status.operations.issuance)),
        ("redemption", _named(status.operations.redemption)),
        (
            "oldest in flight",
            "none"
            if oldest is None
            else f"{oldest.kind} {oldest.operation_id}, {oldest.state}, {oldest.age_s:.0f} s",
        ),
        ("transactions", f"{status.in_flight_transactions} in flight"),
        ("breaks", _named(status.breaks.open)),
        ("bank read to", _known(status.bank.read_through)),
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


def _chain(status: Status) -> str:
    chain = status.chain
    if chain.head is None:
        return f"{chain.id}: nothing read yet"
    return (
        f"{chain.id}: head {chain.head} of {_known(chain.node_head)}, "
        f"finalized {_known(chain.finalized)}, {_known(chain.lag_blocks)} blocks and "
        f"{chain.lag_s or 0:.0f} s behind, {chain.reorgs} reorgs"
    )


def _provider(status: Status) -> str:
    provider = status.provider
    depth = provider.finality_depth_blocks
    finality = "the node's finalized tag" if depth is None else f"{depth} blocks deep"
    return f"{provider.rpc_url}, single provider, final is {finality}"


def _feed(status: Status) -> str:
    behind = {name: consumer.lag for name, consumer in status.feed.consumers.items()}
    return f"seq {status.feed.seq}; rows behind: {_named(behind)}"


def _amount(amount_minor: int | None, status: Status) -> str:
    if amount_minor is None:
        return "not known yet"
    return f"{format_minor(amount_minor, status.decimals)} {status.currency}"


def _proof(proof: ProofStatus | None) -> str | Text:
    if proof is None:
        return "none yet"
    text = f"{proof.verdict} at block {proof.block}, {proof.age_s:.0f} s ago: {proof.explanation}"
    return Text(text, style=_VERDICT_STYLE.get(proof.verdict, ""))


def _named(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items()) or "none"


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _rest(seconds: float) -> str:
    return f"{seconds:.0f} s left" if seconds > 0 else "expired"
