"""Metrics of the chains: how far each is followed, what is covered of each contract, and how its nodes fare."""

from collections.abc import Callable, Iterator, Sequence
from typing import get_args

from prometheus_client.core import Metric

from daemon.audit_status import AuditStatus
from daemon.families import Samples, counter, gauge
from daemon.health import ChainState
from daemon.index_status import ChainStatus, HeadsStatus, ProviderStatus, SourceStatus
from indexer.audit_reading import Outcome


def collect(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    """Every family of the index."""
    yield from _chains(chains)
    yield from _streams(chains)
    yield from _sources(chains)
    yield from _audits(chains)
    yield from _providers(chains)
    yield from _heads(chains)


def _chains(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    def each(read: Callable[[ChainStatus], float | None]) -> Samples:
        return [([chain.name], read(chain)) for chain in chains]

    for name, text, samples in (
        ("head_block", "The newest block stored.", each(lambda one: one.head)),
        (
            "node_head_block",
            "The newest block that the node reported.",
            each(lambda one: one.node_head),
        ),
        ("safe_block", "The newest block that is called safe.", each(lambda one: one.safe)),
        (
            "finalized_block",
            "The newest block that can no longer go.",
            each(lambda one: one.finalized),
        ),
        (
            "lag_blocks",
            "Blocks between the node's head and the stored one.",
            each(lambda one: one.lag_blocks),
        ),
        ("lag_seconds", "Age of the newest block stored.", each(lambda one: one.lag_s)),
        ("reorgs", "Reorgs seen since the first block.", each(lambda one: one.reorgs)),
        ("feed_seq", "The last number of the feed.", each(lambda one: one.feed_seq)),
        (
            "feed_from_seq",
            "The oldest number that the feed still has.",
            each(lambda one: one.retention.feed_from),
        ),
        (
            "snapshot_seq",
            "The feed's number at the newest snapshot.",
            each(lambda one: one.retention.snapshot_seq),
        ),
        (
            "snapshot_age_seconds",
            "Age of the newest snapshot.",
            each(lambda one: one.retention.snapshot_age_s),
        ),
        (
            "pruned_feed_rows",
            "Rows of the feed that were removed since the first block.",
            each(lambda one: one.retention.pruned_feed_rows),
        ),
        (
            "pruned_orphan_rows",
            "Orphaned blocks, logs and events that were removed since the first block.",
            each(lambda one: one.retention.pruned_orphan_rows),
        ),
        (
            "synced",
            "1 if the chain is followed closely and every contract's history is there.",
            each(lambda one: float(one.synced)),
        ),
        (
            "rewritten",
            "1 if the chain was rewritten below its finalized block: an operator has to act.",
            each(lambda one: float(one.state is ChainState.REWRITTEN)),
        ),
    ):
        yield gauge(f"landbridge_chain_{name}", text, samples, ["chain"])
    yield gauge(
        "landbridge_chain_consumer_lag_rows",
        "Rows of the feed that a consumer has not acted on yet.",
        [
            ([chain.name, name], consumer.lag)
            for chain in chains
            for name, consumer in chain.consumers.items()
        ],
        ["chain", "consumer"],
    )


def _streams(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    streams = [(chain.name, chain.stream) for chain in chains if chain.stream is not None]
    groups = [
        ([chain, name], group) for chain, one in streams for name, group in one.groups.items()
    ]
    for name, text, samples, labels in (
        (
            "entries",
            "Entries of the chain's stream in Redis.",
            [([chain], one.length) for chain, one in streams],
            ["chain"],
        ),
        (
            "lag_rows",
            "Rows of the feed that its stream in Redis does not have yet.",
            [([chain], one.rows_behind) for chain, one in streams],
            ["chain"],
        ),
        (
            "group_lag_rows",
            "Rows of the stream that a consumer group was not given yet.",
            [(labels, group.rows_behind) for labels, group in groups],
            ["chain", "group"],
        ),
        (
            "group_pending_entries",
            "Entries that a consumer group was given and has not acknowledged.",
            [(labels, group.pending) for labels, group in groups],
            ["chain", "group"],
        ),
    ):
        yield gauge(f"landbridge_chain_stream_{name}", text, samples, labels)


def _sources(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    def each(read: Callable[[SourceStatus], float | None]) -> Samples:
        return [
            ([chain.name, one.name, str(one.version)], read(one))
            for chain in chains
            for one in chain.sources
            if one.state != "retired"
        ]

    for name, text, samples in (
        (
            "covered_block",
            "The last block that the contract's backfill has read.",
            each(lambda one: one.covered_to),
        ),
        (
            "covered_ratio",
            "How much of the final blocks is there of the contract, 0 to 1.",
            each(lambda one: one.percent / 100),
        ),
        (
            "joined",
            "1 once the contract's history is there and it is followed with the chain.",
            each(lambda one: float(one.state == "joined")),
        ),
        (
            "rows_estimate",
            "Rows of the contract's tables, as Postgres estimates them.",
            each(lambda one: one.rows_estimate),
        ),
    ):
        labels = ["chain", "contract", "version"]
        yield gauge(f"landbridge_chain_contract_{name}", text, samples, labels)


def _audits(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    def each(read: Callable[[AuditStatus], float | None]) -> Samples:
        return [([chain.name], read(chain.audit)) for chain in chains]

    for name, text, samples in (
        (
            "differences",
            "Open differences: ranges whose tables differ from the chain by two readings.",
            each(lambda one: one.open),
        ),
        (
            "age_seconds",
            "Seconds since a range was last audited.",
            each(lambda one: one.age_s),
        ),
        (
            "ratio",
            "How much of the final blocks of the contracts was audited at least once, 0 to 1.",
            each(lambda one: one.percent / 100),
        ),
        (
            "blocks_per_hour",
            "Most blocks that are audited in an hour; 0 if none are.",
            each(lambda one: one.blocks_per_hour),
        ),
    ):
        yield gauge(f"landbridge_chain_audit_{name}", text, samples, ["chain"])
    audits = [(chain.name, chain.audit) for chain in chains]
    for name, text, counts in (
        (
            "ranges",
            "Ranges that were audited, by what was found.",
            [(chain, audit.ranges) for chain, audit in audits],
        ),
        ("blocks", "Blocks of these ranges.", [(chain, audit.blocks) for chain, audit in audits]),
    ):
        yield gauge(
            f"landbridge_chain_audit_{name}",
            text,
            [
                ([chain, outcome], counted.get(outcome, 0))
                for chain, counted in counts
                for outcome in get_args(Outcome)
            ],
            ["chain", "outcome"],
        )


def _providers(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    labels = ["chain", "provider"]

    def each(read: Callable[[ProviderStatus], float | None]) -> Samples:
        return [([chain.name, one.name], read(one)) for chain in chains for one in chain.providers]

    for name, text, samples in (
        (
            "healthy",
            "1 if the provider can be used and is not behind the others.",
            each(lambda one: float(one.healthy)),
        ),
        ("score", "What is thought of it: 1 is best, 0 worst.", each(lambda one: one.score)),
        (
            "latency_seconds",
            "How long it takes to answer, newer answers weighing more.",
            each(lambda one: None if one.latency_ms is None else one.latency_ms / 1000),
        ),
        (
            "head_block",
            "The newest block that it told of.",
            each(lambda one: one.head_number),
        ),
        (
            "finalized_block",
            "The newest block that it called final.",
            each(lambda one: one.finalized_number),
        ),
        (
            "max_blocks",
            "Most blocks of one eth_getLogs, as set or learnt; no sample where there is no limit.",
            each(lambda one: one.max_blocks),
        ),
        (
            "requests_per_second",
            "The rate that is kept now; no sample where there is none.",
            each(lambda one: one.requests_per_s),
        ),
    ):
        yield gauge(f"landbridge_chain_provider_{name}", text, samples, labels)
    for name, text, samples in (
        ("requests", "Calls sent to it.", each(lambda one: one.requests_total)),
        ("bytes", "Bytes of its answers.", each(lambda one: one.bytes_total)),
        ("failures", "Calls that it failed.", each(lambda one: one.failures)),
    ):
        yield counter(f"landbridge_chain_provider_{name}", text, samples, labels)


def _heads(chains: Sequence[ChainStatus]) -> Iterator[Metric]:
    def each(read: Callable[[HeadsStatus], float | None]) -> Samples:
        return [([chain.name], read(chain.heads)) for chain in chains if chain.heads is not None]

    for name, text, samples in (
        (
            "connected",
            "1 while new heads are listened to by WebSocket.",
            each(lambda one: float(one.connected)),
        ),
        (
            "mute",
            "1 if the WebSocket is open and no head came for three block times.",
            each(lambda one: float(one.mute)),
        ),
        (
            "last_age_seconds",
            "Seconds since the last head came by WebSocket.",
            each(lambda one: one.last_head_age_s),
        ),
    ):
        yield gauge(f"landbridge_chain_heads_{name}", text, samples, ["chain"])
    for name, text, samples in (
        ("received", "Heads that came by WebSocket.", each(lambda one: one.heads_total)),
        ("reconnects", "Times that it was connected anew.", each(lambda one: one.reconnects)),
    ):
        yield counter(f"landbridge_chain_heads_{name}", text, samples, ["chain"])
