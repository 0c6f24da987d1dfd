"""``landbridge index``: what is indexed, whether it is what the chain says, and reading it again."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import asyncpg
import click
from rich.console import Console

from daemon import settings as settings_module
from daemon.commands.acknowledge import acknowledge
from daemon.commands.context import (
    EXIT_FAULT,
    connected,
    owner_url,
    reading_pool,
    spoken_errors,
)
from daemon.commands.prune import prune_command
from daemon.commands.replay import replay_command
from daemon.contracts import contracts_of
from daemon.environment import nearest
from daemon.errors import StartError, of_chain
from daemon.index_table import render
from daemon.local import with_database
from daemon.remote import read_everywhere
from daemon.settings import Settings
from daemon.wiring import FollowedChain, chains_of
from indexer import cursor as cursors
from indexer import resync as resyncing
from indexer import sources, verifier
from indexer.comparison import Comparison
from indexer.contract import Verify
from indexer.errors import IndexerError
from indexer.source import Source
from indexer.spans import Span


@click.group("index")
def index() -> None:
    """The index of chains and contracts: its status, its proof, its repair, its feed."""


index.add_command(replay_command)
index.add_command(acknowledge)
index.add_command(prune_command)


@index.command("status")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on standard output.")
@click.pass_obj
@spoken_errors
def index_status(config: Path | None, as_json: bool) -> None:
    """How far each chain is followed, and how much of each contract is there."""
    settings = settings_module.load(config)

    async def read() -> None:
        async with connected(settings) as connection:
            found = await read_everywhere(connection, settings)
        if as_json:
            chains = [chain.model_dump(mode="json") for chain in found.chains]
            click.echo(json.dumps({"at": found.at.isoformat(), "chains": chains}))
        else:
            Console().print(render(found.chains))

    asyncio.run(read())


@index.command("verify")
@click.option("--contract", "contract_name", help="Only this contract; without it, all of them.")
@click.option("--from", "first", type=click.IntRange(min=0), help="The first block to compare.")
@click.option("--to", "last", type=click.IntRange(min=0), help="The last one; it must be final.")
@click.option(
    "--verify",
    "way",
    type=click.Choice(["none", "bloom", "full"]),
    help="How far the node is trusted meanwhile; by default as in the contract's settings.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
@spoken_errors
def verify(
    config: Path | None,
    contract_name: str | None,
    first: int | None,
    last: int | None,
    way: str | None,
    as_json: bool,
) -> None:
    """Read final blocks from the chain again and compare them with the tables; exit 1 if anything differs."""
    settings = settings_module.load(config)
    _require_known(settings, contract_name)
    wanted = _Wanted(contract_name, first, last, cast(Verify | None, way))
    results = asyncio.run(_verify(settings, wanted, quiet=as_json))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "ok": all(one.ok for one in results),
                    "contracts": [one.values() for one in results],
                }
            )
        )
    else:
        for result in results:
            result.say()
    if not results:
        raise StartError(
            "nothing is there yet that could be compared; see `landbridge index status`"
        )
    sys.exit(0 if all(one.ok for one in results) else EXIT_FAULT)


@index.command("resync")
@click.option("--contract", "contract_name", required=True, help="Whose events are read again.")
@click.option(
    "--from", "first", type=click.IntRange(min=1), required=True, help="From this block on."
)
@click.pass_obj
@spoken_errors
def resync(config: Path | None, contract_name: str, first: int) -> None:
    """Read a contract's events again from a block on, beside what is there, which it then replaces.

    What is below that block is kept. A running daemon does the rest; the views change over when it is done.
    """
    settings = settings_module.load(config)
    _require_known(settings, contract_name)
    if settings.token is not None and settings.token.contract == contract_name:
        raise StartError(
            f"{contract_name} is the deposit token, whose rows are the bridge's evidence: they are not replaced"
        )
    if settings.database is not None:
        owner_url(settings)
    version = asyncio.run(_resync(settings, contract_name, first))
    click.echo(
        f"contract {contract_name}: version {version} has what is below block {first}; the daemon reads it from "
        "there on (see `landbridge index status`)"
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    contract: str | None
    first: int | None
    last: int | None
    way: Verify | None


@dataclass(frozen=True, slots=True)
class _Result:
    """What was found of one contract."""

    contract: str
    version: int
    first: int
    last: int
    tables: dict[str, Comparison]

    @property
    def ok(self) -> bool:
        return all(one.is_equal for one in self.tables.values())

    def values(self) -> dict[str, object]:
        return {
            "contract": self.contract,
            "version": self.version,
            "from_block": self.first,
            "to_block": self.last,
            "ok": self.ok,
            "tables": {name: one.values() for name, one in self.tables.items()},
        }

    def say(self) -> None:
        where = (
            f"contract {self.contract} (version {self.version}), blocks {self.first} to {self.last}"
        )
        rows = sum(one.chain_rows for one in self.tables.values())
        if self.ok:
            click.echo(f"ok    {where}: {rows} rows, all as on the chain")
            return
        for name, one in self.tables.items():
            if not one.is_equal:
                click.echo(
                    f"FAULT {where}: {name} lacks {one.missing} rows, has {one.extra} that the chain has not, and "
                    f"{one.different} that differ"
                )
                for difference in one.shown:
                    click.echo(f"      {difference}")


def _require_known(settings: Settings, contract_name: str | None) -> None:
    names = list(settings.contracts) + ([settings.token.contract] if settings.token else [])
    if contract_name is not None and contract_name not in names:
        raise StartError(
            f"--contract: there is no contract {contract_name}{nearest(contract_name, names)}"
        )


async def _verify(settings: Settings, wanted: _Wanted, *, quiet: bool) -> list[_Result]:
    results = []
    async with reading_pool(settings) as pool:
        for chain in chains_of(settings):
            names = [contract.name for contract in chain.contracts]
            if wanted.contract is not None and wanted.contract not in names:
                continue
            try:
                async with chain.providers as providers:
                    await providers.require_chain(chain.settings.id)
                    results += await _verify_chain(pool, chain, wanted, quiet=quiet)
            except IndexerError as error:
                raise StartError(of_chain(error, chain.name)) from None
    return results


async def _verify_chain(
    pool: asyncpg.Pool, chain: FollowedChain, wanted: _Wanted, *, quiet: bool
) -> list[_Result]:
    async with pool.acquire() as connection:
        cursor = await cursors.read(connection, chain.settings.id)
        live = await sources.live(connection, chain.settings.id, chain.contracts)
    final = None if cursor is None or cursor.finalized is None else cursor.finalized.number
    results = []
    for source in _shown(live):
        if wanted.contract not in (None, source.name):
            continue
        span = _span(source, final, wanted)
        if span is None:
            continue
        way = wanted.way or source.contract.options.verify
        children = await verifier.children_of(pool, live, span.last)
        found: dict[str, Comparison] = {}
        with Console(stderr=True, quiet=quiet).status("") as spinner:
            async for verified in verifier.verify(
                pool, chain.providers, source, children, span, way
            ):
                found = verified.tables
                spinner.update(f"{source.name}: block {verified.last} of {span.last}")
        results.append(_Result(source.name, source.version, span.first, span.last, found))
    return results


def _shown(live: Sequence[Source]) -> list[Source]:
    """Of each contract the version that readers see: the newest that has joined, else the one that will."""
    by_name: dict[str, Source] = {}
    for source in live:
        known = by_name.get(source.name)
        if known is None or (source.joined, source.version) > (known.joined, known.version):
            by_name[source.name] = source
    return list(by_name.values())


def _span(source: Source, final: int | None, wanted: _Wanted) -> Span | None:
    """What is to be compared; None if there is nothing yet."""
    newest = final if source.joined else source.covered_to
    if newest is None or source.start_block is None:
        return None
    if wanted.last is not None and wanted.last > newest:
        raise StartError(
            f"--to: of contract {source.name} only what is up to block {newest} is there and final"
        )
    first = max(source.start_block, wanted.first or 0)
    last = newest if wanted.last is None else wanted.last
    return Span(first, last) if first <= last else None


async def _resync(settings: Settings, contract_name: str, first: int) -> int:
    contracts = contracts_of(settings.chains, settings.contracts, settings.token)
    (contract,) = (one for one in contracts if one.name == contract_name)
    async with with_database(settings) as ready:
        connection = await asyncpg.connect(owner_url(ready), timeout=10)
        try:
            return await resyncing.resync(connection, contract, first)
        finally:
            await connection.close()
