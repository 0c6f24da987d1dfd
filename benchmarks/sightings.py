"""When the rows of new blocks become visible to another connection."""

from __future__ import annotations

import asyncio
import threading
import time

import asyncpg

from benchmarks.rows import VIEW

POLL_S = 0.001
NEW_ROWS = f"SELECT block_number, count(*) FROM {VIEW} WHERE block_number > $1 GROUP BY 1"


class Sightings(threading.Thread):
    """Asks Postgres for the rows above a block, a thousand times a second, on a connection of its own.

    A thread, so that the times do not wait for whoever mines. `seen` maps block numbers to
    time.perf_counter(), once all of a block's rows are there.
    """

    def __init__(self, dsn: str, above: int, rows_per_block: int) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, float] = {}
        self._dsn = dsn
        self._complete = above
        self._rows_per_block = rows_per_block
        self._stopping = threading.Event()

    def run(self) -> None:
        asyncio.run(self._poll())

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    async def _poll(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            while not self._stopping.is_set():
                asked_at = time.perf_counter()
                self._take(await connection.fetch(NEW_ROWS, self._complete))
                # As long as the question took, where that is more: it takes time from the others.
                await asyncio.sleep(max(POLL_S, time.perf_counter() - asked_at))
        finally:
            await connection.close()

    def _take(self, records: list[asyncpg.Record]) -> None:
        now = time.perf_counter()
        for number, found in records:
            if found >= self._rows_per_block:
                self.seen.setdefault(number, now)
        while self._complete + 1 in self.seen:
            self._complete += 1
