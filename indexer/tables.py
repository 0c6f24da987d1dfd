"""Making the tables of a contract's events, and checking that they are there. Written by their owner
(`landbridge migrate`), filled by the daemon, which owns none of them."""

from indexer import ddl
from indexer.abi import Abi, Event, events
from indexer.database import Connection, reachable
from indexer.errors import TablesDiffer

# Several daemons may migrate at once; any constant will do that nobody else locks.
LOCK = 0x6C616E_646576

COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


async def create(connection: Connection, contract: str, abi: Abi) -> None:
    """Create what is missing of a contract's tables and views; run as their owner, any number of times.

    Raises :class:`AbiUnsupported`, and :class:`TablesDiffer` if a table was made from another ABI.
    """
    wanted = events(contract, abi)
    async with reachable(), connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        for event in wanted:
            if not await _exists(connection, contract, event):
                await connection.execute(ddl.table(event))
            await connection.execute(ddl.views(event))


async def check(connection: Connection, contract: str, wanted: tuple[Event, ...]) -> None:
    """Raises :class:`TablesDiffer` unless every table is there and fits."""
    async with reachable():
        for event in wanted:
            if not await _exists(connection, contract, event):
                raise TablesDiffer(contract=contract, reason=f"event.{event.table} does not exist")


async def _exists(connection: Connection, contract: str, event: Event) -> bool:
    rows = await connection.fetch(COLUMNS, f'event."{event.table}"')
    found = {row["attname"]: row["format_type"] for row in rows}
    if not found:
        return False
    wanted = ddl.column_types(event)
    if list(found.items()) != list(wanted.items()):
        odd = sorted(set(found.items()) ^ set(wanted.items())) or "their order"
        reason = f"event.{event.table} has other columns than {event.signature} needs: {odd}"
        raise TablesDiffer(contract=contract, reason=reason)
    return True
