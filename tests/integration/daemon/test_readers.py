"""What docs/readers.md tells readers to do, taken from the page and done."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest_asyncio
from yarl import URL

from daemon.embedded.binaries import find_bin_dir
from daemon.embedded.postgres import EmbeddedPostgres
from indexer.keccak import keccak
from tests.conftest import Database, execute
from tests.integration.daemon.echo import TRANSFER, person, send
from tests.integration.daemon.indexing import (
    Site,
    configured,
    indexed,
    migrated,
    site,
    tree_of,
)
from tests.integration.daemon.running import REPOSITORY

READERS: Final = (REPOSITORY / "docs/readers.md").read_text()
SWAP: Final = (
    "Swap(address indexed sender, uint256 amount0In, uint256 amount1In, uint256 amount0Out, uint256 amount1Out, "
    "address indexed to)"
)
SWAP_TOPIC: Final = keccak(b"Swap(address,uint256,uint256,uint256,uint256,address)")
TIMEOUT_S: Final = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", READERS, re.DOTALL | re.MULTILINE)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def main() -> AsyncIterator[Site]:
    """A chain with two swaps beside its transfers, all final."""
    async with site("main", 6001) as made:
        for amount in (100, 200):
            words = [SWAP_TOPIC, *(bytes(12) + bytes.fromhex(person(n)[2:]) for n in (1, 2))]
            words += [value.to_bytes(32, "big") for value in (amount, 0, 0, amount + 1)]
            await send(made.anvil, to=made.maker.address, data="0x" + b"".join(words).hex())
            await made.anvil.mine()
        await made.settle()
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def url(
    database: Database, tmp_path: Path, main: Site, postgres: EmbeddedPostgres
) -> AsyncIterator[URL]:
    """Of the database, as the role that the page makes; the page's two contracts are in it."""
    tree = tree_of(main)
    del tree["contracts.main_coin"]
    tree["contracts.pair"] = {"address": main.maker.address, "events": [SWAP]}
    tree["contracts.usdc"] = {
        "address": main.coin.address,
        "events": [TRANSFER],
        "balances": True,
        "transactions": True,
        "receipts": True,
    }
    configuration = configured(tmp_path, database, tree)
    await migrated(configuration)
    await indexed(configuration)
    (grant,) = [text for text in blocks("sql") if text.startswith("CREATE ROLE")]
    await execute(postgres, grant)
    yield URL(database.owner_dsn).with_user("reporting").with_password("…")
    await execute(postgres, "DROP ROLE reporting")


async def output_of(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_psql_shows_what_the_page_asks_for(url: URL, main: Site, tmp_path: Path) -> None:
    (asked,) = [text for text in blocks("sql") if "v1.pair_swap" in text]
    file = tmp_path / "asked.sql"
    file.write_text(f"{asked}\n\\d+ v1.pair_swap\n")
    psql = str(find_bin_dir() / "psql")
    printed = await output_of(
        psql, str(url), "--set=ON_ERROR_STOP=1", "--no-psqlrc", f"--file={file}"
    )
    maker = main.maker.address[2:].lower()
    assert re.findall(rf"{maker} +\| +(\d+) +\| +(\d+) +\| final", printed) == [
        ("200", "201"),
        ("100", "101"),
    ]
    assert "uint256 amount0In" in printed


async def test_sqlalchemy_reflects_a_view_and_reads_it(url: URL, main: Site) -> None:
    (program,) = [text for text in blocks("python") if "sqlalchemy" in text]
    (named,) = re.findall(r'create_engine\("([^"]+)"\)', program)
    own = str(url).replace("postgresql://", "postgresql+psycopg://", 1)
    printed = await output_of(sys.executable, "-c", program.replace(named, own))
    maker = main.maker.address[2:].lower()
    assert [line.split()[1:] for line in printed.splitlines()] == [[maker, "200"], [maker, "100"]]


async def test_every_column_of_every_view_says_what_it_is(url: URL, database: Database) -> None:
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        rows = await owner.fetch(
            """SELECT c.relname, a.attname, col_description(c.oid, a.attnum) AS said,
                      obj_description(c.oid) AS of_view
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
               WHERE c.relnamespace = 'v1'::regnamespace AND c.relname ~ '^(pair|usdc)_'"""
        )
    finally:
        await owner.close()
    views = {row["relname"] for row in rows}
    assert {"pair_swap", "pair_swap_final", "pair_swap_history", "usdc_receipt"} <= views
    derived = {"usdc_balance", "usdc_supply"}
    silent = [row for row in rows if not row["said"] and row["relname"] not in derived]
    assert [f"{row['relname']}.{row['attname']}" for row in silent] == []
    signatures = {row["relname"]: row["of_view"] for row in rows}
    assert signatures["pair_swap"].startswith(
        "Swap(address,uint256,uint256,uint256,uint256,address)"
    )
    comments = {(row["relname"], row["attname"]): row["said"] for row in rows}
    assert comments["usdc_transaction", "gas_price"] == "wei per unit of gas"
    assert comments["usdc_balance", "balance"] == "in the token's smallest unit"
    assert comments["pair_swap_final", "amount0_in"] == "uint256 amount0In"
