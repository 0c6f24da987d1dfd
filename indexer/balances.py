"""ERC-20 balances and supply, derived from a contract's transfers in the transaction that writes them.

The table ``<contract>_balance_change`` has a row for each holder in each block that changed it, so balances as
of any block are there; a reorg flags them with their block. Arithmetic is done by Postgres, in one statement
for all blocks of a step (``chain.derive_balances``).
"""

from dataclasses import dataclass
from typing import Final

from indexer.abi import Event
from indexer.block import BlockRef
from indexer.contract import Contract
from indexer.database import Connection
from indexer.errors import AbiUnsupported
from indexer.source import Source
from indexer.table import ADDRESS_LENGTH, BLOCK, CANONICAL, Table, TableColumn, versioned

TRANSFER: Final = "Transfer(address,address,uint256)"
CHANGES: Final = "balance_change"
UNIT: Final = "'in the token''s smallest unit'"

DERIVE = "SELECT chain.derive_balances($1, $2, $3, $4, $5, $6, $7)"


@dataclass(frozen=True, slots=True)
class _Columns:
    """What an ABI calls the three inputs of its transfers."""

    sender: str
    recipient: str
    amount: str


def transfer_of(contract: Contract) -> Event:
    """Raises :class:`AbiUnsupported` if the contract emits no ERC-20 transfers."""
    for event in contract.events:
        indexed = [column.indexed for column in event.columns]
        if event.signature == TRANSFER and indexed == [True, True, False]:
            return event
    reason = f"it has no {TRANSFER} of an ERC-20, which balances are made of"
    raise AbiUnsupported(contract=contract.name, reason=reason)


def changes_table(contract: Contract) -> Table:
    """Where the changes of balances are kept."""
    transfer_of(contract)
    return Table(
        name=f"{contract.name}_{CHANGES}",
        columns=(
            *BLOCK,
            TableColumn("address", "bytea", ADDRESS_LENGTH, "the token"),
            TableColumn(
                "holder", "bytea", ADDRESS_LENGTH, "the zero address stands for the supply"
            ),
            TableColumn(
                "balance", "numeric(78,0)", "", "in the token's smallest unit, after the block"
            ),
            CANONICAL,
        ),
        key=("address", "holder", "block_number"),
        comment=f"balances of {contract.name}, a row for each holder in each block that changed it",
    )


async def derive(connection: Connection, source: Source, first: int, last: int) -> None:
    """Write the balances of blocks ``first`` to ``last``, whose transfers were just written."""
    if not source.contract.options.balances:
        return
    event = transfer_of(source.contract)
    columns = _Columns(*(column.name for column in event.columns))
    await connection.execute(
        DERIVE,
        source.table(event),
        columns.sender,
        columns.recipient,
        columns.amount,
        versioned(f"{source.name}_{CHANGES}", source.version),
        first,
        last,
    )


async def derive_missing(connection: Connection, source: Source, block: BlockRef) -> None:
    """The same for one block that came back, unless its balances came back with it."""
    if not source.contract.options.balances:
        return
    changes = versioned(f"{source.name}_{CHANGES}", source.version)
    there = await connection.fetchval(
        f"""SELECT EXISTS (SELECT FROM event."{changes}" WHERE canonical AND block_number = $1)""",
        block.number,
    )
    if not there:
        await derive(connection, source, block.number, block.number)


def view_names(contract: Contract) -> list[str]:
    """Beside those of the changes' table."""
    return [f"{contract.name}_balance", f"{contract.name}_supply"]


def drop_views(contract: Contract) -> str:
    """Before the views that they are made of can be made anew."""
    name = contract.name
    return f"""
DROP FUNCTION IF EXISTS v1."{name}_balance_at"(bigint), v1."{name}_supply_at"(bigint);
DROP VIEW IF EXISTS v1."{name}_balance", v1."{name}_supply";
"""


def views(contract: Contract) -> str:
    """Latest balances and supply, and both as of a block."""
    name, changes = contract.name, f'v1."{contract.name}_{CHANGES}"'
    zero = "decode(repeat('00', 20), 'hex')"
    newest = "ORDER BY address, holder, block_number DESC"
    columns = "chain_id, address, holder, balance, block_number, block_timestamp_s"
    supply = "chain_id, address, -balance AS supply, block_number, block_timestamp_s"
    types = "block_number bigint, block_timestamp_s bigint"
    return f"""
CREATE VIEW v1."{name}_balance" AS
    SELECT DISTINCT ON (address, holder) {columns}, finality FROM {changes} WHERE holder <> {zero} {newest};
CREATE VIEW v1."{name}_supply" AS
    SELECT DISTINCT ON (address) {supply}, finality FROM {changes} WHERE holder = {zero}
    ORDER BY address, block_number DESC;
CREATE FUNCTION v1."{name}_balance_at"(at_block bigint)
RETURNS TABLE (chain_id bigint, address bytea, holder bytea, balance numeric, {types})
LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT DISTINCT ON (c.address, c.holder)
        c.chain_id, c.address, c.holder, c.balance, c.block_number, c.block_timestamp_s
    FROM {changes} c WHERE c.holder <> {zero} AND c.block_number <= at_block
    ORDER BY c.address, c.holder, c.block_number DESC;
END;
CREATE FUNCTION v1."{name}_supply_at"(at_block bigint)
RETURNS TABLE (chain_id bigint, address bytea, supply numeric, {types})
LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT DISTINCT ON (c.address) c.chain_id, c.address, -c.balance, c.block_number, c.block_timestamp_s
    FROM {changes} c WHERE c.holder = {zero} AND c.block_number <= at_block
    ORDER BY c.address, c.block_number DESC;
END;
COMMENT ON VIEW v1."{name}_balance" IS 'balances of {name} now, of every holder that ever had one';
COMMENT ON VIEW v1."{name}_supply" IS 'what was minted of {name} less what was burned, now';
COMMENT ON COLUMN v1."{name}_balance".balance IS {UNIT};
COMMENT ON COLUMN v1."{name}_balance".block_number IS 'of its last change';
COMMENT ON COLUMN v1."{name}_supply".supply IS {UNIT};
COMMENT ON COLUMN v1."{name}_supply".block_number IS 'of its last change';
GRANT SELECT ON v1."{name}_balance", v1."{name}_supply" TO landbridge_reader, landbridge_daemon;
"""
