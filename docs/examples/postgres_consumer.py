"""Keeps the balances of a token's holders in tables of its own, from the feed in Postgres, exactly once.

    FEED_URL=postgresql://reader:…@landbridge-host/landbridge \\
    OWN_URL=postgresql://app:…@any-host/warehouse \\
    CHAIN_ID=1 CONTRACT=token python postgres_consumer.py

FEED_URL is a role that is a member of landbridge_reader; it sees the schema v1 and changes nothing. OWN_URL is a
database of the consumer's own, the same server or another. What makes it exact: the place in the feed moves in the
transaction that changes the balances, and only from where it was when the rows were read. So a crash at any moment
leaves both or neither, and of two that run at once one changes nothing. It begins with the newest snapshot, where
there is one, and begins again if rows that it has not read were removed. Needs psycopg 3.
"""

import os
import time
from collections import Counter

import psycopg
from psycopg import sql

ROWS = 100
IDLE_S = 0.05

TABLES = """
    CREATE TABLE IF NOT EXISTS feed_place (
        chain_id bigint, contract text, version integer NOT NULL, seq bigint NOT NULL,
        PRIMARY KEY (chain_id, contract));
    CREATE TABLE IF NOT EXISTS balance (holder bytea PRIMARY KEY, amount numeric NOT NULL)"""

# The version that the views show. There is none for a moment while a new one takes its place.
VERSION = "SELECT version FROM v1.source WHERE chain_id = %s AND name = %s AND state = 'following'"
CHANGES = """
    SELECT seq, op, from_block, to_block, block_hash, op <> 'finalize' AND %s = ANY (contracts) AS is_ours FROM {}"""
SNAPSHOT = CHANGES.format("v1.snapshot WHERE chain_id = %s")
# Not v1.feed itself, which would not say that the next rows are gone.
FEED = CHANGES.format("v1.feed_after(%s, %s, %s) ORDER BY seq")
PRUNED = "LB005"

# A block is named by its hash, whether it still counts or not, so that a block that was taken back can be read.
OF_BLOCK = """SELECT "from", "to", value FROM v1.{} WHERE block_number = %s AND block_hash = %s"""
OF_RANGE = (
    """SELECT "from", "to", value FROM v1.{} WHERE canonical AND block_number BETWEEN %s AND %s"""
)

BEGIN = """
    INSERT INTO feed_place VALUES (%s, %s, %s, %s)
    ON CONFLICT (chain_id, contract) DO UPDATE SET version = excluded.version, seq = excluded.seq"""
MOVE = """
    UPDATE feed_place SET seq = %s WHERE chain_id = %s AND contract = %s AND version = %s AND seq = %s"""
CHANGE = """
    INSERT INTO balance AS held VALUES (%s, %s)
    ON CONFLICT (holder) DO UPDATE SET amount = held.amount + excluded.amount"""


def step(feed: psycopg.Connection, own: psycopg.Connection, chain_id: int, contract: str) -> bool:
    """Act on the next rows, or begin; answers whether there was anything to do."""
    place = own.execute(
        "SELECT version, seq FROM feed_place WHERE chain_id = %s AND contract = %s",
        (chain_id, contract),
    ).fetchone()
    own.commit()
    version, seq = place or (0, 0)
    # One snapshot, so that the rows and what they mean are of one moment.
    with feed.transaction():
        feed.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        shown = feed.execute(VERSION, (chain_id, contract)).fetchone()
        if shown is None:
            return False
        # Another ABI, address or start: its whole past is told anew.
        is_new = shown[0] != version
        if not is_new:
            try:
                with feed.transaction():
                    up_to, changes = read(feed, contract, FEED, (contract, chain_id, seq, ROWS))
            except psycopg.DatabaseError as error:
                if error.sqlstate != PRUNED:
                    raise
                is_new = True
        if is_new:
            up_to, changes = read(feed, contract, SNAPSHOT, (contract, chain_id))
    if is_new:
        begin(own, chain_id, contract, shown[0], up_to, changes)
        return True
    if up_to == 0:
        return False
    with own.transaction():
        moved = own.execute(MOVE, (up_to, chain_id, contract, version, seq))
        if moved.rowcount != 1:
            raise RuntimeError("somebody else acts in this place: run one consumer at a time")
        change(own, changes)
    return True


def read(
    feed: psycopg.Connection, contract: str, question: str, arguments: tuple[object, ...]
) -> tuple[int, Counter[bytes]]:
    """Up to which row it was read, 0 if there was none, and by how much each holder's balance changes with that."""
    history = sql.Identifier(f"{contract}_transfer_history")
    up_to = 0
    changes: Counter[bytes] = Counter()
    for seq, op, first, final, block_hash, is_ours in feed.execute(question, arguments).fetchall():
        up_to = seq
        if not is_ours:
            continue
        is_block = first == final and block_hash is not None
        query = sql.SQL(OF_BLOCK if is_block else OF_RANGE).format(history)
        sign = -1 if op == "retract" else 1
        # On the server's side, a portion at a time: a range can have very many.
        with feed.cursor(name="events") as events:
            events.execute(query, (first, block_hash if is_block else final))
            for sender, receiver, value in events:
                changes[sender] -= sign * int(value)
                changes[receiver] += sign * int(value)
    return up_to, changes


def begin(
    own: psycopg.Connection,
    chain_id: int,
    contract: str,
    version: int,
    seq: int,
    changes: Counter[bytes],
) -> None:
    """Forget everything and start with a snapshot; without one, at the feed's beginning."""
    with own.transaction():
        own.execute("DELETE FROM balance")
        own.execute(BEGIN, (chain_id, contract, version, seq))
        change(own, changes)


def change(own: psycopg.Connection, changes: Counter[bytes]) -> None:
    # In one order everywhere, so that two transactions never wait for one another.
    with own.cursor() as cursor:
        cursor.executemany(CHANGE, sorted(changes.items()))


def main() -> None:
    chain_id, contract = int(os.environ["CHAIN_ID"]), os.environ["CONTRACT"]
    with (
        psycopg.connect(os.environ["FEED_URL"]) as feed,
        psycopg.connect(os.environ["OWN_URL"]) as own,
    ):
        own.execute(TABLES)
        own.commit()
        while True:
            if not step(feed, own, chain_id, contract):
                time.sleep(IDLE_S)


if __name__ == "__main__":
    main()
