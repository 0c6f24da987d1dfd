"""Brings tables and sources in line with the configuration: what ``landbridge migrate`` does as their owner.

A contract whose definition is new or has changed becomes a new version with tables of its own, beside those
that are there; nothing that is stored is rewritten. The daemon, which owns no table, only checks.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from indexer import balances, ddl, transactions
from indexer.contract import Contract
from indexer.database import Connection, reachable
from indexer.errors import NameTaken, SourcesDiffer
from indexer.names import FINAL_SUFFIX, HISTORY_SUFFIX
from indexer.table import MAX_VERSIONS, Table, event_table, versioned

# Several daemons may migrate at once; any constant will do that nobody else locks.
LOCK: Final = 0x6C616E_646576

NEWEST = """
    SELECT name, version, chain_id, fingerprint, wanted, joined_seq, retired_seq FROM chain.source s
    WHERE version = (SELECT max(version) FROM chain.source o WHERE o.name = s.name)"""
REUSABLE = """
    SELECT version FROM chain.source
    WHERE name = $1 AND chain_id = $2 AND fingerprint = $3 AND retired_seq IS NULL ORDER BY version DESC LIMIT 1"""
WANT = (
    "UPDATE chain.source SET wanted = (version = $2) WHERE name = $1 AND wanted <> (version = $2)"
)
# A daemon that runs already, with settings from before, is to trust no more than is wanted from now on.
VERIFY = "UPDATE chain.source SET verify = $3 WHERE name = $1 AND version = $2 AND verify <> $3"
UNWANT = "UPDATE chain.source SET wanted = false WHERE wanted AND name <> ALL ($1::text[]) RETURNING name"
INSERT = """
    INSERT INTO chain.source (chain_id, name, version, fingerprint, definition, tables, partition_blocks, view_sql,
                              index_sql, start_block, evidence, verify, indexed_at, published_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
            CASE WHEN $9 = '' THEN clock_timestamp() END, CASE WHEN $3 = 1 THEN clock_timestamp() END)"""
WANTED = "SELECT name, fingerprint FROM chain.source WHERE chain_id = $1 AND wanted"


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a contract: ``version`` is followed from now on; ``made`` tells whether it is new."""

    name: str
    version: int
    made: bool


def tables_of(contract: Contract) -> tuple[Table, ...]:
    """Every table that a contract fills, under the names of its first version."""
    names = contract.options.index
    indexed = None if "*" in names else frozenset(names)
    extra = transactions.tables(contract)
    if contract.options.balances:
        extra.append(balances.changes_table(contract))
    return (*(event_table(event, indexed) for event in contract.events), *extra)


async def register(connection: Connection, contracts: Sequence[Contract]) -> list[Registered]:
    """Make what is missing, and say which sources are wanted; run as the owner, any number of times.

    Raises :class:`NameTaken` if two contracts need one table.
    """
    _require_distinct(contracts)
    async with reachable(), connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        newest = {row["name"]: row for row in await connection.fetch(NEWEST)}
        done = [await _register(connection, one, newest.get(one.name)) for one in contracts]
        await connection.fetch(UNWANT, [contract.name for contract in contracts])
    return done


async def check(connection: Connection, chain_id: int, contracts: Sequence[Contract]) -> None:
    """Raises :class:`SourcesDiffer` unless the database wants just what the configuration says."""
    async with reachable():
        rows = await connection.fetch(WANTED, chain_id)
    stored = {row["name"]: row["fingerprint"] for row in rows}
    wanted = {contract.name: contract.fingerprint for contract in contracts}
    odd = sorted(name for name in {*stored, *wanted} if stored.get(name) != wanted.get(name))
    if odd:
        raise SourcesDiffer(chain_id=chain_id, names=", ".join(odd))


def _require_distinct(contracts: Sequence[Contract]) -> None:
    taken: dict[str, str] = {}
    for contract in contracts:
        for name in _names_of(contract):
            if name in taken:
                raise NameTaken(table=name, first=taken[name], second=contract.name)
            taken[name] = contract.name


def _names_of(contract: Contract) -> list[str]:
    """Of every table and view."""
    suffixes = ("", FINAL_SUFFIX, HISTORY_SUFFIX)
    names = [table.name + suffix for table in tables_of(contract) for suffix in suffixes]
    return names + (balances.view_names(contract) if contract.options.balances else [])


async def _register(
    connection: Connection, contract: Contract, newest: asyncpg.Record | None
) -> Registered:
    version = await connection.fetchval(
        REUSABLE, contract.name, contract.chain_id, contract.fingerprint
    )
    made = version is None
    if version is None:
        version = 1 if newest is None else newest["version"] + 1
        if version > MAX_VERSIONS:
            raise NameTaken(
                table=contract.name, first=f"{MAX_VERSIONS} versions", second=contract.name
            )
        await make(connection, contract, version)
    await connection.execute(VERIFY, contract.name, version, contract.options.verify)
    await connection.execute(WANT, contract.name, version)
    return Registered(contract.name, version, made)


async def make(connection: Connection, contract: Contract, version: int) -> None:
    """Make the tables of a version, and its source, which is wanted."""
    models = tables_of(contract)
    names = [versioned(model.name, version) for model in models]
    partition_blocks = contract.options.partition_blocks
    view_sql = "".join(
        ddl.views(model, name, contract.chain_id, (contract.name, version))
        for model, name in zip(models, names, strict=True)
    )
    if contract.options.balances:
        view_sql = balances.drop_views(contract) + view_sql + balances.views(contract)
    for model, name in zip(models, names, strict=True):
        await connection.execute(
            ddl.table(
                model,
                name,
                contract.chain_id,
                partitioned=partition_blocks is not None,
                evidence=contract.options.raw,
            )
        )
    await connection.execute(
        INSERT,
        contract.chain_id,
        contract.name,
        version,
        contract.fingerprint,
        json.dumps(contract.definition),
        names,
        partition_blocks,
        view_sql,
        "".join(ddl.indexes(model, name) for model, name in zip(models, names, strict=True)),
        contract.start_block,
        contract.options.raw,
        contract.options.verify,
    )
    if version == 1:
        # Empty until it has joined. A later version's views take their place only then.
        await connection.execute(view_sql)
