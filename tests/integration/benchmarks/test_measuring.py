"""The measuring itself, on real parts: what it measures with must be right before what it measures."""

import asyncio
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from benchmarks import limits, rows
from benchmarks.chain import Chain, Shape
from benchmarks.errors import NotReachedError, ProgramEndedError, RowsDifferError
from benchmarks.meter import rss_bytes
from benchmarks.program import Options, Program, environment
from benchmarks.sightings import Sightings
from benchmarks.slow_provider import _counts, _proxy

SHAPE = Shape(blocks=60, calls=2, events_per_call=5)
BUSY_S = 0.5
BUSY = f"import time\nwhile time.process_time() < {BUSY_S}: pass"
TABLE = """CREATE SCHEMA v1; CREATE TABLE v1.token_transfer (block_number bigint, block_hash bytea,
    log_index integer, "from" bytea, "to" bytea, value numeric)"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chain() -> AsyncIterator[Chain]:
    async with Chain(light=True) as generated:
        await generated.generate(SHAPE)
        yield generated


@pytest_asyncio.fixture(loop_scope="session")
async def connection(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database)
    yield connection
    await connection.close()


async def store(connection: asyncpg.Connection, stored: list[rows.Row]) -> None:
    await connection.executemany(
        "INSERT INTO v1.token_transfer VALUES ($1, $2, $3, $4, $5, $6)", stored
    )


class TestAChain:
    async def test_has_the_ordered_events_in_every_block(self, chain: Chain) -> None:
        found = await rows.chain_rows(chain, 0, await chain.head())
        assert len(found) == SHAPE.events
        for number in range(2, 2 + SHAPE.blocks):
            indexes = [row[2] for row in found if row[0] == number]
            assert indexes == list(range(SHAPE.events_per_block))

    @pytest.mark.parametrize("light", [False, True])
    async def test_is_the_same_each_time(self, light: bool) -> None:
        hashes = []
        for _ in range(2):
            async with Chain(light=light) as generated:
                await generated.generate(Shape(blocks=3, calls=4, events_per_call=25))
                latest = await generated.rpc("eth_getBlockByNumber", "latest", False)
                hashes.append(latest["hash"])
        assert hashes[0] == hashes[1]

    async def test_has_other_events_after_a_reorg(self) -> None:
        async with Chain() as generated:
            await generated.generate(Shape(blocks=10, calls=1, events_per_call=3))
            head = await generated.head()
            before = set(await rows.chain_rows(generated, 0, head))
            await generated.reorg(4, 2, 5)
            after = set(await rows.chain_rows(generated, 0, head))
            assert await generated.head() == head
            assert len(before - after) == 4 * 3
            assert len(after - before) == 4 * 2 * 5


class TestExactness:
    async def test_no_view_yet_is_no_rows(
        self, chain: Chain, connection: asyncpg.Connection
    ) -> None:
        assert await rows.count(connection) == 0
        assert not await rows.any_row(connection)
        found = await rows.compare(chain, connection)
        assert (found.extra, found.missing) == (0, SHAPE.events)

    async def test_the_chains_own_rows_are_exact_and_any_other_is_found(
        self, chain: Chain, connection: asyncpg.Connection
    ) -> None:
        head = await chain.head()
        wanted = await rows.chain_rows(chain, 0, head)
        await connection.execute(TABLE)
        await store(connection, wanted)
        assert await rows.require_exact(chain, connection) == SHAPE.events
        await store(connection, [wanted[0]])
        with pytest.raises(RowsDifferError, match="1 too many, 0 missing"):
            await rows.require_exact(chain, connection)
        await connection.execute(
            "DELETE FROM v1.token_transfer WHERE block_number = $1", wanted[0][0]
        )
        beyond = (head + 1, *wanted[0][1:])
        await store(connection, [beyond])
        missing = SHAPE.events_per_block
        with pytest.raises(RowsDifferError, match=f"1 too many, {missing} missing"):
            await rows.require_exact(chain, connection)


async def test_the_parts_of_the_limit_are_of_the_whole_chain(
    chain: Chain, connection: asyncpg.Connection
) -> None:
    parts = await limits.measure(chain, connection)
    assert parts.events == SHAPE.events
    assert min(parts.fetch_s, parts.slice_s, parts.encode_s, parts.copy_s) > 0
    stored = await connection.fetch(
        """SELECT block_number, block_hash, log_index, sender, receiver, value::text
           FROM "limit" """
    )
    as_rows = [(*record[:5], int(record[5])) for record in map(tuple, stored)]
    wanted = await rows.chain_rows(chain, 0, await chain.head())
    assert sorted(as_rows) == sorted(wanted)


async def test_blocks_are_seen_once_all_their_rows_are(
    empty_database: str, connection: asyncpg.Connection
) -> None:
    await connection.execute(TABLE)
    row = (1, b"", 0, b"", b"", 1)
    sightings = Sightings(empty_database, above=0, rows_per_block=2)
    sightings.start()
    try:
        await store(connection, [row])
        await asyncio.sleep(0.5)
        assert sightings.seen == {}
        before = time.perf_counter()
        await store(connection, [row])
        await asyncio.sleep(0.5)
        assert before < sightings.seen[1] < time.perf_counter()
    finally:
        await asyncio.to_thread(sightings.stop)


class TestASlowProvider:
    async def test_takes_its_time_and_keeps_its_limits(self, chain: Chain) -> None:
        ask = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        wide = {
            **ask,
            "method": "eth_getLogs",
            "params": [{"fromBlock": "0x0", "toBlock": "0x7d0"}],
        }
        async with _proxy(chain.url) as url, aiohttp.ClientSession() as client:

            async def post(body: object) -> tuple[int, dict[str, object]]:
                async with client.post(url, json=body) as answer:
                    return answer.status, await answer.json()

            started = time.monotonic()
            status, answer = await post(ask)
            assert time.monotonic() - started >= 0.1
            assert (status, answer["result"]) == (200, hex(await chain.head()))
            status, answer = await post(wide)
            assert status == 200
            assert answer["error"] == {
                "code": -32614,
                "message": "eth_getLogs is limited to a 2,000 range",
            }
            # Two calls have passed, and count for as long as they are less than a second ago.
            answers = await asyncio.gather(*(post(ask) for _ in range(25)))
            statuses = Counter(status for status, _ in answers)
            assert 18 <= statuses[200] < 25
            assert statuses[200] + statuses[429] == 25
            counts = await _counts(url)
            assert (counts.passed, counts.refused) == (2 + statuses[200], statuses[429])
            assert counts.too_wide == 1
            assert counts.first_at_s is not None
            assert started <= counts.first_at_s <= time.monotonic()


def script(path: Path, code: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return path


class TestTheProgram:
    async def test_is_told_everything_and_nothing_of_our_own_configuration(
        self, chain: Chain, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LANDBRIDGE_DATABASE__URL", "ours")
        told = environment(chain, "postgresql://x", Options(websocket=True, redis_url="redis://y"))
        assert "LANDBRIDGE_DATABASE__URL" not in told
        assert told["PEERS_RPC"] == chain.url
        assert told["PEERS_WS"] == chain.url.replace("http", "ws")
        assert told["LANDBRIDGE_PEER_VERIFY"] == "none"
        assert told["LANDBRIDGE_PEER_REDIS"] == "redis://y"

    async def test_that_ends_by_itself_shows_its_log(self, chain: Chain, tmp_path: Path) -> None:
        path = script(tmp_path / "peer", "print('no such table'); raise SystemExit(3)")

        async def never() -> bool:
            return False

        async with Program(path, chain, "") as program:
            with pytest.raises(ProgramEndedError, match=r"status 3.*no such table"):
                await program.until("it", never, timeout_s=10.0, poll_s=0.01)

    async def test_that_gets_nowhere_is_given_up(self, chain: Chain, tmp_path: Path) -> None:
        path = script(tmp_path / "peer", "import time; time.sleep(60)")

        async def never() -> bool:
            return False

        async with Program(path, chain, "") as program:
            with pytest.raises(NotReachedError, match="ten rows was not reached within"):
                await program.until("ten rows", never, timeout_s=0.2, poll_s=0.01)

    async def test_is_metered_with_all_that_it_started(self, chain: Chain, tmp_path: Path) -> None:
        """A grandchild that holds memory, and a child that has worked and ended."""
        large = "import time; x = bytearray(80 * 2**20); time.sleep(60)"
        parent_of_large = (
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {large!r}])"
        )
        code = (
            "import subprocess, sys, time\n"
            f"subprocess.Popen([sys.executable, '-c', {parent_of_large!r}])\n"
            f"subprocess.run([sys.executable, '-c', {BUSY!r}])\n"
            "time.sleep(60)"
        )
        async with Program(script(tmp_path / "peer", code), chain, "") as program:
            await asyncio.sleep(2.0)
            usage = await program.stop()
        assert usage.peak_rss_mb > 80
        assert BUSY_S * 0.8 <= usage.cpu_s < 4 * BUSY_S


def test_memory_is_what_the_system_says() -> None:
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert resident is not None
    assert rss_bytes(os.getpid()) == pytest.approx(int(resident[1]) * 1024, rel=0.1)
