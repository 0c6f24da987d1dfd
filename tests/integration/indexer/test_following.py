"""A scripted chain, followed through everything that a chain can do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import replace
from typing import Any

import asyncpg
import msgspec
import pytest

from indexer import bloom, feed, lease, registry
from indexer.block import Header
from indexer.errors import (
    CursorMoved,
    DatabaseUnavailable,
    DeepReorg,
    LeaseLost,
    LogsMissing,
    RpcUnavailable,
    SourcesDiffer,
    WrongChain,
    WrongGenesis,
)
from indexer.finality import NodeFinality
from indexer.follower import FollowerSettings
from indexer.lease import Fence
from indexer.provider import Provider
from tests.integration.indexer.conftest import Books, Following, following, token_contract
from tests.integration.indexer.cut_off import CutOff
from tests.integration.indexer.scripted_node import (
    CHAIN_ID,
    TOKEN,
    ScriptedNode,
    sent_data,
    text,
)


async def expect_agreement(books: Books, node: ScriptedNode) -> None:
    """Blocks, logs and decoded events are those of the node's chain, and no others."""
    start = await books.owner.fetchval("SELECT start_block FROM chain.cursor")
    assert await books.hashes() == [block.hash for block in node.chain[start:]]
    wanted = [(block.hash, index) for block in node.chain for index in range(len(block.logs))]
    assert [(row["block_hash"], row["log_index"]) for row in await books.events()] == wanted
    logs = await books.owner.fetch(
        "SELECT block_hash, log_index FROM chain.log WHERE canonical ORDER BY block_number, log_index"
    )
    assert [tuple(row) for row in logs] == wanted


async def test_events_are_decoded_into_typed_columns(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.append(node.make(node.head.hash, 1, "a", (sent_data(2**256 - 1, "é".encode()),)))
    result = await follower.step()
    assert (result.kind, result.applied_blocks, result.events) == ("extended", 2, 1)
    [row] = await books.events()
    assert (row["from"], row["to"]) == (bytes([1]) * 20, bytes([2]) * 20)
    assert (int(row["value"]), row["note"], row["finality"]) == (2**256 - 1, "é", "pending")
    assert (row["ordinal"], row["address"]) == (0, TOKEN)


async def test_a_long_chain_is_caught_up_in_chunks_and_finalized_on_the_way(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(3)
    await follower.settle()
    node.grow(150, logs=0)
    node.finalized = 50
    first = await follower.step()
    assert (first.applied_blocks, first.finalized_number, first.more) == (64, 50, True)
    await follower.settle()
    assert await books.owner.fetchval("SELECT finalized_number FROM chain.cursor") == 50
    await expect_agreement(books, node)


async def test_a_sibling_at_the_same_height_replaces_our_head(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(5)
    await follower.settle()
    node.fork(1, 1, "b")
    result = await follower.step()
    assert (result.kind, result.retracted_blocks, result.applied_blocks) == ("rolled_back", 1, 1)
    await expect_agreement(books, node)


@pytest.mark.parametrize(("depth", "count"), [(1, 3), (4, 1), (4, 4), (3, 9), (5, 80)])
async def test_a_fork_to_any_height_is_followed_in_one_step(
    books: Books, node: ScriptedNode, follower: Following, depth: int, count: int
) -> None:
    node.grow(6)
    await follower.settle()
    node.fork(depth, count, "b")
    result = await follower.step()
    assert (result.kind, result.retracted_blocks) == ("rolled_back", depth)
    await follower.settle()
    await expect_agreement(books, node)
    [reorg] = await books.owner.fetch("SELECT * FROM chain.reorg")
    assert (reorg["depth_blocks"], reorg["ancestor_number"]) == (depth, 6 - depth)


async def test_blocks_that_come_back_are_flagged_again_and_not_stored_twice(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(5)
    await follower.settle()
    branch_a = list(node.chain)
    node.fork(2, 3, "b")
    await follower.settle()
    node.switch(branch_a)
    node.grow(2)
    await follower.settle()
    await expect_agreement(books, node)
    assert await books.owner.fetchval("SELECT count(*) FROM chain.block") == 8 + 3
    assert await books.owner.fetchval("SELECT count(*) FROM chain.reorg") == 2


async def test_a_transaction_mined_again_elsewhere_is_one_event(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.append(node.make(node.head.hash, 1, "a", (sent_data(7),), tx="one"))
    await follower.settle()
    genesis = node.chain[:1]
    node.switch(genesis)
    node.append(node.make(node.head.hash, 1, "b", (sent_data(7),), tx="one"))
    await follower.settle()
    [event] = await books.events()
    stored = await books.owner.fetch("SELECT tx_hash, ordinal FROM event.token_sent")
    assert [tuple(row) for row in stored] == [(event["tx_hash"], 0)] * 2


async def test_a_fork_that_happened_while_down_rolls_back_only_the_fork(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(10)
    node.finalized = 4
    await follower.settle()
    node.fork(3, 6, "b")
    async with following(books, [token_contract()], node.url) as restarted:
        result = await restarted.step()
        await restarted.settle()
    assert result.retracted_blocks == 3
    await expect_agreement(books, node)


async def test_a_fork_below_the_first_stored_block_starts_over(
    books: Books, node: ScriptedNode
) -> None:
    """Nothing is final yet, so nothing stands in the way."""
    node.grow(6)
    node.knows_finality = False
    await registry.register(books.owner, [token_contract()])
    async with following(books, [token_contract()], node.url) as late:
        await late.settle()
        node.chain.clear()
        node.append(node.make(bytes(32), 0, "genesis"))
        node.grow(7, "b")
        await late.settle()
    await expect_agreement(books, node)


async def test_a_fork_below_finalized_is_fatal_and_writes_nothing(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(8)
    node.finalized = 5
    await follower.settle()
    before = await books.snapshot()
    node.finalized = 0
    node.fork(5, 9, "b")
    with pytest.raises(DeepReorg, match="block 5"):
        await follower.step()
    assert await books.snapshot() == before


async def test_a_node_that_lags_is_no_reorg(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(8)
    await follower.settle()
    whole = list(node.chain)
    feed_before = await books.owner.fetch("SELECT * FROM chain.feed")
    node.switch(whole[:5])
    assert (await follower.step()).kind == "behind"
    assert await books.hashes() == [block.hash for block in whole]
    assert await books.owner.fetch("SELECT * FROM chain.feed") == feed_before


async def test_a_node_that_hides_logs_is_asked_again_and_never_believed(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(3)
    node.hidden_logs = node.hidden_receipts = True
    with pytest.raises(LogsMissing):
        await follower.step()
    assert await books.hashes() == []
    node.hidden_receipts = False
    await follower.settle()
    await expect_agreement(books, node)


async def test_a_false_positive_of_the_bloom_is_proved_empty_and_followed(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(1)
    block = node.chain[1]
    # Another contract's log whose topics happen to set all three bits of our address.
    topics = covering(bloom.mask(TOKEN))
    lookalike = msgspec.structs.replace(block.logs[0], address=text(bytes([9]) * 20), topics=topics)
    disguised = replace(block, logs=(lookalike,))
    assert bloom.may_contain(bloom.of_logs(disguised.logs), [bloom.mask(TOKEN)])
    node.chain[1] = node.known[block.hash] = disguised
    node.hidden_logs = True
    await follower.settle()
    assert await books.hashes() == [one.hash for one in node.chain]
    assert await books.events() == []
    assert "eth_getBlockReceipts" in node.asked


def covering(bits: int) -> tuple[str, ...]:
    """Topics whose blooms together have those bits."""
    topics: list[str] = []
    for number in range(100_000):
        topic = number.to_bytes(32, "big")
        if bloom.mask(topic) & bits:
            topics.append(text(topic))
            bits &= ~bloom.mask(topic)
        if not bits:
            break
    return tuple(topics)


async def test_a_hostile_log_is_kept_raw_and_stops_nothing(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    hostile = (sent_data(1, b"a\0b"), sent_data(2, b"\xff\xfe"), b"", sent_data(3))
    node.append(node.make(node.head.hash, 1, "a", hostile))
    node.grow(1)
    result = await follower.step()
    assert (result.events, result.undecoded_logs) == (2, 3)
    assert [int(row["value"]) for row in await books.events()] == [3, 2000]
    kept = await books.owner.fetch(
        "SELECT decode_error FROM chain.log ORDER BY block_number, log_index"
    )
    assert [row["decode_error"] is None for row in kept] == [False, False, False, True, True]


async def test_replaying_the_feed_gives_the_canonical_chain_at_every_prefix(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    history: dict[int, list[bytes]] = {}

    async def record() -> None:
        seq = await books.owner.fetchval("SELECT feed_seq FROM chain.cursor")
        history[seq] = await books.hashes()

    for depth, count, salt in ((0, 4, "a"), (2, 3, "b"), (1, 1, "c"), (3, 5, "a"), (2, 2, "b")):
        node.fork(depth, count, salt)
        node.finalized = max(0, node.head.number - 6)
        while True:
            result = await follower.step()
            await record()
            if not result.more:
                break
    rows = await feed.read(books.owner, CHAIN_ID, 0, 1000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    replayed: list[bytes] = []
    for row in rows:
        if row.op == "apply":
            assert row.to_block == len(replayed)
            assert row.block_hash is not None
            replayed.append(row.block_hash)
        elif row.op == "retract":
            assert replayed.pop() == row.block_hash
        else:
            assert replayed[row.to_block] == row.block_hash
        if row.seq in history:
            assert replayed == history[row.seq]
    await expect_agreement(books, node)


async def test_finality_shows_in_the_views(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(6)
    node.finalized = 4
    await follower.settle()
    shown = {row["block_number"]: row["finality"] for row in await books.events()}
    assert shown == {1: "final", 2: "final", 3: "final", 4: "final", 5: "pending", 6: "pending"}
    assert len(await books.events("token_sent_final")) == 4


async def test_depth_makes_blocks_final_where_the_node_has_no_tag(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(10)
    settings = FollowerSettings(CHAIN_ID, finality_depth_blocks=3)
    async with following(books, [token_contract()], node.url, settings=settings) as deep:
        assert (await deep.settle()).finalized_number == 7


async def test_a_follower_that_lost_its_lease_writes_nothing(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(2)
    await follower.settle()
    before = await books.snapshot()
    await books.owner.execute(
        "UPDATE ops.lease SET expires_at = clock_timestamp() - interval '1 s'"
    )
    taken = await lease.acquire(books.owner, books.fence.role, "another", 60)
    assert taken == Fence(books.fence.role, books.fence.epoch + 1)
    node.grow(1)
    with pytest.raises(LeaseLost):
        await follower.step()
    assert await books.snapshot() == before


async def test_a_step_prepared_on_an_older_head_is_refused(
    books: Books, node: ScriptedNode, follower: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.grow(2)
    await follower.settle()
    async with following(books, [token_contract()], node.url) as rival:
        look = follower.follower._providers.look

        async def overtaken(provider: Provider, *how: Any) -> tuple[NodeFinality, Header]:
            await rival.settle()
            return await look(provider, *how)

        monkeypatch.setattr(follower.follower._providers, "look", overtaken)
        node.grow(1)
        with pytest.raises(CursorMoved):
            await follower.step()
    await expect_agreement(books, node)


async def test_no_reader_ever_sees_two_branches_or_half_of_one(
    books: Books, node: ScriptedNode, follower: Following, database_reader: asyncpg.Connection
) -> None:
    node.grow(6)
    await follower.settle()
    seen: list[int] = []
    stop = asyncio.Event()

    async def watch() -> None:
        statement = "SELECT block_number, block_hash FROM v1.token_sent ORDER BY block_number"
        while not stop.is_set():
            rows = await database_reader.fetch(statement)
            numbers = [row["block_number"] for row in rows]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) >= 6
            blocks = [node.known[row["block_hash"]] for row in rows]
            for lower, upper in itertools.pairwise(blocks):
                assert upper.parent_hash == lower.hash
            seen.append(len(rows))

    watcher = asyncio.create_task(watch())
    for round_number in range(12):
        node.fork(3, 3 + round_number % 2, f"branch {round_number}")
        await follower.settle()
    stop.set()
    await watcher
    assert len(seen) > 10


async def test_a_node_that_is_away_is_named_without_its_secrets(
    books: Books, follower: Following
) -> None:
    async with following(books, [token_contract()], "http://127.0.0.1:9/secret-key") as nowhere:
        with pytest.raises(RpcUnavailable) as raised:
            await nowhere.step()
    assert "secret-key" not in str(raised.value)
    assert await books.hashes() == []


async def test_the_wrong_node_is_refused_before_anything_is_written(
    books: Books, node: ScriptedNode
) -> None:
    node.chain_id = 1
    await registry.register(books.owner, [token_contract()])
    async with following(books, [token_contract()], node.url) as wrong:
        with pytest.raises(WrongChain, match=r"chains\.NAME\.id"):
            await wrong.step()
    assert await books.owner.fetchval("SELECT count(*) FROM chain.cursor") == 0


async def test_another_genesis_or_another_contract_is_refused(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    await follower.step()
    moved = token_contract(address=bytes(20))
    async with following(books, [moved], node.url) as other:
        with pytest.raises(SourcesDiffer, match="landbridge migrate"):
            await other.step()
    node.chain[0] = node.make(bytes(32), 0, "another genesis")
    async with following(books, [token_contract()], node.url) as other:
        with pytest.raises(WrongGenesis):
            await other.step()


async def test_connections_that_break_are_waited_out(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(2)
    await follower.settle()
    await books.owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'landbridge_daemon'"
    )
    node.grow(1)
    with contextlib.suppress(DatabaseUnavailable):
        await follower.step()
    await follower.settle()
    await expect_agreement(books, node)


UNDER_WAY = """
    SELECT query FROM pg_stat_activity
    WHERE usename = 'landbridge_daemon' AND datname = current_database() AND state LIKE 'idle in transaction%'"""


@pytest.mark.parametrize("late", [False, True], ids=["before the answer", "after the answer"])
async def test_steps_that_are_cut_off_anywhere_leave_whole_steps_behind(
    books: Books, node: ScriptedNode, follower: Following, *, late: bool
) -> None:
    node.grow(6)
    await follower.settle()
    place, whole = 0, False
    while not whole:
        place += 1
        node.fork(place % 3, 2 + place % 3, f"branch {place}")
        step = CutOff(follower.step(), place, late=late)
        task = asyncio.create_task(step.run())
        await asyncio.wait([task])
        whole = step.waits < place
        assert whole or task.cancelled()
        assert await books.owner.fetch(UNDER_WAY) == []
        ours = await books.hashes()
        parents = await books.owner.fetch(
            "SELECT parent_hash FROM chain.block WHERE canonical AND number > 0 ORDER BY number"
        )
        assert [row["parent_hash"] for row in parents] == ours[:-1]
        assert ours[-1] == await books.owner.fetchval("SELECT head_hash FROM chain.cursor")
    await follower.settle()
    await expect_agreement(books, node)
