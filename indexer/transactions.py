"""The transactions and receipts of a contract's logs, where its options ask for them.

They are read block by block, since a filter for logs does not give them; a block whose logs are nobody's
costs nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from indexer.batch import together
from indexer.contract import Contract
from indexer.errors import BlockVanished, LogsInconsistent
from indexer.hexadecimal import from_data, from_quantity
from indexer.rows import NULL, Rows, TableName
from indexer.rpc import Rpc
from indexer.source import Source
from indexer.table import (
    ADDRESS_LENGTH,
    BLOCK,
    CANONICAL,
    HASH_LENGTH,
    NOT_NEGATIVE,
    Table,
    TableColumn,
    versioned,
)
from indexer.wire import Receipt, Transaction

FRAME: Final = (
    *BLOCK,
    TableColumn("tx_hash", "bytea", HASH_LENGTH, "32 bytes"),
    TableColumn("tx_index", "integer", NOT_NEGATIVE, "position in the block, from 0"),
    CANONICAL,
)
STATUS: Final = TableColumn(
    "status", "smallint", "", "1 success, 0 reverted; null before Byzantium", nullable=True
)
TRANSACTION: Final = (
    *FRAME,
    TableColumn("from", "bytea", ADDRESS_LENGTH, "the sender"),
    TableColumn("to", "bytea", ADDRESS_LENGTH, "null where it creates a contract", nullable=True),
    TableColumn("value", "numeric(78,0)", NOT_NEGATIVE, "wei"),
    TableColumn("gas", "numeric(78,0)", NOT_NEGATIVE, "limit, in units of gas"),
    TableColumn("gas_price", "numeric(78,0)", NOT_NEGATIVE, "wei per unit of gas", nullable=True),
    TableColumn("nonce", "numeric(78,0)", NOT_NEGATIVE, "the sender's transactions before it"),
    TableColumn("type", "smallint", NOT_NEGATIVE, "as in EIP-2718; 0 is a legacy one"),
    TableColumn("input", "bytea", comment="its data"),
    STATUS,
)
RECEIPT: Final = (
    *FRAME,
    STATUS,
    TableColumn("gas_used", "numeric(78,0)", NOT_NEGATIVE, "units of gas"),
    TableColumn(
        "cumulative_gas_used",
        "numeric(78,0)",
        NOT_NEGATIVE,
        "units of gas, of the block up to and with it",
    ),
    TableColumn(
        "effective_gas_price", "numeric(78,0)", NOT_NEGATIVE, "wei per unit of gas", nullable=True
    ),
    TableColumn(
        "contract_address", "bytea", ADDRESS_LENGTH, "of the contract it created", nullable=True
    ),
)


def tables(contract: Contract) -> list[Table]:
    """What the options ask for."""
    key = ("block_number", "tx_index")
    found = []
    if contract.options.transactions:
        comment = f"transactions that made events of {contract.name}"
        found.append(Table(f"{contract.name}_transaction", TRANSACTION, key, comment))
    if contract.options.receipts:
        comment = f"receipts of transactions that made events of {contract.name}"
        found.append(Table(f"{contract.name}_receipt", RECEIPT, key, comment))
    return found


async def add(rpc: Rpc, sources: Sequence[Source], rows: Rows, times: Mapping[str, int]) -> None:
    """Add the transactions and receipts of ``rows``' logs to them. Raises Retryable errors.

    ``times`` are seconds by the text of a block's hash.
    """
    by_id = {source.source_id: source for source in sources}
    blocks: dict[str, list[tuple[Source, set[str]]]] = {}
    for (source_id, block_hash), hashes in rows.touched.items():
        blocks.setdefault(block_hash, []).append((by_id[source_id], set(hashes)))

    async def of(block_hash: str) -> None:
        await _add_block(rpc, block_hash, blocks[block_hash], rows, times)

    await together(of, blocks)


async def _add_block(
    rpc: Rpc,
    block_hash: str,
    wanted: Sequence[tuple[Source, set[str]]],
    rows: Rows,
    times: Mapping[str, int],
) -> None:
    key = from_data(block_hash, 32)
    block = await rpc.block_with_transactions(key)
    receipts = await rpc.receipts(key)
    if block is None or receipts is None:
        raise BlockVanished(block=block_hash)
    transactions = {one.hash: one for one in block.transactions}
    by_hash = {receipt.transaction_hash: receipt for receipt in receipts}
    number = from_quantity(block.number, 60)
    place = f"{number}\t\\\\x{block_hash[2:]}\t{times.get(block_hash) or from_quantity(block.timestamp, 60)}"
    for source, hashes in wanted:
        for tx_hash in hashes:
            if tx_hash not in transactions or tx_hash not in by_hash:
                reason = f"transaction {tx_hash} made a log and is not among the block's"
                raise LogsInconsistent(number=number, hash=block_hash, reason=reason)
            pair = transactions[tx_hash], by_hash[tx_hash]
            _add(source, place, pair, rows)


def _add(source: Source, place: str, pair: tuple[Transaction, Receipt], rows: Rows) -> None:
    transaction, receipt = pair
    frame = f"{place}\t\\\\x{transaction.hash[2:]}\t{from_quantity(transaction.transaction_index, 60)}\tt"
    status = NULL if receipt.status is None else str(from_quantity(receipt.status, 4))
    options = source.contract.options
    if options.transactions:
        table = _table(source, "transaction", TRANSACTION)
        rows.of(table).append(
            f"{frame}\t\\\\x{transaction.sender[2:]}\t{_bytes(transaction.recipient)}\t"
            f"{from_quantity(transaction.value)}\t{from_quantity(transaction.gas)}\t"
            f"{_number(transaction.gas_price)}\t{from_quantity(transaction.nonce)}\t"
            f"{from_quantity(transaction.type or '0x0', 15)}\t\\\\x{transaction.input[2:]}\t{status}\n"
        )
    if options.receipts:
        table = _table(source, "receipt", RECEIPT)
        rows.of(table).append(
            f"{frame}\t{status}\t{from_quantity(receipt.gas_used)}\t"
            f"{from_quantity(receipt.cumulative_gas_used)}\t{_number(receipt.effective_gas_price)}\t"
            f"{_bytes(receipt.contract_address)}\n"
        )


def _table(source: Source, kind: str, columns: Sequence[TableColumn]) -> TableName:
    name = versioned(f"{source.name}_{kind}", source.version)
    return TableName("event", name, tuple(column.name for column in columns))


def _bytes(text: str | None) -> str:
    return NULL if text is None else f"\\\\x{text[2:]}"


def _number(text: str | None) -> str:
    return NULL if text is None else str(from_quantity(text))
