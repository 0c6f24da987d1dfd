"""What the machine allows: the parts of a backfill, each measured apart on the same data, and summed.

Fetch (and decode the JSON), slice the fields out, encode them for a binary COPY, and COPY them into
a table with a primary key and one index. The sum is a program that does one after the other and
nothing else, which no program that keeps books of what it did can be; running parts at the same
time on several cores can make up for that.
"""

from __future__ import annotations

import asyncio
import struct
import time
from binascii import unhexlify
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import aiohttp
import asyncpg
import msgspec

from benchmarks.chain import Chain

# The quickest of those that were tried against Anvil, see docs/benchmarks.md.
RANGE_BLOCKS = 10
CONNECTIONS = 8
# Parts alternate by so many blocks, so that not all of the data is held in memory.
WINDOW_BLOCKS = 2_000
CHUNK_BYTES = 1 << 18
TABLE = "limit"
SCHEMA = f"""
    CREATE TABLE "{TABLE}" (
        block_number bigint, block_hash bytea, log_index integer, tx_hash bytea,
        sender bytea, receiver bytea, value numeric, PRIMARY KEY (block_number, log_index));
    CREATE INDEX ON "{TABLE}" (sender)
"""
COLUMNS = ["block_number", "block_hash", "log_index", "tx_hash", "sender", "receiver", "value"]
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
DIGIT_BASE = 10_000  # of Postgres's numeric

Sliced = tuple[int, bytes, int, bytes, bytes, bytes, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds that each part takes for so many events."""

    events: int = 0
    fetch_s: float = 0.0
    slice_s: float = 0.0
    encode_s: float = 0.0
    copy_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.fetch_s + self.slice_s + self.encode_s + self.copy_s

    @property
    def events_per_s(self) -> float:
        return self.events / self.total_s if self.total_s else 0.0

    def __add__(self, other: Parts) -> Parts:
        sums = (getattr(self, field.name) + getattr(other, field.name) for field in fields(Parts))
        return Parts(*sums)

    def facts(self) -> dict[str, float]:
        """For the line of JSON."""
        seconds = {f.name: round(getattr(self, f.name), 3) for f in fields(Parts)}
        return seconds | {"total_s": round(self.total_s, 3)}


async def measure(chain: Chain, connection: asyncpg.Connection) -> Parts:
    """The parts over the whole chain, into a table of a database that is empty otherwise."""
    await connection.execute(SCHEMA)
    head = await chain.head()
    total = Parts()
    for start in range(0, head + 1, WINDOW_BLOCKS):
        end = min(start + WINDOW_BLOCKS - 1, head)
        total += await _measure_window(chain, connection, start, end)
    return total


async def _measure_window(
    chain: Chain, connection: asyncpg.Connection, start: int, end: int
) -> Parts:
    bodies, fetch_s = await _timed(lambda: _fetch(chain, start, end))
    logs = [log for body in bodies for log in _logs_of(body)]
    rows, slice_s = _timed_now(lambda: sliced(logs))
    blob, encode_s = _timed_now(lambda: encoded(rows))
    _, copy_s = await _timed(lambda: _copy(connection, blob))
    return Parts(len(logs), fetch_s, slice_s, encode_s, copy_s)


async def _fetch(chain: Chain, start: int, end: int) -> list[bytes]:
    """The node's answers for a range, in order, fetched over several connections at once.

    Each is decoded, since that belongs to fetching, and the objects are thrown away, since keeping
    so many at a time is nothing that a reader has to do.
    """
    starts = range(start, end + 1, RANGE_BLOCKS)
    bodies = [b""] * len(starts)
    waiting = iter(range(len(starts)))

    async def fetch_some(session: aiohttp.ClientSession) -> None:
        for i in waiting:
            query = chain.query(starts[i], min(starts[i] + RANGE_BLOCKS - 1, end))
            question = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]}
            async with session.post(chain.url, json=question) as response:
                bodies[i] = await response.read()
            _logs_of(bodies[i])

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(fetch_some(session) for _ in range(CONNECTIONS)))
    return bodies


def _logs_of(body: bytes) -> list[dict[str, Any]]:
    logs: list[dict[str, Any]] = msgspec.json.decode(body)["result"]
    return logs


def sliced(logs: Sequence[Mapping[str, Any]]) -> list[Sliced]:
    """The fields of Transfers, as bytes and integers."""
    return [
        (
            int(log["blockNumber"], 16),
            unhexlify(log["blockHash"][2:]),
            int(log["logIndex"], 16),
            unhexlify(log["transactionHash"][2:]),
            unhexlify(log["topics"][1][26:]),
            unhexlify(log["topics"][2][26:]),
            int(log["data"], 16),
        )
        for log in logs
    ]


def encoded(rows: Sequence[Sliced]) -> bytes:
    """The rows as a binary COPY takes them."""
    head = struct.Struct(">hiqi32sii").pack
    out = bytearray(COPY_HEADER)
    for number, block_hash, index, tx_hash, sender, receiver, value in rows:
        amount = encoded_numeric(value)
        out += head(len(COLUMNS), 8, number, 32, block_hash, 4, index)
        out += b"\0\0\0\x20" + tx_hash
        out += b"\0\0\0\x14" + sender
        out += b"\0\0\0\x14" + receiver
        out += len(amount).to_bytes(4, "big") + amount
    return bytes(out + COPY_END)


def encoded_numeric(value: int) -> bytes:
    """A non-negative integer as Postgres's binary numeric: digits of base 10,000, no sign, scale 0."""
    digits: list[int] = []
    while value:
        value, digit = divmod(value, DIGIT_BASE)
        digits.append(digit)
    weight = max(len(digits) - 1, 0)
    digits.reverse()
    while digits and digits[-1] == 0:
        digits.pop()
    return struct.pack(f">HhHH{len(digits)}H", len(digits), weight, 0, 0, *digits)


async def _copy(connection: asyncpg.Connection, blob: bytes) -> None:
    await connection.copy_to_table(TABLE, source=_chunks(blob), columns=COLUMNS, format="binary")


async def _chunks(blob: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(blob), CHUNK_BYTES):
        yield blob[start : start + CHUNK_BYTES]


async def _timed(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    started = time.perf_counter()
    result = await work()
    return result, time.perf_counter() - started


def _timed_now(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
