"""Whoever has only the README indexes a contract of their own: its words, taken from the page and carried out.

Only the node's URL is another one: a chain of the test's own, with a factory of pairs at the very address.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import pytest
import pytest_asyncio

from daemon.embedded.account import new_temporary_path, unprivileged_account
from daemon.embedded.anvil import Anvil
from daemon.embedded.binaries import find_bin_dir
from daemon.embedded.postgres import free_port
from daemon.embedded.process import GuardedProcess
from tests.acceptance.conftest import until
from tests.acceptance.exchange import REPOSITORY, Exchange, lay

README: Final = (REPOSITORY / "README.md").read_text()
NODE: Final = "https://ethereum-node.example/v1/key"
# Deep enough that what was mined before is final.
FINAL_BLOCKS: Final = 6
TIMEOUT_S: Final = 120.0
SWAPS: Final = """
    SELECT block_number::bigint, amount0_in::bigint, amount1_out::bigint FROM v1.pair_swap
    ORDER BY block_number, log_index"""


def section() -> str:
    """The part of the page that is about this."""
    return README.split("## Index a contract of your own")[1].split("\n## ")[0]


def blocks(language: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section(), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def test_the_settings_are_ten_lines() -> None:
    (toml,) = blocks("toml")
    assert len([line for line in toml.splitlines() if line]) <= 10
    assert toml.count(NODE) == 1


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody in a folder that was empty, with the programs that the README tells of."""

    folder: Path
    environment: dict[str, str]

    async def types(self, command: str) -> tuple[int, str]:
        """A command in a shell: its status, and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        return process.returncode or 0, printed.decode()


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    # Below a folder that every account can enter: run by root, the database is another account's.
    folder = new_temporary_path(unprivileged_account())
    folder.mkdir(mode=0o755)
    programs = [Path(sys.executable).parent, find_bin_dir()]
    yield Newcomer(
        folder,
        {
            "PATH": ":".join([*map(str, programs), "/usr/bin:/bin"]),
            # Of the reader's machine nothing else is used, and this port may be taken on ours.
            "LANDBRIDGE_API__PORT": str(free_port()),
            "HOME": os.environ.get("HOME", "/"),
        },
    )
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def exchange() -> AsyncIterator[Exchange]:
    """The chain of the page's settings, with the factory of the page's settings."""
    (toml,) = blocks("toml")
    (chain_id,) = re.findall(r"^id = (\d+)$", toml, re.MULTILINE)
    (address,) = re.findall(r'^address = "(0x\w{40})"$', toml, re.MULTILINE)
    async with Anvil(chain_id=int(chain_id)) as chain:
        await chain.mine(5)
        yield await lay(chain, address)


async def test_swaps_of_pairs_are_indexed_by_what_the_readme_says(
    newcomer: Newcomer, exchange: Exchange
) -> None:
    first, born = await exchange.pair(1_000, 1)
    expected = [(born, 1_000, 1), (await exchange.swap(first, 1_001, 2), 1_001, 2)]
    await exchange.chain.mine(FINAL_BLOCKS)
    (toml,) = blocks("toml")
    (newcomer.folder / "landbridge.toml").write_text(toml.replace(NODE, exchange.chain.url))
    commands, query = blocks()
    check, run, status = [line.split("#")[0].strip() for line in commands.strip().splitlines()]
    assert (check, run, status) == ("landbridge check", "landbridge run", "landbridge index status")

    ended, printed = await newcomer.types(check)
    assert ended == 0, printed
    assert "FAULT" not in printed
    assert "ok    contract pair on mainnet: Swap; at what factory makes" in printed

    async with await GuardedProcess.start(
        ["/bin/bash", "-c", f"exec {run}"],
        env=newcomer.environment,
        log_path=newcomer.folder / "log",
        cwd=newcomer.folder,
    ) as daemon:
        await shows(newcomer, expected)
        # At the head: a pair that is traded in the block of its birth, and one that is there already.
        second, born = await exchange.pair(2_000, 3)
        expected += [
            (born, 2_000, 3),
            (await exchange.swap(first, 1_002, 4), 1_002, 4),
            (await exchange.swap(second, 2_001, 5), 2_001, 5),
        ]
        await shows(newcomer, expected)

        ended, printed = await newcomer.types(status)
        assert ended == 0, printed
        assert re.search(r"mainnet +synced|mainnet +1 +synced", printed), printed
        assert len(re.findall(r"mainnet +(?:factory|pair) +1 +joined .*100\.0 %", printed)) == 2

        ended, printed = await newcomer.types(query)
        assert ended == 0, printed
        shown = re.findall(r"^ +(\d+) \| +(\d+) \| +(\d+) \| (\w+) *$", printed, re.MULTILINE)
        assert [tuple(map(int, row[:3])) for row in shown] == expected[::-1][:5]
        assert [row[3] for row in shown][-2:] == ["final", "final"]
        assert await daemon.stop() == 0


async def shows(newcomer: Newcomer, expected: list[tuple[int, int, int]]) -> None:
    """Wait until a reader sees just these swaps."""

    async def is_so() -> bool:
        try:
            url = (newcomer.folder / ".landbridge/reader-url").read_text().strip()
            reader = await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError):
            return False
        try:
            return [tuple(row) for row in await reader.fetch(SWAPS)] == expected
        except asyncpg.UndefinedTableError:
            return False
        finally:
            await reader.close()

    await until(f"a reader sees {expected}", is_so)
