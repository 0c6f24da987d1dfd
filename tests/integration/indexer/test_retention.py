"""What is removed is what nobody needs: a snapshot and the rest of the feed rebuild whatever was believed later,
and Postgres lets nothing else go, whoever asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace as but

import asyncpg
import pytest
import pytest_asyncio

from daemon.embedded.valkey import EmbeddedValkey
from indexer import feed, lease, registry
from indexer import prune as pruning
from indexer.abi import Abi
from indexer.contract import Contract, Options
from indexer.errors import ConsumerMoved, FeedPruned, FeedShortened, ReplayRefused
from indexer.feed import FeedRow, Snapshot
from indexer.lease import fenced
from indexer.retention import Retention, RetentionSettings
from indexer.source import Source
from indexer.stream.replay import replay
from tests.conftest import Database
from tests.integration.indexer.feed_chain import (
    ABI,
    CHAIN_ID,
    TOKEN,
    FeedChain,
    Transfer,
    feed_chain,
    publish,
    token_contract,
)
from tests.integration.indexer.rig import KEY, Rig, new_rig

REFUSED = asyncpg.IntegrityConstraintViolationError
FORBIDDEN = asyncpg.InsufficientPrivilegeError
AT_ONCE = RetentionSettings(keep_s=0.0, snapshot_every_s=0.0, max_rows=7)
EVENT = "token_transfer"

# A row's block and place.
Believed = set[tuple[bytes, int]]


@pytest_asyncio.fixture(loop_scope="session")
async def chain(database: Database) -> AsyncIterator[FeedChain]:
    async with feed_chain(database.owner_dsn, database.daemon_dsn) as found:
        await found.open(token_contract())
        yield found


async def lived(chain: FeedChain) -> None:
    """Twelve blocks, of which eight are final; orphans at 3, at 6 and 7, and at 10."""
    await chain.grow(4)
    await chain.replace(1, 4, salt="b")
    await chain.replace(2, 3, salt="c")
    await chain.grow(3, finalized=7)
    await chain.replace(1, 2, salt="d", finalized=8)


async def lived_on(chain: FeedChain) -> None:
    await chain.grow(3)
    await chain.replace(1, 3, salt="b", finalized=4)


async def take(chain: FeedChain) -> int:
    async with fenced(chain.pool, chain.fence) as connection:
        seq: int = await connection.fetchval("SELECT chain.take_snapshot($1)", CHAIN_ID)
    return seq


async def prune(chain: FeedChain, to_seq: int, max_rows: int = 1000) -> int:
    async with fenced(chain.pool, chain.fence) as connection:
        removed: int = await connection.fetchval(
            "SELECT chain.prune($1, $2, $3)", CHAIN_ID, to_seq, max_rows
        )
    return removed


async def prune_all(chain: FeedChain, to_seq: int, max_rows: int = 1000) -> int:
    total = 0
    while removed := await prune(chain, to_seq, max_rows):
        total += removed
    return total


async def count(chain: FeedChain, what: str) -> int:
    found: int = await chain.owner.fetchval(f"SELECT count(*) FROM {what}")
    return found


async def state(chain: FeedChain) -> list[object]:
    """Everything that may be removed."""
    return [
        await chain.owner.fetch(f"SELECT * FROM {table} t ORDER BY t::text")
        for table in ("chain.feed", "chain.block", "chain.log", f"event.{EVENT}", "chain.snapshot")
    ]


async def canonical(chain: FeedChain, table: str) -> Believed:
    rows = await chain.owner.fetch(
        f"SELECT block_hash, log_index FROM event.{table} WHERE canonical"
    )
    return {(row[0], row[1]) for row in rows}


class Historian:
    """Writes down what is believed of each source at each commit, and holds replays against it."""

    def __init__(self, chain: FeedChain) -> None:
        self.chain = chain
        self.known: dict[int, dict[int, Believed]] = {}

    async def note(self) -> None:
        seq = await self.chain.owner.fetchval("SELECT feed_seq FROM chain.cursor")
        self.known[seq] = {
            source.source_id: await canonical(self.chain, _table(source))
            for source in await self.chain.joined()
        }

    async def check(self) -> int:
        """Replay from each snapshot that can be used; answers how many commits were compared."""
        compared = 0
        usable = "SELECT seq FROM chain.snapshot JOIN chain.pruned USING (chain_id) WHERE seq >= feed_from"
        for row in await self.chain.owner.fetch(usable):
            for source in await self.chain.joined():
                compared += await self._replay(row["seq"], source)
        return compared

    async def _replay(self, seq: int, source: Source) -> int:
        joined_seq = await self.chain.owner.fetchval(
            "SELECT joined_seq FROM chain.source WHERE source_id = $1", source.source_id
        )
        row = await self.chain.owner.fetchrow(
            """SELECT n.seq, n.finalized_number, n.hashes, s.start_block
               FROM chain.snapshot n JOIN chain.source s USING (chain_id)
               WHERE n.seq = $1 AND s.source_id = $2 AND s.joined_seq <= n.seq""",
            seq,
            source.source_id,
        )
        believed: Believed = set()
        snapshot = None if row is None else Snapshot(row[0], row[1], tuple(row[2]), row[3])
        for one in snapshot.rows(source.source_id) if snapshot else ():
            assert one.speaks_for(source.source_id, joined_seq)
            await self._act(believed, one, source)
        compared = self._compare(seq, source, believed)
        for one in await feed.read(self.chain.owner, CHAIN_ID, seq, 100_000):
            if one.speaks_for(source.source_id, joined_seq):
                await self._act(believed, one, source)
            compared += self._compare(one.seq, source, believed)
        return compared

    def _compare(self, seq: int, source: Source, believed: Believed) -> int:
        expected = self.known.get(seq, {}).get(source.source_id)
        assert expected is None or believed == expected, f"{source.name} at seq {seq}"
        return expected is not None

    async def _act(self, believed: Believed, row: FeedRow, source: Source) -> None:
        if row.op == "finalize":
            return
        found = await self.chain.owner.fetch(
            f"SELECT block_hash, log_index FROM event.{_table(source)} WHERE {row.rows}",
            *row.arguments,
        )
        rows = {(one[0], one[1]) for one in found}
        if row.op == "apply":
            assert believed.isdisjoint(rows), f"told again at seq {row.seq}"
            believed |= rows
        else:
            assert believed >= rows, f"taken back untold at seq {row.seq}"
            believed -= rows


def _table(source: Source) -> str:
    return next(table for table in source.tables if "_transfer" in table)


class TestASnapshotAndTheRestOfTheFeed:
    @pytest.mark.parametrize("seed", range(8))
    async def test_rebuild_the_view_at_every_later_commit(
        self, chain: FeedChain, seed: int
    ) -> None:
        """Over reorgs back and forth, leaps, contracts that join late and versions that take over."""
        dice = random.Random(seed)
        historian = Historian(chain)
        retention = Retention(chain.pool, CHAIN_ID, AT_ONCE)
        compared = 0
        for step in range(40):
            await _live(chain, dice)
            await historian.note()
            if dice.random() < 0.3:
                while await retention.step(chain.fence):
                    pass
            await _read_on(chain, dice)
            if step % 6 == 5:
                compared += await historian.check()
        await chain.owner.execute("UPDATE chain.consumer SET seq = feed_seq FROM chain.cursor")
        while await retention.step(chain.fence):
            pass
        assert await historian.check() > 0
        assert compared > 0
        assert await chain.owner.fetchval("SELECT feed_from FROM chain.pruned") > 10
        final = await chain.owner.fetchval(
            "SELECT max(finalized_number) FROM chain.snapshot JOIN chain.pruned ON seq = feed_from"
        )
        for name in ("token_transfer", "late_transfer"):
            if await chain.owner.fetchval("SELECT to_regclass($1) IS NOT NULL", f"event.{name}"):
                orphans = f"event.{name} WHERE NOT canonical AND block_number <= {final}"
                assert await count(chain, orphans) == 0

    async def test_can_be_read_in_v1_as_rows_of_the_feed(
        self, chain: FeedChain, database_reader: asyncpg.Connection
    ) -> None:
        await registry.register(chain.owner, [token_contract(), token_contract("late")])
        await lived(chain)
        seq = await take(chain)
        assert await prune_all(chain, seq) > 0
        # Joined after the snapshot: it is told by the feed that is left.
        [late] = [source for source in await chain.sources() if not source.joined]
        await chain.backfill(late, 0, 8)
        await chain.join(late)
        rows = await database_reader.fetch(
            "SELECT * FROM v1.snapshot ORDER BY source IS NULL, from_block"
        )
        blocks = [(header.number, header.hash) for header in chain.headers[9:]]
        assert [
            (
                row["seq"],
                row["op"],
                row["source"],
                row["from_block"],
                row["to_block"],
                row["block_hash"],
            )
            for row in rows
        ] == [
            (seq, "apply", "token", 0, 8, None),
            (seq, "finalize", None, 0, 8, chain.headers[8].hash),
            *((seq, "apply", None, number, number, found) for number, found in blocks),
        ]
        assert {tuple(row["contracts"]) for row in rows} == {("token",)}
        [after] = await database_reader.fetch(
            "SELECT * FROM v1.feed_after($1, $2, 1)", CHAIN_ID, seq
        )
        assert (after["seq"], after["source"], after["contracts"]) == (seq + 1, "late", ["late"])

    async def test_speak_for_a_source_that_joined_at_the_very_snapshot(
        self, chain: FeedChain
    ) -> None:
        await chain.grow(6, finalized=3)
        await registry.register(chain.owner, [token_contract(), token_contract("late")])
        [late] = [source for source in await chain.sources() if not source.joined]
        await chain.backfill(late, 0, 3)
        await chain.join(late)
        historian = Historian(chain)
        await historian.note()
        await take(chain)
        await chain.replace(2, 3, salt="b")
        await historian.note()
        assert await historian.check() == 4


async def _read_on(chain: FeedChain, dice: random.Random) -> None:
    """A consumer that is behind, and holds up removal."""
    position = await feed.position(chain.owner, "slow", CHAIN_ID)
    end = await chain.owner.fetchval("SELECT feed_seq FROM chain.cursor")
    await feed.advance(chain.owner, "slow", CHAIN_ID, position, dice.randint(position, end))


async def _live(chain: FeedChain, dice: random.Random) -> None:
    some = [Transfer(dice.randrange(5), dice.randrange(5), 1) for _ in range(dice.randrange(3))]
    head = len(chain.headers) - 1
    final = await chain.owner.fetchval("SELECT finalized_number FROM chain.cursor")
    depth = head - (-1 if final is None else final)
    chance = dice.random()
    if head < 2 or chance < 0.3:
        await chain.grow(dice.randrange(1, 4), some)
    elif chance < 0.7 and depth > 1:
        # Few salts, so that branches come back.
        gone = dice.randrange(1, depth)
        await chain.replace(gone, gone + dice.randrange(2), some, salt=dice.choice("ab"))
    elif chance < 0.85:
        await chain.grow(1, some, finalized=dice.randrange(0 if final is None else final, head + 1))
    elif chance < 0.9:
        await chain.leap(3, some)
    else:
        await _join(chain, dice)


async def _join(chain: FeedChain, dice: random.Random) -> None:
    """A late contract, or another version of it that takes its place."""
    await registry.register(
        chain.owner, [token_contract(), token_contract("late", start_block=dice.randrange(3))]
    )
    for source in await chain.sources():
        if not source.joined:
            final = await chain.owner.fetchval("SELECT finalized_number FROM chain.cursor")
            last = -1 if final is None else dice.randrange(final + 1)
            if source.next_block <= last:
                await chain.backfill(source, source.next_block, last)
            old = [one for one in await chain.joined() if one.name == source.name]
            await chain.join(source, replaces=old)
            if source.version > 1:
                await publish(chain, source)


class TestPostgresRefuses:
    """Each as the daemon's role, inside its fence, unless it says otherwise."""

    @pytest_asyncio.fixture(loop_scope="session", autouse=True)
    async def _life(self, chain: FeedChain) -> None:
        await lived(chain)

    async def _refused(
        self, chain: FeedChain, error: type[Exception], statement: str, *values: object
    ) -> None:
        before = await state(chain)
        with pytest.raises(error):
            async with fenced(chain.pool, chain.fence) as connection:
                await connection.execute(statement, *values)
        assert await state(chain) == before

    async def test_to_prune_without_a_snapshot(self, chain: FeedChain) -> None:
        await self._refused(chain, REFUSED, "SELECT chain.prune($1, 5, 10)", CHAIN_ID)
        seq = await take(chain)
        await self._refused(chain, REFUSED, f"SELECT chain.prune($1, {seq - 1}, 10)", CHAIN_ID)

    async def test_to_prune_past_a_consumer(self, chain: FeedChain) -> None:
        seq = await take(chain)
        await feed.position(chain.owner, "slow", CHAIN_ID)
        for position in (0, 1, seq - 1):
            await chain.owner.execute("UPDATE chain.consumer SET seq = $1", position)
            await self._refused(chain, REFUSED, f"SELECT chain.prune($1, {seq}, 1)", CHAIN_ID)
        await chain.owner.execute("UPDATE chain.consumer SET seq = $1", seq)
        assert await prune(chain, seq, 1) == 1

    async def test_to_prune_in_a_view_of_the_past(self, chain: FeedChain) -> None:
        """It would not see a consumer that has begun since."""
        seq = await take(chain)
        async with chain.pool.acquire() as connection:
            with pytest.raises(REFUSED, match="READ COMMITTED"):
                async with connection.transaction(isolation="repeatable_read"):
                    await lease.enter(connection, chain.fence)
                    await feed.position(chain.owner, "new", CHAIN_ID)
                    await chain.owner.execute("UPDATE chain.consumer SET seq = $1", seq)
                    await connection.execute(f"SELECT chain.prune({CHAIN_ID}, {seq}, 10)")

    async def test_to_prune_more_than_is_bounded(self, chain: FeedChain) -> None:
        seq = await take(chain)
        for number in (0, -1, 10_001):
            await self._refused(
                chain,
                asyncpg.InvalidParameterValueError,
                f"SELECT chain.prune($1, {seq}, {number})",
                CHAIN_ID,
            )

    async def test_to_prune_or_take_a_snapshot_without_the_fence(self, chain: FeedChain) -> None:
        seq = await take(chain)
        for statement in (
            f"chain.prune({CHAIN_ID}, {seq}, 10)",
            f"chain.take_snapshot({CHAIN_ID})",
        ):
            for fence in ("", "operate", "follow:1"):
                async with chain.pool.acquire() as connection, connection.transaction():
                    await connection.execute(
                        "SELECT set_config('landbridge.fence', $1, true)", fence
                    )
                    with pytest.raises(asyncpg.PostgresError) as raised:
                        await connection.execute(f"SELECT {statement}")
                    assert raised.value.sqlstate == "LB001"
                    break

    async def test_to_delete_by_hand_whatever_is_set(self, chain: FeedChain) -> None:
        """No setting of a session lets the daemon's role through."""
        seq = await take(chain)
        tables = ("feed", "block", "log", "reorg", "snapshot", "pruned", "consumer", "source")
        for table in (*(f"chain.{name}" for name in tables), f"event.{EVENT}"):
            await self._refused(chain, FORBIDDEN, f"DELETE FROM {table}")
        for statement in (
            "INSERT INTO chain.snapshot SELECT * FROM chain.snapshot",
            "UPDATE chain.snapshot SET seq = seq + 1",
            "UPDATE chain.pruned SET feed_from = 3",
            "UPDATE chain.source SET evidence = false",
            "UPDATE chain.source SET dropped_at = now()",
            "SET session_replication_role = replica",
            "SELECT chain.remove_orphans('chain.feed', 'seq', 'true', 100, 10)",
            "ALTER TABLE chain.feed DISABLE TRIGGER ALL",
        ):
            await self._refused(chain, FORBIDDEN, statement)
        assert await prune(chain, seq, 2) == 2

    async def test_the_owner_to_delete_more_than_may_go(self, chain: FeedChain) -> None:
        seq = await take(chain)
        await chain.replace(1, 2, salt="e")
        statements = [
            # Not below the snapshot, not the oldest, with a gap.
            f"DELETE FROM chain.feed WHERE seq <= {seq}",
            "DELETE FROM chain.feed WHERE seq BETWEEN 2 AND 4",
            "DELETE FROM chain.feed WHERE seq IN (1, 3)",
            # The feed still speaks of them.
            f"DELETE FROM event.{EVENT} WHERE NOT canonical AND block_number = 3",
            "DELETE FROM chain.block WHERE NOT canonical AND number = 3",
            "DELETE FROM chain.snapshot",
            "UPDATE chain.pruned SET feed_from = 3",
            "UPDATE chain.snapshot SET hashes = hashes",
            "DELETE FROM chain.pruned",
        ]
        for statement in statements:
            await self._owner_refused(chain, statement)
        while await chain.owner.fetchval("SELECT feed_from FROM chain.pruned") < seq:
            await prune(chain, seq)
        for table, height in ((f"event.{EVENT}", "block_number"), ("chain.block", "number")):
            await self._owner_refused(
                chain, f"DELETE FROM {table} WHERE canonical AND {height} = 3"
            )
            # Not final at the snapshot, and orphaned since.
            await self._owner_refused(
                chain, f"DELETE FROM {table} WHERE NOT canonical AND {height} > 8"
            )
            status = await chain.owner.execute(
                f"DELETE FROM {table} WHERE NOT canonical AND {height} = 3"
            )
            assert status == "DELETE 1"
        await self._owner_refused(chain, "DELETE FROM chain.snapshot")

    async def _owner_refused(self, chain: FeedChain, statement: str) -> None:
        before = await state(chain)
        with pytest.raises(REFUSED):
            async with chain.owner.transaction():
                await chain.owner.execute(pruning.FENCE, f"follow:{CHAIN_ID}")
                await chain.owner.execute(statement)
        assert await state(chain) == before

    async def test_a_consumer_to_begin_where_the_feed_no_longer_does(
        self, chain: FeedChain
    ) -> None:
        seq = await take(chain)
        await prune_all(chain, seq)
        with pytest.raises(FeedPruned, match=f"Row 1 of the feed of chain {CHAIN_ID} was removed"):
            await feed.position(chain.owner, "late", CHAIN_ID)
        assert await feed.position(chain.owner, "late", CHAIN_ID, new_at_seq=seq - 1) == seq - 1
        with pytest.raises(FeedPruned, match=f"its oldest row is {seq}"):
            await feed.read(chain.owner, CHAIN_ID, 0, 10)
        with pytest.raises(asyncpg.PostgresError, match=f"begins at seq {seq}") as raised:
            await chain.owner.fetch("SELECT * FROM v1.feed_after($1, 0, 10)", CHAIN_ID)
        assert raised.value.sqlstate == feed.PRUNED_SQLSTATE

    async def test_pruning_and_a_consumer_that_begins_at_once(self, chain: FeedChain) -> None:
        """Whoever comes second waits, and sees what the first has done."""
        seq = await take(chain)
        async with chain.owner.transaction():
            await feed.position(chain.owner, "first", CHAIN_ID)
            removal = asyncio.create_task(prune(chain, seq))
            await asyncio.sleep(0.1)
            assert not removal.done()
        with pytest.raises(REFUSED):
            await removal
        await chain.owner.execute("UPDATE chain.consumer SET seq = $1", seq)
        async with fenced(chain.pool, chain.fence) as connection:
            await connection.execute(f"SELECT chain.prune({CHAIN_ID}, {seq}, 1)")
            entry = asyncio.create_task(feed.position(chain.owner, "second", CHAIN_ID))
            await asyncio.sleep(0.1)
            assert not entry.done()
        with pytest.raises(FeedPruned):
            await entry

    async def test_a_bridge_that_begins_during_a_removal_begins_with_the_snapshot(
        self, chain: FeedChain
    ) -> None:
        seq = await take(chain)
        source_id = (await chain.sources())[0].source_id
        async with fenced(chain.pool, chain.fence) as connection:
            await connection.execute(f"SELECT chain.prune({CHAIN_ID}, {seq}, 1)")
            entry = asyncio.create_task(feed.enter(chain.owner, "bridge", CHAIN_ID, source_id))
            await asyncio.sleep(0.1)
            assert not entry.done()
        with pytest.raises(FeedShortened):
            await entry
        place, rows = await feed.enter(chain.owner, "bridge", CHAIN_ID, source_id)
        assert place == seq
        assert rows


class TestRemoval:
    async def test_is_taken_up_after_a_kill_at_any_step(self, chain: FeedChain) -> None:
        await lived(chain)
        historian = Historian(chain)
        await historian.note()
        before = await canonical(chain, EVENT)
        steps = 0
        while True:
            # Each time another process, which knows nothing, and whose last step was undone.
            retention = Retention(chain.pool, CHAIN_ID, but(AT_ONCE, max_rows=2))
            with pytest.raises(ZeroDivisionError):
                async with fenced(chain.pool, chain.fence) as connection:
                    seq = await connection.fetchval("SELECT chain.take_snapshot($1)", CHAIN_ID)
                    await connection.execute("SELECT chain.prune($1, $2, 2)", CHAIN_ID, seq)
                    raise ZeroDivisionError
            if not await retention.step(chain.fence):
                break
            steps += 1
            assert await canonical(chain, EVENT) == before
            assert await historian.check() > 0
        assert steps > 5
        assert await count(chain, f"event.{EVENT} WHERE NOT canonical AND block_number <= 8") == 0
        assert await count(chain, "chain.block WHERE NOT canonical AND number <= 8") == 0
        assert await count(chain, f"event.{EVENT} WHERE NOT canonical") > 0

    async def test_shows_a_reader_no_change(self, chain: FeedChain, database: Database) -> None:
        """One that asks with single statements, all the time."""
        await lived(chain)
        seq = await take(chain)
        view = f"SELECT * FROM v1.{EVENT} ORDER BY block_number, log_index"
        reader = await asyncpg.connect(database.owner_dsn)
        expected, looks, done = await reader.fetch(view), 0, asyncio.Event()

        async def look() -> None:
            nonlocal looks
            while not done.is_set():
                assert await reader.fetch(view) == expected
                looks += 1

        looking = asyncio.create_task(look())
        while await prune(chain, seq, 1):
            pass
        done.set()
        await looking
        await reader.close()
        assert looks > 5

    async def test_keeps_what_is_younger_and_what_is_not_passed(self, chain: FeedChain) -> None:
        await lived(chain)
        young = Retention(chain.pool, CHAIN_ID, but(AT_ONCE, keep_s=3600.0))
        assert not await young.step(chain.fence)
        assert await count(chain, "chain.snapshot") == 1
        first = await chain.owner.fetchval("SELECT seq FROM chain.snapshot")
        await feed.position(chain.owner, "slow", CHAIN_ID)
        await chain.owner.execute("UPDATE chain.consumer SET seq = $1", first)
        await chain.grow(3, finalized=11)
        retention = Retention(chain.pool, CHAIN_ID, AT_ONCE)
        while await retention.step(chain.fence):
            pass
        # There is a newer snapshot, which the consumer has not passed.
        assert await count(chain, "chain.snapshot") == 2
        assert await chain.owner.fetchval("SELECT feed_from FROM chain.pruned") == first
        await feed.advance(chain.owner, "slow", CHAIN_ID, first, first + 1)
        assert not await retention.step(chain.fence)
        end = await chain.owner.fetchval("SELECT feed_seq FROM chain.cursor")
        await feed.advance(chain.owner, "slow", CHAIN_ID, first + 1, end)
        while await retention.step(chain.fence):
            pass
        assert await chain.owner.fetchval("SELECT feed_from FROM chain.pruned") == end
        # The older one is of no use any more.
        assert await count(chain, "chain.snapshot") == 1

    async def test_waits_until_something_is_final_and_happens(self, chain: FeedChain) -> None:
        retention = Retention(chain.pool, CHAIN_ID, AT_ONCE)
        assert not await retention.step(chain.fence)
        await chain.grow(3)
        assert not await retention.step(chain.fence)
        assert await count(chain, "chain.snapshot") == 0
        await chain.grow(1, finalized=1)
        for _ in range(5):
            await retention.step(chain.fence)
        assert await count(chain, "chain.snapshot") == 1

    async def test_leaves_everything_of_a_contract_that_is_kept_raw(self, chain: FeedChain) -> None:
        raw = Contract.from_abi(
            "proof", CHAIN_ID, ABI, (TOKEN,), start_block=0, options=Options(raw=True)
        )
        await registry.register(chain.owner, [token_contract(), raw])
        [source] = [source for source in await chain.sources() if not source.joined]
        await chain.join(source)
        await lived(chain)
        kept = [
            await chain.owner.fetch(f"SELECT * FROM {table} t ORDER BY t::text")
            for table in ("event.proof_transfer", "chain.log", "chain.block", "chain.reorg")
        ]
        await prune_all(chain, await take(chain))
        assert await count(chain, f"event.{EVENT} WHERE NOT canonical AND block_number <= 8") == 0
        assert kept == [
            await chain.owner.fetch(f"SELECT * FROM {table} t ORDER BY t::text")
            for table in ("event.proof_transfer", "chain.log", "chain.block", "chain.reorg")
        ]
        for table in ("event.proof_transfer", "chain.log", "chain.block"):
            with pytest.raises(REFUSED):
                await chain.owner.execute(f"DELETE FROM {table} WHERE NOT canonical")

    async def test_reaches_balances_partitions_and_undecoded_logs(self, database: Database) -> None:
        options = Options(balances=True, partition_blocks=1000)
        contract = Contract.from_abi(
            "coin", CHAIN_ID, ABI, (TOKEN,), start_block=0, options=options
        )
        async with feed_chain(database.owner_dsn, database.daemon_dsn) as chain:
            await registry.register(chain.owner, [contract])
            await chain.owner.execute("SELECT chain.make_partitions(1, 2000)")
            await chain.open(contract)
            await lived(chain)
            for table in ("event.coin_transfer", "event.coin_balance_change"):
                assert await count(chain, f"{table} WHERE NOT canonical AND block_number <= 8") > 0
            seq = await take(chain)
            with pytest.raises(REFUSED):
                await chain.owner.execute(
                    "DELETE FROM event_part.s1_1_0 WHERE NOT canonical AND block_number <= 8"
                )
            await prune_all(chain, seq, 1)
            for table in ("event.coin_transfer", "event.coin_balance_change"):
                assert await count(chain, f"{table} WHERE NOT canonical AND block_number <= 8") == 0
                assert await count(chain, f"{table} WHERE canonical") > 8


class TestANewConsumer:
    async def test_of_one_source_begins_with_the_snapshot_and_acts_on_it_once(
        self, chain: FeedChain
    ) -> None:
        [source] = await chain.joined()
        await lived(chain)
        seq = await take(chain)
        await prune_all(chain, seq)
        position, rows = await feed.enter(chain.owner, "new", CHAIN_ID, source.source_id)
        assert position == seq
        assert [(row.from_block, row.to_block, row.block_hash) for row in rows] == [
            (0, 8, None),
            *((header.number, header.number, header.hash) for header in chain.headers[9:]),
        ]
        assert await feed.enter(chain.owner, "new", CHAIN_ID, source.source_id) == (seq, [])
        with pytest.raises(ConsumerMoved):
            await feed.advance(chain.owner, "new", CHAIN_ID, 0, 1)

    async def test_begins_at_the_first_row_where_nothing_was_removed(
        self, chain: FeedChain
    ) -> None:
        [source] = await chain.joined()
        await lived(chain)
        await take(chain)
        assert await feed.enter(chain.owner, "new", CHAIN_ID, source.source_id) == (0, [])


class TestTheRelay:
    @pytest_asyncio.fixture(loop_scope="session")
    async def rig(self, database: Database, valkey: EmbeddedValkey) -> AsyncIterator[Rig]:
        async with new_rig(database, valkey.url) as found:
            await found.chain.open(token_contract())
            yield found

    async def test_holds_the_rows_that_it_has_not_written(self, rig: Rig) -> None:
        await lived(rig.chain)
        await rig.run()
        position = await rig.position()
        await rig.chain.grow(2, finalized=9)
        with pytest.raises(REFUSED):
            await prune(rig.chain, await take(rig.chain))
        await rig.run()
        assert await prune_all(rig.chain, await take(rig.chain)) > position
        await rig.chain.grow(1)
        await rig.run()
        assert await rig.ids() == [f"{seq}-0" for seq in range(1, position + 5)]

    async def test_that_is_new_begins_with_the_oldest_row(self, rig: Rig) -> None:
        await lived(rig.chain)
        seq = await take(rig.chain)
        await prune_all(rig.chain, seq)
        await rig.chain.grow(2)
        await rig.run()
        assert await rig.ids() == [f"{seq}-0", f"{seq + 1}-0", f"{seq + 2}-0"]

    async def test_fills_an_emptied_stream_from_the_oldest_row(self, rig: Rig) -> None:
        await lived(rig.chain)
        await rig.run()
        seq = await take(rig.chain)
        await prune_all(rig.chain, seq)
        await rig.redis.flushall()
        rig.restart()
        await rig.run()
        assert await rig.ids() == [f"{seq}-0"]
        await rig.chain.grow(1)
        await rig.run()
        assert await rig.ids() == [f"{seq}-0", f"{seq + 1}-0"]

    async def test_says_so_when_its_stream_fell_back_too_far(self, rig: Rig) -> None:
        await rig.chain.grow(1)
        await rig.run()
        [(identifier, fields)] = await rig.raw()
        await lived_on(rig.chain)
        await rig.run()
        await prune_all(rig.chain, await take(rig.chain))
        await rig.redis.delete(KEY)
        await rig.redis.xadd(KEY, fields, id=identifier)  # type: ignore[arg-type]
        rig.restart()
        with pytest.raises(FeedPruned, match="Row 1 of the feed"):
            await rig.run()
        assert await rig.ids() == ["1-0"]

    async def test_a_replay_from_before_is_refused(self, rig: Rig) -> None:
        await lived(rig.chain)
        seq = await take(rig.chain)
        await prune_all(rig.chain, seq)
        with pytest.raises(ReplayRefused, match=f"row 1 was dropped.*is {seq};"):
            await replay(rig.chain.pool, rig.redis, CHAIN_ID, 1, "again")
        assert await replay(rig.chain.pool, rig.redis, CHAIN_ID, seq, "again") == seq


class TestTheTablesOfAReplacedVersion:
    async def test_may_be_dropped_once_the_feed_does_not_speak_of_it(
        self, chain: FeedChain
    ) -> None:
        await lived(chain)
        [old] = await chain.sources()
        changed = token_contract(start_block=2)
        await registry.register(chain.owner, [changed])
        [new] = [source for source in await chain.sources() if not source.joined]
        await chain.backfill(new, 2, 8)
        await chain.join(new, replaces=[old])
        version = pruning.Version(old.source_id, old.name, 1, old.tables)
        with pytest.raises(REFUSED):
            await pruning.drop(chain.owner, CHAIN_ID, version)
        await publish(chain, new)
        await chain.grow(2)
        seq = await take(chain)
        with pytest.raises(REFUSED):
            await pruning.drop(chain.owner, CHAIN_ID, version)
        assert (await pruning.plan(chain.owner, CHAIN_ID, 0.0)).versions == (version,)
        await prune_all(chain, seq)
        assert await pruning.drop(chain.owner, CHAIN_ID, version)
        assert await chain.owner.fetchval("SELECT to_regclass('event.token_transfer') IS NULL")
        assert await pruning.replaced(chain.owner, CHAIN_ID, seq) == ()
        await chain.grow(2, finalized=12)
        assert await prune_all(chain, await take(chain)) > 0
        with pytest.raises(REFUSED):
            await pruning.drop(chain.owner, CHAIN_ID, version)

    async def test_stay_while_a_view_shows_one_of_them(self, chain: FeedChain) -> None:
        """An event that the new version does not have keeps its view."""
        await lived(chain)
        [old] = await chain.sources()
        fewer: Abi = ABI[:1]
        await registry.register(
            chain.owner, [Contract.from_abi("token", CHAIN_ID, fewer, (TOKEN,), start_block=0)]
        )
        [new] = [source for source in await chain.sources() if not source.joined]
        await chain.join(new, replaces=[old])
        await publish(chain, new)
        await chain.grow(1)
        await prune_all(chain, await take(chain))
        version = pruning.Version(old.source_id, old.name, 1, old.tables)
        assert not await pruning.drop(chain.owner, CHAIN_ID, version)
        assert await chain.owner.fetchval("SELECT dropped_at IS NULL FROM chain.source LIMIT 1")


async def test_the_plan_counts_what_goes(chain: FeedChain) -> None:
    await lived(chain)
    plan = await pruning.plan_with_new_snapshot(chain.owner, CHAIN_ID, 0.0)
    assert await count(chain, "chain.snapshot") == 0
    assert await pruning.plan(chain.owner, CHAIN_ID, 0.0) == pruning.Plan(None)
    assert plan.to_seq == await chain.owner.fetchval("SELECT feed_seq FROM chain.cursor")
    seq = await pruning.take_snapshot(chain.owner, CHAIN_ID)
    assert seq == plan.to_seq == plan.feed_rows + 1
    total = 0
    while removed := await pruning.remove_some(chain.owner, CHAIN_ID, seq):
        total += removed
    assert total == plan.feed_rows + sum(number for _, number in plan.orphans)
    assert dict(plan.orphans)["chain.block"] == 3
    assert await pruning.plan(chain.owner, CHAIN_ID, 0.0) == pruning.Plan(seq)
    await chain.grow(1)
    await feed.position(chain.owner, "slow", CHAIN_ID, new_at_seq=seq)
    plan = await pruning.plan_with_new_snapshot(chain.owner, CHAIN_ID, 0.0)
    assert plan == pruning.Plan(seq, ("slow",))
