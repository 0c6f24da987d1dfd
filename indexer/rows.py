"""The rows of chain.* and event.*, written and flagged in bulk. Called inside the writer's transaction."""

from collections.abc import Iterable, Sequence

from indexer.abi import DecodeError
from indexer.block import BlockRef
from indexer.change import FeedEntry
from indexer.contract import Contract
from indexer.database import Connection
from indexer.ddl import FRAME_NAMES
from indexer.record import BlockRecord, Decoded, LogRecord

BLOCK_COLUMNS = ("chain_id", "hash", "number", "parent_hash", "timestamp_s", "canonical")
LOG_COLUMNS = (
    *("chain_id", "block_hash", "log_index", "block_number", "tx_hash", "tx_index", "ordinal"),
    *("address", "topics", "data", "decode_error", "canonical"),
)
FEED_COLUMNS = ("chain_id", "seq", "op", "from_block", "to_block", "block_hash")

ABOVE = """
    SELECT number, hash FROM chain.block
    WHERE chain_id = $1 AND canonical AND number > $2 ORDER BY number DESC"""
KNOWN = "SELECT hash FROM chain.block WHERE chain_id = $1 AND hash = ANY($2::bytea[])"


async def canonical_above(connection: Connection, chain_id: int, number: int) -> list[BlockRef]:
    """Our blocks above a height, newest first."""
    return [BlockRef(*row) for row in await connection.fetch(ABOVE, chain_id, number)]


async def known(
    connection: Connection, chain_id: int, blocks: Sequence[BlockRecord]
) -> frozenset[bytes]:
    """Hashes of those blocks that are stored already: orphans that come back."""
    hashes = [block.header.hash for block in blocks]
    return frozenset(row["hash"] for row in await connection.fetch(KNOWN, chain_id, hashes))


async def flag(
    connection: Connection,
    contracts: Iterable[Contract],
    chain_id: int,
    hashes: Sequence[bytes],
    canonical: bool,
) -> None:
    """Say of stored blocks, with all their logs and events, that they are or are not canonical."""
    tables = [("chain.block", "hash"), ("chain.log", "block_hash")]
    tables += [
        (f'event."{event.table}"', "block_hash")
        for contract in contracts
        for event in contract.events
    ]
    for table, column in tables:
        await connection.execute(
            f"UPDATE {table} SET canonical = $3 "
            f"WHERE chain_id = $1 AND {column} = ANY($2::bytea[]) AND canonical <> $3",
            chain_id,
            hashes,
            canonical,
        )


async def insert_blocks(
    connection: Connection, chain_id: int, blocks: Sequence[BlockRecord]
) -> None:
    """Blocks that were never stored before, as canonical, with their logs and events."""
    headers = (block.header for block in blocks)
    await connection.copy_records_to_table(
        "block",
        schema_name="chain",
        columns=BLOCK_COLUMNS,
        records=[
            (chain_id, header.hash, header.number, header.parent_hash, header.timestamp_s, True)
            for header in headers
        ],
    )
    logs = [_log_row(chain_id, record) for block in blocks for record in block.logs]
    if logs:
        await connection.copy_records_to_table(
            "log", schema_name="chain", columns=LOG_COLUMNS, records=logs
        )
    await _insert_events(connection, chain_id, blocks)


async def insert_feed(
    connection: Connection, chain_id: int, after_seq: int, entries: Sequence[FeedEntry]
) -> None:
    await connection.copy_records_to_table(
        "feed",
        schema_name="chain",
        columns=FEED_COLUMNS,
        records=[
            (chain_id, seq, entry.op, entry.from_block, entry.to_block, entry.block_hash)
            for seq, entry in enumerate(entries, after_seq + 1)
        ],
    )


async def _insert_events(
    connection: Connection, chain_id: int, blocks: Sequence[BlockRecord]
) -> None:
    by_table: dict[str, list[tuple[object, ...]]] = {}
    columns: dict[str, tuple[str, ...]] = {}
    for block in blocks:
        for record in block.logs:
            if isinstance(record.outcome, Decoded):
                event = record.outcome.event
                columns[event.table] = tuple(column.name for column in event.columns)
                frame = _frame(chain_id, block.header.timestamp_s, record)
                by_table.setdefault(event.table, []).append((*frame, *record.outcome.values))
    for table, records in by_table.items():
        await connection.copy_records_to_table(
            table, schema_name="event", columns=(*FRAME_NAMES, *columns[table]), records=records
        )


def _frame(chain_id: int, timestamp_s: int, record: LogRecord) -> tuple[object, ...]:
    """In the order of FRAME_NAMES."""
    log = record.log
    place = (chain_id, log.block_hash, log.block_number, timestamp_s, log.log_index)
    return (*place, log.tx_hash, log.tx_index, log.address, record.ordinal, True)


def _log_row(chain_id: int, record: LogRecord) -> tuple[object, ...]:
    """In the order of LOG_COLUMNS."""
    log = record.log
    error = record.outcome.reason if isinstance(record.outcome, DecodeError) else None
    place = (chain_id, log.block_hash, log.log_index, log.block_number, log.tx_hash, log.tx_index)
    return (*place, record.ordinal, log.address, list(log.topics), log.data, error, True)
