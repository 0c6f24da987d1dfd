"""Keeps the balances of a token's holders in SQLite, from a stream in Redis and a consumer group, exactly once.

    REDIS_URL=redis://:password@host:6379/0 STREAM=landbridge:feed:1 GROUP=warehouse \\
    CONTRACT=token DATABASE=balances.db python stream_consumer.py

Redis delivers an entry at least once. What makes it exact: the entry's (chain_id, seq, part) is recorded in the
transaction that changes the balances; an entry that was recorded is passed over. The group only tells Redis what
need not be kept. Entries follow one another without a gap, so a hole is noticed: then they were trimmed before they
were read, or Redis was lost for too long, and have to be written again (replay) into a stream that is given here.
One process at a time reads for a group. Needs redis; the same works with any database that has transactions.
"""

import json
import os
import sqlite3
import time
from typing import Any

import redis
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

COUNT = 100
BLOCK_MS = 1_000
CONSUMER = "only"

TABLES = """
    CREATE TABLE IF NOT EXISTS acted (
        chain_id INTEGER, seq INTEGER, part INTEGER, is_last INTEGER NOT NULL, PRIMARY KEY (chain_id, seq, part));
    CREATE TABLE IF NOT EXISTS balance (holder TEXT PRIMARY KEY, amount TEXT NOT NULL)"""
NEWEST = (
    "SELECT seq, part, is_last FROM acted WHERE chain_id = ? ORDER BY seq DESC, part DESC LIMIT 1"
)
RECORD = "INSERT INTO acted VALUES (?, ?, ?, ?)"
# What is older than the newest record tells nothing that the newest one does not.
FORGET = "DELETE FROM acted WHERE chain_id = ? AND (seq, part) < (?, ?)"


class HoleError(Exception):
    """Entries are missing."""


def act(own: sqlite3.Connection, event: dict[str, Any], contract: str) -> bool:
    """Change the balances as an entry says, unless it was recorded; answers whether it was new."""
    data = event["data"]
    chain_id, seq, part = data["chain_id"], data["seq"], data["part"]
    with own:
        own.execute("BEGIN IMMEDIATE")
        newest = own.execute(NEWEST, (chain_id,)).fetchone()
        if newest is not None and (seq, part) <= (newest[0], newest[1]):
            return False
        expected = follows(newest)
        if (seq, part) != expected:
            raise HoleError(f"entries {expected[0]}-{expected[1]} up to {seq}-{part} are missing")
        own.execute(RECORD, (chain_id, seq, part, data["last"]))
        own.execute(FORGET, (chain_id, seq, part))
        if data["op"] != "finalize":
            sign = -1 if data["op"] == "retract" else 1
            for each in data["events"]:
                if (each["contract"], each["event"]) == (contract, "Transfer"):
                    args, value = each["args"], sign * int(each["args"]["value"])
                    add(own, args["from"], -value)
                    add(own, args["to"], value)
    return True


def follows(newest: tuple[int, int, int] | None) -> tuple[int, int]:
    """The entry that comes behind the newest that was acted on."""
    if newest is None:
        return 1, 0
    seq, part, is_last = newest
    return (seq + 1, 0) if is_last else (seq, part + 1)


def add(own: sqlite3.Connection, holder: str, amount: int) -> None:
    """SQLite's integers are too short for a token's."""
    held = own.execute("SELECT amount FROM balance WHERE holder = ?", (holder,)).fetchone()
    total = amount + (int(held[0]) if held else 0)
    own.execute("INSERT OR REPLACE INTO balance VALUES (?, ?)", (holder, str(total)))


def entries(
    client: redis.Redis, stream: str, group: str, after: str
) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The next ones: of those that were delivered to us and not acknowledged (``0``), or new ones (``>``)."""
    found: Any = client.xreadgroup(group, CONSUMER, {stream: after}, count=COUNT, block=BLOCK_MS)
    return found[0][1] if found else []


def consume(
    client: redis.Redis, own: sqlite3.Connection, stream: str, group: str, contract: str
) -> None:
    """Act on entries for ever; raises what Redis raises."""
    after = "0"
    while True:
        found = entries(client, stream, group, after)
        for identifier, fields in found:
            if fields:
                act(own, json.loads(fields[b"event"]), contract)
            client.xack(stream, group, identifier)
        if not found:
            after = ">"


def main() -> None:
    stream, group = os.environ["STREAM"], os.environ["GROUP"]
    client = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2, socket_timeout=10.0)
    own = sqlite3.connect(os.environ["DATABASE"], isolation_level=None)
    own.executescript(TABLES)
    while True:
        try:
            consume(client, own, stream, group, os.environ["CONTRACT"])
        except (ConnectionError, TimeoutError):
            time.sleep(0.2)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # At its first start, and when Redis was emptied. From the beginning: what is known is passed over.
            client.xgroup_create(stream, group, id="0", mkstream=True)


if __name__ == "__main__":
    main()
