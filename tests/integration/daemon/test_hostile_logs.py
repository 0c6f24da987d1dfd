"""Whoever can emit a log cannot stop the chain: what no row can hold is kept raw with its reason."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from indexer.keccak import keccak
from tests.conftest import Database
from tests.integration.daemon.echo import person, send
from tests.integration.daemon.indexing import (
    Site,
    chain_section,
    configured,
    json_lines,
    migrated,
    site,
)
from tests.integration.daemon.running import HOST

# A reserved word, a name of the frame's, and two that become one.
SAID = "Select(address indexed from, address indexed block_number, string aB, string a_b)"
TOPIC = keccak(b"Select(address,address,string,string)")


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def text(value: bytes) -> bytes:
    return word(len(value)) + value.ljust(-(-len(value) // 32) * 32, b"\0")


def two(first: bytes, second: bytes) -> bytes:
    return word(64) + word(64 + len(text(first))) + text(first) + text(second)


async def emit(one: Site, data: bytes) -> None:
    words = [TOPIC, *(bytes(12) + bytes.fromhex(person(n)[2:]) for n in (1, 2)), data]
    await send(one.anvil, to=one.maker.address, data="0x" + b"".join(words).hex())
    await one.anvil.mine()


async def test_hostile_logs_are_kept_raw_with_the_reason_and_stop_nothing(
    database: Database, tmp_path: Path
) -> None:
    async with site("main", 7001) as main:
        hostile = {
            "nul": two(b"a\0b", b"c"),
            "no utf-8": two(b"\xff\xfe", b"c"),
            "empty": b"",
            "cut off": two(b"a", b"b")[:96],
            "far offset": word(2**255) * 4,
        }
        await emit(main, two(b"first", "ü".encode()))
        for data in hostile.values():
            await emit(main, data)
        await emit(main, two(b"last", b"\\N\t\n"))
        await main.settle()
        tree = {
            "api": {"host": HOST},
            "chains.main": chain_section(main),
            "contracts.order": {"address": main.maker.address, "events": [SAID]},
        }
        configuration = configured(tmp_path, database, tree)
        await migrated(configuration)
        ended = await configuration.command("backfill", "--until-caught-up", "--json")
        assert json_lines(ended)[-1]["caught_up"], ended.errors
        assert '"count": 5, ' in ended.errors
    owner = await asyncpg.connect(database.owner_dsn)
    try:
        rows = await owner.fetch(
            "SELECT * FROM v1.order_select ORDER BY v1.order_select.block_number"
        )
        raw = await owner.fetch("SELECT data, decode_error FROM chain.log ORDER BY block_number")
    finally:
        await owner.close()
    assert [tuple(row[name] for name in ("a_b_1ec83dc9", "a_b_06821839")) for row in rows] == [
        ("first", "ü"),
        ("last", "\\N\t\n"),
    ]
    assert [row["data"] for row in raw] == list(hostile.values())
    assert all(row["decode_error"] for row in raw)
