"""Tables and views of a source, as SQL. Pure: the same source gives the same text."""

from typing import Final

from indexer.keccak import keccak
from indexer.names import FINAL_SUFFIX, HISTORY_SUFFIX
from indexer.table import CANONICAL, Table, TableColumn

CHAIN_ID: Final = "of the chain, as in EIP-155"
FINALITY: Final = "pending, safe or final; only what is final can no longer be taken back"


def table(
    model: Table, physical: str, chain_id: int, *, partitioned: bool, evidence: bool = False
) -> str:
    """The table, the two indexes that hold each row once, its guards and its grant. ``evidence``: not even what
    was orphaned is ever removed from it."""
    name = f'event."{physical}"'
    columns = ",\n    ".join(_column(column) for column in model.columns)
    key = ", ".join(_quoted(column) for column in model.key)
    division = " PARTITION BY RANGE (block_number)" if partitioned else ""
    by_block = "" if model.key[0] == "block_number" else _by_block(name)
    kept = "ops.refuse_change()" if evidence else f"chain.guard_orphan({chain_id})"
    return f"""
CREATE TABLE {name} (
    {columns}
){division};
COMMENT ON TABLE {name} IS {_text(model.comment)};
{_comments(name, model)}
CREATE UNIQUE INDEX ON {name} ({key}) WHERE canonical;
CREATE UNIQUE INDEX ON {name} ({key}, block_hash) WHERE NOT canonical;
{by_block}CREATE TRIGGER finality BEFORE UPDATE ON {name}
    FOR EACH ROW EXECUTE FUNCTION chain.refuse_final_change({chain_id});
CREATE TRIGGER kept BEFORE DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION {kept};
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON {name}
    FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON {name}
    FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence('follow:{chain_id}');
GRANT SELECT, INSERT, UPDATE ON {name} TO landbridge_daemon;
"""


def indexes(model: Table, physical: str) -> str:
    """What is built once the backfill is done: each index costs the backfill more than the rows do."""
    return "".join(
        f'CREATE INDEX IF NOT EXISTS "{_index_name(physical, columns)}" '
        f'ON event."{physical}" ({", ".join(map(_quoted, columns))});\n'
        for columns in model.indexes
    )


def views(model: Table, physical: str, chain_id: int, source: tuple[str, int]) -> str:
    """The views of a table, which show its rows once ``source`` (name and version) has joined."""
    name, version = source
    shown = [_quoted(column.name) for column in model.columns if column.name != "canonical"]
    columns = ", ".join([f"{chain_id}::bigint AS chain_id", *shown])
    joined = f"(SELECT joined_seq IS NOT NULL FROM chain.source WHERE name = '{name}' AND version = {version})"
    final = f"(SELECT finalized_number FROM chain.cursor WHERE chain_id = {chain_id})"
    safe = f"(SELECT safe_number FROM chain.cursor WHERE chain_id = {chain_id})"
    rows = f'FROM event."{physical}"'
    finality = f"""CASE WHEN block_number <= {final} THEN 'final'
             WHEN block_number <= {safe} THEN 'safe' ELSE 'pending' END AS finality"""
    final_name, history_name = model.name + FINAL_SUFFIX, model.name + HISTORY_SUFFIX
    return f"""
DROP VIEW IF EXISTS v1."{model.name}", v1."{final_name}", v1."{history_name}";
CREATE VIEW v1."{model.name}" AS
    SELECT {columns}, {finality}
    {rows} WHERE canonical AND {joined};
CREATE VIEW v1."{final_name}" AS
    SELECT {columns}
    {rows} WHERE canonical AND block_number <= {final} AND {joined};
CREATE VIEW v1."{history_name}" AS
    SELECT {columns}, canonical {rows} WHERE canonical AND {joined}
    UNION ALL SELECT {columns}, canonical {rows} WHERE NOT canonical AND {joined};
COMMENT ON VIEW v1."{model.name}" IS {_text(model.comment + ": canonical; finality is pending, safe or final")};
COMMENT ON VIEW v1."{final_name}" IS {_text(model.comment + ": final, never taken back")};
COMMENT ON VIEW v1."{history_name}" IS {_text(model.comment + ": orphaned rows too, for readers of the feed")};
{_view_comments(model.name, model, "finality", FINALITY)}
{_view_comments(final_name, model)}
{_view_comments(history_name, model, "canonical", CANONICAL.comment)}
GRANT SELECT ON v1."{model.name}", v1."{final_name}", v1."{history_name}"
    TO landbridge_reader, landbridge_daemon;
"""


def _index_name(physical: str, columns: tuple[str, ...]) -> str:
    """Short enough whatever the table is called, and the same when it is built again after a crash."""
    return "ix_" + keccak(" ".join((physical, *columns)).encode()).hex()[:24]


def _by_block(name: str) -> str:
    return (
        f"CREATE INDEX ON {name} (block_number);\n"
        f"CREATE INDEX ON {name} (block_number) WHERE NOT canonical;\n"
    )


def _comments(name: str, model: Table) -> str:
    return "\n".join(
        _comment(name, column.name, column.comment) for column in model.columns if column.comment
    )


def _view_comments(view: str, model: Table, extra: str | None = None, comment: str = "") -> str:
    """Of every column that a view shows; ``extra`` is one that not all views have."""
    told = {one.name: one.comment for one in model.columns if one != CANONICAL and one.comment}
    told |= {"chain_id": CHAIN_ID} if extra is None else {"chain_id": CHAIN_ID, extra: comment}
    name = f'v1."{view}"'
    return "\n".join(_comment(name, column, text) for column, text in told.items())


def _comment(name: str, column: str, text: str) -> str:
    return f"COMMENT ON COLUMN {name}.{_quoted(column)} IS {_text(text)};"


def _column(column: TableColumn) -> str:
    name = _quoted(column.name)
    check = f" CHECK ({column.check.format(name)})" if column.check else ""
    return f"{name} {column.pg_type}{'' if column.nullable else ' NOT NULL'}{check}"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
