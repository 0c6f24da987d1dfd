"""Where the index stands: of each chain how far it is followed, and of each of its sources how much is covered.

No table is read as a whole: rows are Postgres's own estimate, which comes some seconds late, so that few rows are
counted; and what is covered stands in the last row of ``chain.coverage``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import asyncpg
from pydantic import BaseModel, ConfigDict

from daemon.audit_status import AuditStatus, read_audit
from daemon.facts import NodeFacts, ProcessFacts
from daemon.health import ChainFacts, ChainState, judge_chain, judge_follower
from daemon.settings import Settings
from indexer.database import Connection
from indexer.follower import role

CURSOR = """
    SELECT start_block, head_number AS head, node_head_number AS node_head, safe_number AS safe,
           finalized_number AS finalized, coalesce(feed_seq, 0) AS feed_seq,
           CASE WHEN node_head_number IS NOT NULL THEN greatest(
               node_head_number - coalesce(head_number, start_block - 1), 0) END AS lag_blocks,
           CASE WHEN head_number IS NOT NULL THEN greatest(
               extract(epoch FROM $2::timestamptz)::float8 - head_timestamp_s, 0) END AS lag_s,
           (SELECT count(*) FROM chain.reorg WHERE chain_id = $1) AS reorgs,
           EXISTS (SELECT FROM ops.lease WHERE role = $3 AND expires_at > $2) AS followed
    FROM (SELECT $1::bigint AS chain_id) AS wanted LEFT JOIN chain.cursor USING (chain_id)"""
KEPT = """
    SELECT coalesce(feed_from, 1) AS feed_from, coalesce(feed_from, 1) - 1 AS pruned_feed_rows,
           coalesce(orphan_rows, 0) AS pruned_orphan_rows, n.seq AS snapshot_seq,
           greatest(extract(epoch FROM $2::timestamptz - n.made_at)::float8, 0) AS snapshot_age_s
    FROM (SELECT $1::bigint AS chain_id) AS wanted LEFT JOIN chain.pruned USING (chain_id)
    LEFT JOIN LATERAL (SELECT seq, made_at FROM chain.snapshot s WHERE s.chain_id = wanted.chain_id
                       ORDER BY seq DESC LIMIT 1) AS n ON true"""
CONSUMERS = "SELECT name, seq FROM chain.consumer WHERE chain_id = $1 ORDER BY name"
SOURCES = """
    SELECT s.source_id, s.name, s.version, s.tables, s.start_block, s.wanted, s.joined_seq IS NOT NULL AS joined,
           s.retired_seq IS NOT NULL AS retired, s.dropped_at IS NOT NULL AS dropped,
           s.published_at IS NOT NULL AS published,
           (SELECT to_block FROM chain.coverage c WHERE c.source_id = s.source_id
            ORDER BY from_block DESC LIMIT 1) AS covered_to,
           (SELECT coalesce(sum(greatest(k.reltuples::bigint, pg_stat_get_live_tuples(k.oid), 0)), 0)::bigint
            FROM unnest(s.tables) AS t (name)
            CROSS JOIN LATERAL (SELECT to_regclass(format('event.%I', t.name))::oid AS parent) AS p
            CROSS JOIN LATERAL (SELECT parent AS oid
                UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = parent) AS part
            JOIN pg_class k ON k.oid = part.oid AND k.relkind = 'r') AS rows_estimate
    FROM chain.source s WHERE s.chain_id = $1 ORDER BY s.name, s.version"""

COUNTED_ROWS: Final = 1000
COUNT: Final = """
    SELECT {source_id}::bigint AS source_id, count(*) AS number
    FROM (SELECT FROM event."{table}" LIMIT {limit}) AS few"""

SourceState = Literal["waiting", "backfilling", "joined", "retired"]


class Part(BaseModel):
    """A part of a status."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class ConsumerStatus(Part):
    """How far a consumer has come in the feed; ``lag`` counts rows."""

    seq: int
    lag: int


class GroupStatus(Part):
    """A consumer group of a stream: rows that it was not given, and entries that it has not acknowledged."""

    rows_behind: int
    pending: int


class StreamStatus(Part):
    """A chain's stream in Redis: ``length`` in entries, ``rows_behind`` of the feed."""

    length: int
    rows_behind: int
    groups: dict[str, GroupStatus]


class SourceStatus(Part):
    """One version of a contract. ``rows_estimate`` is Postgres's, of all its tables, orphaned rows included;
    ``percent`` is of the blocks that are final now; ``published``: its views in ``v1`` have been made."""

    name: str
    version: int
    state: SourceState
    start_block: int | None
    covered_to: int | None
    percent: float
    rows_estimate: int
    published: bool


class RetentionStatus(Part):
    """Where the feed begins and how many rows were removed. ``keep_days`` is None where everything is kept; the
    snapshot is the newest, None before the first."""

    keep_days: int | None
    feed_from: int
    snapshot_seq: int | None
    snapshot_age_s: float | None
    pruned_feed_rows: int
    pruned_orphan_rows: int


class ProviderStatus(Part):
    """How a provider fares in the process that answers. None of its URL is told."""

    name: str
    operator: str
    healthy: bool
    score: float
    latency_ms: float | None
    head_number: int | None
    finalized_number: int | None
    failures: int
    max_blocks: int | None
    requests_per_s: float | None
    batch_calls: int
    missing_methods: tuple[str, ...]
    requests_total: int
    bytes_total: int
    last_failure: str | None


class HeadsStatus(Part):
    """New heads by WebSocket, in the process that answers."""

    connected: bool
    mute: bool
    provider: str | None
    last_head_age_s: float | None
    block_time_s: float | None
    heads_total: int
    reconnects: int
    last_failure: str | None


class ChainStatus(Part):
    """What of a chain is stored, None where nothing has been read yet, and what its finality rests on.

    ``error`` is what keeps its follower from going on, in the process that answers. ``providers`` and ``heads`` are
    that process's too, and empty where the database alone was asked. ``stream`` is None where that process has no
    Redis, or Redis does not answer.
    """

    name: str
    id: int
    state: ChainState
    synced: bool
    error: str | None
    start_block: int | None
    head: int | None
    node_head: int | None
    safe: int | None
    finalized: int | None
    lag_blocks: int | None
    lag_s: float | None
    reorgs: int
    finality: Literal["tag", "depth"]
    finality_depth_blocks: int | None
    quorum: int
    single_provider: bool
    feed_seq: int
    consumers: dict[str, ConsumerStatus]
    stream: StreamStatus | None
    retention: RetentionStatus
    sources: list[SourceStatus]
    audit: AuditStatus
    providers: list[ProviderStatus]
    heads: HeadsStatus | None


async def read_chains(
    connection: Connection, settings: Settings, at: datetime
) -> list[ChainStatus]:
    """Every chain of the settings, in their order; ``at`` is the database's clock."""
    return [await _chain(connection, settings, name, at) for name in settings.chains]


async def read_sources(
    connection: Connection, chain_id: int, finalized: int | None
) -> list[SourceStatus]:
    """Every version of every contract of a chain, those that have ended included."""
    rows = await connection.fetch(SOURCES, chain_id)
    counted = await _count_few(connection, rows)
    return [_source(row, finalized, counted.get(row["source_id"], 0)) for row in rows]


async def _count_few(connection: Connection, rows: Sequence[asyncpg.Record]) -> dict[int, int]:
    """The rows of sources that have few by Postgres's estimate, as far as there are no more."""
    questions = [
        COUNT.format(source_id=row["source_id"], table=table, limit=COUNTED_ROWS)
        for row in rows
        if row["rows_estimate"] < COUNTED_ROWS and not row["dropped"]
        for table in row["tables"]
    ]
    found: dict[int, int] = {}
    for one in await connection.fetch(" UNION ALL ".join(questions)) if questions else ():
        found[one["source_id"]] = found.get(one["source_id"], 0) + one["number"]
    return found


def as_seen_by(chain: ChainStatus, process: ProcessFacts) -> ChainStatus:
    """With what a process knows of the chain and the database does not."""
    loops = (loop for loop in process.loops if loop.name == f"follower:{chain.name}")
    follower = next(loops, None)
    state = judge_follower(follower) or chain.state
    nodes = process.nodes.get(chain.name, NodeFacts())
    return chain.model_copy(
        update={
            "state": state,
            "synced": state is ChainState.SYNCED,
            "error": None if follower is None else follower.last_error,
            "providers": [ProviderStatus.model_validate(one) for one in nodes.providers],
            "heads": None if nodes.heads is None else HeadsStatus.model_validate(nodes.heads),
        }
    )


async def _chain(
    connection: Connection, settings: Settings, name: str, at: datetime
) -> ChainStatus:
    chain = settings.chains[name]
    row = await connection.fetchrow(CURSOR, chain.id, at, role(chain.id))
    kept = await connection.fetchrow(KEPT, chain.id, at)
    if row is None or kept is None:
        raise LookupError("a left join of one row always has one row")
    consumers = await connection.fetch(CONSUMERS, chain.id)
    sources = await read_sources(connection, chain.id, row["finalized"])
    facts = ChainFacts(
        name=name,
        role=role(chain.id),
        lag_blocks=None if row["head"] is None else row["lag_blocks"] or 0,
        backfilling=sum(one.state in ("waiting", "backfilling") for one in sources),
    )
    state = judge_chain(facts, followed=row["followed"])
    return ChainStatus(
        name=name,
        id=chain.id,
        state=state,
        synced=state is ChainState.SYNCED,
        error=None,
        **{key: value for key, value in row.items() if key != "followed"},
        finality="tag" if chain.finality_depth_blocks is None else "depth",
        finality_depth_blocks=chain.finality_depth_blocks,
        quorum=settings.quorum(name),
        single_provider=chain.single_provider,
        consumers={
            one["name"]: ConsumerStatus(seq=one["seq"], lag=row["feed_seq"] - one["seq"])
            for one in consumers
        },
        stream=None,
        retention=RetentionStatus(keep_days=chain.keep_days, **kept),
        sources=sources,
        audit=await read_audit(connection, chain.id, chain.audit_blocks_per_hour, at),
        providers=[],
        heads=None,
    )


def _source(row: asyncpg.Record, finalized: int | None, counted: int) -> SourceStatus:
    return SourceStatus(
        name=row["name"],
        version=row["version"],
        state=source_state(row),
        start_block=row["start_block"],
        covered_to=row["covered_to"],
        percent=100.0
        if row["joined"]
        else percent(row["start_block"], row["covered_to"], finalized),
        rows_estimate=max(row["rows_estimate"], counted),
        published=row["published"],
    )


def source_state(row: Any) -> SourceState:
    """A version that was replaced before it ever joined has ended too."""
    if row["retired"] or (not row["wanted"] and not row["joined"]):
        return "retired"
    if row["joined"]:
        return "joined"
    return "waiting" if row["covered_to"] is None else "backfilling"


def percent(start: int | None, covered_to: int | None, finalized: int | None) -> float:
    """How much of the final blocks is covered, rounded down to a tenth: 100 is only what is complete."""
    if start is None or finalized is None:
        return 0.0
    total = finalized - start + 1
    if total <= 0:
        return 100.0
    done = 0 if covered_to is None else min(covered_to, finalized) - start + 1
    return done * 1000 // total / 10
