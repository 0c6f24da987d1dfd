"""The logs of a span of final blocks, trusted as far as the contracts ask for.

``none``: the node's answer, but for the newest of final blocks (:mod:`indexer.anchor`), which are read as with
``bloom``; if they show that the answer ends below them, the whole span is. ``bloom``: every header of the span
too; a block whose bloom excludes our logs has none, and one whose bloom does not and that has none in the answer
is read from its receipts. ``full``: every header is recomputed to its hash and linked to the next, and every block
that may have logs is read from its receipts, whose root must be the header's; the node's own search for logs is
not used at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexer import proof
from indexer.anchor import Anchor
from indexer.batch import together
from indexer.block import Header
from indexer.block_logs import asked, logs_from_receipts, receipts_of
from indexer.contract import Verify
from indexer.errors import LogsInconsistent
from indexer.hexadecimal import to_data
from indexer.nodes import Nodes
from indexer.provider import Provider
from indexer.query import LogQuery
from indexer.recorder import tells_time
from indexer.spans import Span
from indexer.wire import Log

BYTES_OF_A_LOG = 650


@dataclass(frozen=True, slots=True)
class SpanLogs:
    """``logs`` in the order of the chain; ``timestamps`` by the text of a block's hash, where they were read.
    ``headers`` are those of the whole span if all of it was verified, else empty. ``size_bytes`` is what it weighed."""

    span: Span
    logs: Sequence[Log]
    timestamps: Mapping[str, int]
    headers: Sequence[Header]
    size_bytes: int


async def read(
    providers: Nodes,
    query: LogQuery,
    span: Span,
    verify: Verify,
    anchor: Anchor,
) -> SpanLogs:
    """``anchor``: of our final block above the span, which whoever answers must have too.

    Raises :class:`RangeRefused` if the span is too long for the node, and Retryable errors.
    """
    if query.is_empty:
        return SpanLogs(span, (), {}, (), 0)
    if verify == "none":
        return await _believed(providers, query, span, anchor)
    return await _verified(providers, query, span, verify, anchor)


async def _verified(
    providers: Nodes, query: LogQuery, span: Span, verify: Verify, anchor: Anchor
) -> SpanLogs:
    newest = await anchor.headers(span)
    provider = providers.best()
    older = span.last + 1 - len(newest)
    headers = [*await provider.rpc.headers(range(span.first, older)), *newest]
    proof.headers_linked(headers, None, None)
    if verify == "full":
        logs = await _proven(provider, query, headers)
        size_bytes = len(logs) * BYTES_OF_A_LOG
    else:
        answer = await providers.range_logs(span.first, span.last, query.addresses, query.topics)
        logs = await _compared(provider, query, headers, answer.logs)
        size_bytes = answer.size_bytes
    if anchor.final is not None:
        # The logs are of these headers, so it is enough to ask whoever gave them.
        await provider.require_final(anchor.final)
    return SpanLogs(span, logs, _times(headers), headers, size_bytes)


async def _believed(
    providers: Nodes,
    query: LogQuery,
    span: Span,
    anchor: Anchor,
) -> SpanLogs:
    # Before the range: an address whose node lacks what is final shows it here, and is not asked for the range.
    newest = await anchor.headers(span)
    answer = await providers.range_logs(
        span.first, span.last, query.addresses, query.topics, anchor.final
    )
    logs, times = answer.logs, _times(newest)
    if newest:
        lowest = newest[0].number
        newer = [log for log in logs if int(log.block_number, 16) >= lowest]
        logs = [log for log in logs if int(log.block_number, 16) < lowest]
        found = await _compared(providers.best(), query, newest, newer)
        if found and not newer and span.first < lowest:
            # Whoever answered has none of the newest logs that there are: its chain may end anywhere below them.
            return await _verified(providers, query, span, "bloom", anchor)
        logs += found
    untold = {int(log.block_number, 16) for log in logs if not tells_time(log)}
    untold.difference_update(header.number for header in newest)
    if untold:
        times.update(_times(await providers.best().rpc.headers(sorted(untold))))
    return SpanLogs(span, logs, times, (), answer.size_bytes)


def _times(headers: Sequence[Header]) -> dict[str, int]:
    return {to_data(header.hash): header.timestamp_s for header in headers}


async def _proven(provider: Provider, query: LogQuery, headers: Sequence[Header]) -> list[Log]:
    async def of(header: Header) -> list[Log]:
        receipts = await receipts_of(provider.rpc, header, to_be_proved=True)
        return asked(query, proof.verified_logs(header, receipts))

    found = await together(of, [one for one in headers if query.may_match(one.logs_bloom)])
    return [log for logs in found for log in logs]


async def _compared(
    provider: Provider, query: LogQuery, headers: Sequence[Header], logs: Sequence[Log]
) -> list[Log]:
    """By their headers: logs where the bloom excludes them are refused, lacking ones are looked for."""
    by_block: dict[str, list[Log]] = {}
    for log in logs:
        by_block.setdefault(log.block_hash, []).append(log)
    found: list[Log] = []
    for header in headers:
        ours = by_block.pop(to_data(header.hash), [])
        if not query.may_match(header.logs_bloom):
            if ours:
                _refuse(header, "a log is not in the block's bloom")
        elif not ours:
            ours = asked(query, await logs_from_receipts(provider.rpc, header))
        found.extend(ours)
    for block_hash in by_block:
        _refuse(headers[0], f"a log is of block {block_hash}, which the headers do not have")
    return found


def _refuse(header: Header, reason: str) -> None:
    raise LogsInconsistent(number=header.number, hash=to_data(header.hash), reason=reason)
