"""The tables and views of an event, as SQL. Pure: the same event gives the same text."""

from typing import Final

from indexer.abi import FINAL_SUFFIX, Column, Event

# Name, type, check. In this order they stand before the event's own columns.
FRAME: Final = (
    ("chain_id", "bigint", ""),
    ("block_hash", "bytea", "CHECK (octet_length(block_hash) = 32)"),
    ("block_number", "bigint", "CHECK (block_number >= 0)"),
    ("block_timestamp_s", "bigint", "CHECK (block_timestamp_s >= 0)"),
    ("log_index", "bigint", "CHECK (log_index >= 0)"),
    ("tx_hash", "bytea", "CHECK (octet_length(tx_hash) = 32)"),
    ("tx_index", "bigint", "CHECK (tx_index >= 0)"),
    ("address", "bytea", "CHECK (octet_length(address) = 20)"),
    ("ordinal", "bigint", "CHECK (ordinal >= 0)"),
    ("canonical", "boolean", ""),
)
FRAME_NAMES: Final = tuple(name for name, _, _ in FRAME)

FINALITY: Final = """CASE WHEN e.block_number <= c.finalized_number THEN 'final'
             WHEN e.block_number <= c.safe_number THEN 'safe' ELSE 'pending' END"""


def column_types(event: Event) -> dict[str, str]:
    """What the table of an event has: types by column, in order."""
    types = {name: pg_type for name, pg_type, _ in FRAME}
    types.update({column.name: column.type.pg_type for column in event.columns})
    return types


def table(event: Event) -> str:
    """The table, its indexes, its guards and its grant."""
    name = f'event."{event.table}"'
    frame = [f"{column} {pg_type} NOT NULL {check}".rstrip() for column, pg_type, check in FRAME]
    columns = ",\n    ".join([*frame, *(_column(column) for column in event.columns)])
    indexes = "\n".join(
        f"CREATE INDEX ON {name} ({_quoted(column.name)});"
        for column in event.columns
        if column.indexed
    )
    return f"""
CREATE TABLE {name} (
    {columns},
    PRIMARY KEY (chain_id, block_hash, log_index)
);
COMMENT ON TABLE {name} IS '{event.signature}';
CREATE INDEX ON {name} (chain_id, block_number);
CREATE UNIQUE INDEX ON {name} (chain_id, tx_hash, address, ordinal) WHERE canonical;
{indexes}
CREATE TRIGGER finality BEFORE UPDATE ON {name}
    FOR EACH ROW EXECUTE FUNCTION chain.refuse_final_change();
CREATE TRIGGER kept BEFORE DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON {name}
    FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON {name}
    FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence('follow');
GRANT SELECT, INSERT, UPDATE ON {name} TO landbridge_daemon;
"""


def views(event: Event) -> str:
    """The two views of an event: canonical rows with their finality, and final rows only."""
    shown = [f"e.{_quoted(name)}" for name in column_types(event) if name != "canonical"]
    columns = ", ".join(shown)
    return f"""
CREATE OR REPLACE VIEW v1."{event.table}" AS
    SELECT {columns},
        {FINALITY} AS finality
    FROM event."{event.table}" e JOIN chain.cursor c USING (chain_id) WHERE e.canonical;
CREATE OR REPLACE VIEW v1."{event.table}{FINAL_SUFFIX}" AS
    SELECT {columns}
    FROM event."{event.table}" e JOIN chain.cursor c USING (chain_id)
    WHERE e.canonical AND e.block_number <= c.finalized_number;
COMMENT ON VIEW v1."{event.table}" IS '{event.signature}: canonical; finality is pending, safe or final';
COMMENT ON VIEW v1."{event.table}{FINAL_SUFFIX}" IS '{event.signature}: final, never taken back';
GRANT SELECT ON v1."{event.table}", v1."{event.table}{FINAL_SUFFIX}"
    TO landbridge_reader, landbridge_daemon;
"""


def _column(column: Column) -> str:
    name = _quoted(column.name)
    declared = f"{name} {column.type.pg_type} NOT NULL"
    if column.type.length_bytes is not None:
        declared += f" CHECK (octet_length({name}) = {column.type.length_bytes})"
    return declared


def _quoted(name: str) -> str:
    return f'"{name}"'
