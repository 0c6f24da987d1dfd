"""History in ranges: how a contract catches up, beside others, and joins."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import asyncpg
import pytest

from indexer import feed, lease, registry
from indexer.abi import Abi
from indexer.contract import Contract, Factory, Options
from indexer.errors import LeaseLost
from indexer.keccak import keccak
from indexer.lease import fenced
from indexer.signature import parse
from indexer.upkeep import Upkeep
from tests.integration.indexer.conftest import RAW, Books, Following, following, token_contract
from tests.integration.indexer.scripted_node import (
    ABI,
    CHAIN_ID,
    SENT,
    TOKEN,
    ScriptedNode,
    sent_data,
    word,
)

FACTORY = b"F" * 20
MADE = "Made(address indexed child, uint256 number)"
PING = "Ping(uint256 value)"
TRANSFER = "Transfer(address indexed from, address indexed to, uint256 value)"


def contract(name: str, signature: str, *addresses: bytes, **more: object) -> Contract:
    return Contract.from_abi(
        name,
        CHAIN_ID,
        cast(Abi, [parse(signature)]),
        addresses,
        start_block=0,
        **more,  # type: ignore[arg-type]
    )


def topic(signature: str) -> bytes:
    return keccak(signature.encode())


async def numbers(books: Books, view: str = "token_sent") -> list[int]:
    rows = await books.owner.fetch(f"SELECT block_number FROM v1.{view} ORDER BY 1")
    return [row[0] for row in rows]


async def test_history_is_filled_in_ranges_and_shown_once_it_has_caught_up(
    books: Books, node: ScriptedNode
) -> None:
    node.grow(300)
    node.finalized = 250
    token = token_contract()
    await registry.register(books.owner, [token])
    async with following(books, [token], node.url) as found:
        await found.step()
        assert await books.owner.fetchval("SELECT start_block FROM chain.cursor") == 250
        while await found.backfill.step(books.fence):
            assert await numbers(books) == []
        assert await books.owner.fetchval("SELECT max(to_block) FROM chain.coverage") == 250
        await found.settle()
    assert await numbers(books) == list(range(1, 301))
    hashes = await books.owner.fetch("SELECT block_hash FROM v1.token_sent ORDER BY block_number")
    assert [row[0] for row in hashes] == [block.hash for block in node.chain[1:]]


async def test_what_was_filled_is_not_read_again_after_a_kill(
    books: Books, node: ScriptedNode
) -> None:
    node.grow(400)
    node.finalized = 400
    token = token_contract()
    await registry.register(books.owner, [token])
    async with following(books, [token], node.url) as first:
        await first.step()
        await first.backfill.step(books.fence)  # plans
        await first.backfill.step(books.fence)  # writes a batch
    reached = await books.owner.fetchval("SELECT max(to_block) FROM chain.coverage")
    assert 0 < reached <= 400
    async with following(books, [token], node.url) as second:
        await second.settle()
    assert await numbers(books) == list(range(1, 401))
    seams = await books.owner.fetch("SELECT from_block, to_block FROM chain.coverage ORDER BY 1")
    assert [row["from_block"] for row in seams[1:]] == [row["to_block"] + 1 for row in seams[:-1]]


async def test_a_late_contract_backfills_beside_the_running_ones(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(5)
    await follower.settle()
    for place in range(40):
        node.emit(
            (TOKEN, (SENT, word(1), word(2)), sent_data(place)),
            (FACTORY, (topic("Ping(uint256)"),), word(place)),
        )
    node.finalized = 30
    await follower.settle()
    late = contract("late", PING, FACTORY)
    contracts = [token_contract(), late]
    await registry.register(books.owner, contracts)
    async with following(books, contracts, node.url) as both:
        await both.settle()
        node.grow(2)
        node.emit((FACTORY, (topic("Ping(uint256)"),), word(99)))
        await both.settle()
    assert await numbers(books, "late_ping") == [*range(6, 46), 48]
    assert await numbers(books) == [*range(1, 48)]


async def test_a_late_contract_joins_although_there_is_a_new_block_at_every_look(
    books: Books, node: ScriptedNode, follower: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.grow(20)
    node.finalized = 10
    await follower.settle()
    late = contract("late", "Sent(address indexed from, address indexed to, uint256 value)", TOKEN)
    contracts = [token_contract(), late]
    await registry.register(books.owner, contracts)
    asked = node.by_name

    def grown(name: str) -> dict[str, object] | None:
        if name == "latest":
            node.grow(1)
        return asked(name)

    monkeypatch.setattr(node, "by_name", grown)
    async with following(books, contracts, node.url) as both:
        kinds: list[str] = []
        while "joined" not in kinds and len(kinds) < 20:
            kinds.append((await both.step()).kind)
            while await both.backfill.step(books.fence):
                pass
    assert kinds[-1] == "joined"


async def test_the_feed_gives_a_late_contract_its_history_and_its_unfinal_blocks(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    await test_a_late_contract_backfills_beside_the_running_ones(books, node, follower)
    source = await books.owner.fetchrow(
        "SELECT source_id, joined_seq FROM chain.source WHERE name = 'late'"
    )
    assert source is not None
    told: list[int] = []
    for row in await feed.read(books.owner, CHAIN_ID, 0, 10_000):
        if row.op == "apply" and row.speaks_for(source["source_id"], source["joined_seq"]):
            rows = await books.owner.fetch(
                f"SELECT block_number FROM event.late_ping WHERE {row.rows} ORDER BY 1",
                *row.arguments,
            )
            told += [one["block_number"] for one in rows]
    assert told == [*range(6, 46), 48]


async def test_children_of_a_factory_are_indexed_from_their_birth(
    books: Books, node: ScriptedNode
) -> None:
    child, other, newborn = b"1" * 20, b"2" * 20, b"3" * 20
    made, ping = topic("Made(address,uint256)"), topic("Ping(uint256)")
    factory = contract("factory", MADE, FACTORY)
    children = contract("child", PING, factory=Factory("factory", "Made", "child"))

    def birth(address: bytes) -> tuple[bytes, tuple[bytes, ...], bytes]:
        return FACTORY, (made, bytes(12) + address), word(1)

    node.emit((child, (ping,), word(0)))  # before its birth: not ours yet
    node.emit(birth(child))
    node.emit((child, (ping,), word(1)), (other, (ping,), word(666)))
    node.grow(60)
    node.finalized = 50
    await registry.register(books.owner, [factory, children])
    async with following(books, [factory, children], node.url) as found:
        await found.settle()
        node.emit((child, (ping,), word(2)))
        # Born and acting in one block, above finality.
        node.emit(birth(newborn), (newborn, (ping,), word(3)))
        node.emit((newborn, (ping,), word(4)), (other, (ping,), word(666)))
        await found.settle()
        rows = await books.owner.fetch("SELECT address, value FROM v1.child_ping ORDER BY value")
        assert [(row["address"], int(row["value"])) for row in rows] == [
            (child, 1),
            (child, 2),
            (newborn, 3),
            (newborn, 4),
        ]
        # With its birth orphaned, it is a stranger again.
        node.fork(2, 0, "b")
        node.emit((newborn, (ping,), word(5)), salt="b")
        node.emit((child, (ping,), word(6)), salt="b")
        await found.settle()
    rows = await books.owner.fetch("SELECT value FROM v1.child_ping ORDER BY value")
    assert [int(row["value"]) for row in rows] == [1, 2, 6]


async def test_another_abi_takes_the_views_over_when_it_has_caught_up(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(8)
    node.finalized = 5
    await follower.settle()
    silent = [
        {
            **ABI[0],
            "inputs": [
                *cast(list[object], ABI[0]["inputs"])[:3],
                {"name": "memo", "type": "string"},
            ],
        }
    ]
    changed = token_contract(abi=cast(Abi, silent))
    await registry.register(books.owner, [changed])
    upkeep = Upkeep(books.pool, [changed], CHAIN_ID)
    async with following(books, [changed], node.url) as found:
        assert "note" in dict((await books.events())[0])
        await found.settle()
        await upkeep.step(books.fence)
        node.grow(1)
        await found.settle()
    rows = await books.events()
    assert [row["block_number"] for row in rows] == list(range(1, 10))
    assert [row["memo"] for row in rows] == ["hello"] * 9
    # The old version has ended, and nothing more is written to it.
    assert await books.owner.fetchval("SELECT max(block_number) FROM event.token_sent") == 8


async def test_a_contract_that_was_dropped_is_followed_no_more(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(3)
    await follower.settle()
    await registry.register(books.owner, [])
    async with following(books, [], node.url) as nothing:
        node.grow(2)
        await nothing.settle()
    assert await numbers(books) == [1, 2, 3]
    assert await books.owner.fetchval("SELECT retired_seq FROM chain.source") > 0


async def test_balances_and_supply_follow_transfers_through_reorgs(
    books: Books, node: ScriptedNode
) -> None:
    zero, one, two = (bytes(12) + bytes([n]) * 20 for n in (0, 1, 2))
    transfer = topic("Transfer(address,address,uint256)")

    def move(
        sender: bytes, recipient: bytes, amount: int
    ) -> tuple[bytes, tuple[bytes, ...], bytes]:
        return TOKEN, (transfer, sender, recipient), word(amount)

    token = contract("coin", TRANSFER, TOKEN, options=Options(balances=True))
    node.emit(move(zero, one, 100))
    node.emit(move(one, two, 30), move(two, one, 5))
    node.grow(80, logs=0)
    node.finalized = 60
    await registry.register(books.owner, [token])

    async def balances(view: str = "v1.coin_balance") -> dict[int, int]:
        rows = await books.owner.fetch(f"SELECT holder, balance FROM {view}")
        return {row["holder"][0]: int(row["balance"]) for row in rows}

    async with following(books, [token], node.url) as found:
        await found.settle()
        assert await balances() == {1: 75, 2: 25}
        node.emit(move(two, zero, 20))
        await found.settle()
        branch = list(node.chain)
        assert await balances() == {1: 75, 2: 5}
        assert int(await books.owner.fetchval("SELECT supply FROM v1.coin_supply")) == 80
        node.fork(1, 0, "b")
        node.emit(move(one, two, 1), salt="b")
        node.emit(move(one, two, 1), salt="b")
        await found.settle()
        assert await balances() == {1: 73, 2: 27}
        node.switch(branch)
        node.emit(move(one, two, 70), salt="c")
        node.emit(move(two, one, 1), salt="c")
        await found.settle()
    assert await balances() == {1: 6, 2: 74}
    assert await balances("v1.coin_balance_at(2)") == {1: 75, 2: 25}
    assert await balances("v1.coin_balance_at(1)") == {1: 100}
    assert int(await books.owner.fetchval("SELECT supply FROM v1.coin_supply_at(2)")) == 100


async def test_coverage_has_no_hole_no_overlap_and_does_not_pass_finality(
    books: Books, node: ScriptedNode
) -> None:
    node.grow(20)
    node.finalized = 15
    token = token_contract()
    await registry.register(books.owner, [token])
    insert = """INSERT INTO chain.coverage (source_id, from_block, to_block, row_count)
                SELECT source_id, $1, $2, 0 FROM chain.source"""
    async with following(books, [token], node.url) as found:
        await found.step()
        await found.step()
    for first, last in ((1, 5), (0, 16), (3, 4)):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            async with fenced(books.pool, books.fence) as connection:
                await connection.execute(insert, first, last)
    async with fenced(books.pool, books.fence) as connection:
        await connection.execute(insert, 0, 5)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        async with fenced(books.pool, books.fence) as connection:
            await connection.execute(insert, 5, 9)


async def test_a_backfill_whose_lease_is_gone_writes_nothing(
    books: Books, node: ScriptedNode
) -> None:
    node.grow(100)
    node.finalized = 90
    token = token_contract()
    await registry.register(books.owner, [token])
    async with following(books, [token], node.url) as found:
        await found.step()
        await found.backfill.step(books.fence)
        await books.owner.execute(
            "UPDATE ops.lease SET expires_at = clock_timestamp() - interval '1 s'"
        )
        taken = await lease.acquire(books.owner, books.fence.role, "another", 60)
        assert taken is not None
        with pytest.raises(LeaseLost):
            await found.backfill.step(books.fence)
        assert await books.owner.fetchval("SELECT count(*) FROM event.token_sent") == 0
        async with following(replace(books, fence=taken), [token], node.url) as other:
            await other.settle()
    assert await numbers(books) == list(range(1, 101))


async def test_after_a_long_absence_final_blocks_are_leaped_over_and_complete(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(10)
    node.finalized = 5
    await follower.settle()
    node.grow(500)
    node.finalized = 480
    kinds = []
    while True:
        result = await follower.step()
        kinds.append(result.kind)
        if not result.more:
            break
    assert "leaped" in kinds
    assert await numbers(books) == list(range(1, 511))
    assert len(await books.hashes()) < 200


async def test_of_blocks_that_are_leaped_over_every_header_that_was_verified_is_kept(
    books: Books, node: ScriptedNode
) -> None:
    token = token_contract(options=replace(RAW, verify="bloom"))
    await registry.register(books.owner, [token])
    async with following(books, [token], node.url) as found:
        node.grow(10)
        node.finalized = 5
        await found.settle()
        node.grow(300)
        node.finalized = 280
        assert (await found.step()).kind == "leaped"
        await found.settle()
    assert await numbers(books) == list(range(1, 311))
    assert await books.hashes() == [block.hash for block in node.chain[5:]]


async def test_an_absence_with_a_fork_in_it_rolls_back_before_it_leaps(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(10)
    node.finalized = 5
    await follower.settle()
    node.fork(3, 500, "b")
    node.finalized = 480
    await follower.settle()
    rows = await books.events()
    assert [row["block_hash"] for row in rows] == [block.hash for block in node.chain[1:]]
