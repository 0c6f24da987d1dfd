"""Headers and tags in batches, from nodes that answer them in every way that nodes do."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from indexer.errors import BlockVanished, RpcMalformed, RpcRateLimited, RpcTimeout, RpcUnavailable
from indexer.rpc import Rpc
from tests.integration.indexer.small_node import Refusal, SmallNode, hash_of, serving

Json = Any


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[SmallNode]:
    async with serving(SmallNode()) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def rpc(node: SmallNode) -> AsyncIterator[Rpc]:
    async with Rpc(node.url, total_timeout_s=0.5) as client:
        yield client


def batches(node: SmallNode) -> list[int]:
    """How many calls each request held."""
    return [len(asked) if isinstance(asked, list) else 1 for asked in node.requests]


async def test_the_tags_come_in_one_request(node: SmallNode, rpc: Rpc) -> None:
    tags = await rpc.tags()
    assert tags.latest.number == 100
    assert tags.safe is not None
    assert tags.safe.hash == hash_of(90)
    assert tags.finalized is not None
    assert tags.finalized.number == 80
    assert batches(node) == [3]
    assert rpc.newest_number == 100


async def test_a_tag_that_the_node_does_not_know_is_none(node: SmallNode, rpc: Rpc) -> None:
    node.safe = node.finalized = None
    tags = await rpc.tags()
    assert (tags.safe, tags.finalized) == (None, None)
    assert tags.latest.number == 100
    assert batches(node) == [3]


async def test_without_batches_the_tags_are_asked_in_order(node: SmallNode, rpc: Rpc) -> None:
    node.batch_limit = 0
    node.safe = None
    tags = await rpc.tags()
    assert tags.safe is None
    assert tags.finalized is not None
    assert [one["params"][0] for one in node.requests[1:]] == ["finalized", "safe", "latest"]


async def test_a_node_without_a_latest_block_raises(node: SmallNode, rpc: Rpc) -> None:
    node.answers["eth_getBlockByNumber"] = lambda _: None
    with pytest.raises(BlockVanished, match="latest"):
        await rpc.tags()


async def test_headers_come_in_one_request_in_the_order_of_the_question(
    node: SmallNode, rpc: Rpc
) -> None:
    headers = await rpc.headers([7, 3, 5])
    assert [header.number for header in headers] == [7, 3, 5]
    assert batches(node) == [3]


async def test_many_headers_come_in_batches_of_a_hundred(node: SmallNode, rpc: Rpc) -> None:
    node.head = 400
    headers = await rpc.headers(range(250))
    assert [header.number for header in headers] == list(range(250))
    assert sorted(batches(node)) == [50, 100, 100]


def shuffled(answer: Json) -> Json:
    return random.Random(3).sample(answer, len(answer)) if isinstance(answer, list) else answer


def without_some(answer: Json) -> Json:
    return answer[::2] if isinstance(answer, list) else answer


def without_all(answer: Json) -> Json:
    return [] if isinstance(answer, list) else answer


def with_foreign_ids(answer: Json) -> Json:
    if not isinstance(answer, list):
        return answer
    return [{**one, "id": f"gateway:{one['id']}"} for one in answer]


def with_others(answer: Json) -> Json:
    extra = {"jsonrpc": "2.0", "id": 10**9, "result": None}
    return [extra, *answer, extra] if isinstance(answer, list) else answer


def with_some_refused(answer: Json) -> Json:
    if not isinstance(answer, list):
        return answer
    fault = {"code": -32003, "message": "response too large"}
    return [
        {"id": one["id"], "error": fault} if index % 3 else one for index, one in enumerate(answer)
    ]


def as_one_malformed(answer: Json) -> Json:
    return (
        [{**answer[0], "result": {"number": 16}}, *answer[1:]]
        if isinstance(answer, list)
        else answer
    )


@pytest.mark.parametrize(
    "mangle",
    [
        shuffled,
        without_some,
        without_all,
        with_foreign_ids,
        with_others,
        with_some_refused,
        as_one_malformed,
    ],
)
async def test_a_batch_that_is_answered_oddly_is_understood_or_asked_again(
    node: SmallNode, rpc: Rpc, mangle: Callable[[Json], Json]
) -> None:
    node.mangle = mangle
    headers = await rpc.headers(range(12))
    assert [header.hash for header in headers] == [hash_of(number) for number in range(12)]


async def test_what_a_batch_leaves_out_is_asked_alone(node: SmallNode, rpc: Rpc) -> None:
    node.mangle = without_some
    await rpc.headers(range(6))
    assert batches(node) == [6, 1, 1, 1]
    node.requests.clear()
    node.mangle = None
    await rpc.headers(range(6))
    assert batches(node) == [6], "batches go on"


@pytest.mark.parametrize("status", [200, 400, 405, 500])
async def test_batches_that_are_refused_are_tried_smaller_and_then_no_more(
    node: SmallNode, rpc: Rpc, status: int
) -> None:
    node.batch_limit, node.batch_refusal_status = 10, status
    for _ in range(3):
        headers = await rpc.headers(range(40))
        assert len(headers) == 40
    assert batches(node)[:41] == [40, *[1] * 40]
    assert sorted(batches(node)[41:])[-4:] == [10, 10, 10, 10]


async def test_a_node_that_takes_no_batches_is_soon_asked_one_by_one(
    node: SmallNode, rpc: Rpc
) -> None:
    node.batch_limit = 0
    for _ in range(4):
        await rpc.headers(range(20))
    node.requests.clear()
    await rpc.headers(range(20))
    assert set(batches(node)) == {1}


async def test_a_batch_that_is_too_slow_is_asked_smaller_the_next_time(
    node: SmallNode, rpc: Rpc
) -> None:
    node.delay_s = 1.0
    with pytest.raises(RpcTimeout):
        await rpc.headers(range(40))
    node.delay_s = 0.0
    node.requests.clear()
    await rpc.headers(range(40))
    assert batches(node) == [20, 20]


async def test_a_rate_limit_is_not_taken_for_a_refusal_of_batches(
    node: SmallNode, rpc: Rpc
) -> None:
    node.per_second = 2
    with pytest.raises(RpcRateLimited):
        await rpc.headers(range(5))
    assert len(node.requests) == 1
    node.per_second = None
    node.requests.clear()
    await rpc.headers(range(5))
    assert batches(node) == [5]


async def test_a_rate_limit_inside_a_batch_is_one(node: SmallNode, rpc: Rpc) -> None:
    def limited(params: list[Json]) -> Json:
        raise Refusal(-32016, "over rate limit")

    node.answers["eth_getBlockByNumber"] = limited
    with pytest.raises(RpcRateLimited):
        await rpc.headers(range(5))
    with pytest.raises(RpcRateLimited):
        await rpc.tags()


async def test_a_node_that_is_away_raises_at_once(node: SmallNode, rpc: Rpc) -> None:
    node.status, node.body = 502, b"bad gateway"
    with pytest.raises(RpcUnavailable, match="502"):
        await rpc.headers(range(5))
    with pytest.raises(RpcUnavailable):
        await rpc.tags()


async def test_a_height_that_the_node_lacks_raises(node: SmallNode, rpc: Rpc) -> None:
    with pytest.raises(BlockVanished, match="101"):
        await rpc.headers([100, 101])


async def test_another_block_than_the_one_asked_for_is_malformed(node: SmallNode, rpc: Rpc) -> None:
    node.answers["eth_getBlockByNumber"] = lambda params: node.header(int(params[0], 16) + 1)
    with pytest.raises(RpcMalformed, match="asked for 3, it is 4"):
        await rpc.headers([3, 4, 5])


async def test_a_batch_that_straddles_a_reorg_shows_both_branches(
    node: SmallNode, rpc: Rpc
) -> None:
    """Nothing is assumed of the answers of one batch: whoever asked sees from the hashes that they do not link."""

    def reorged(params: list[Json]) -> Json:
        number = int(params[0], 16)
        if number == 6:
            node.fork, node.forked_at = "b", 5
        return node.header(number)

    node.answers["eth_getBlockByNumber"] = reorged
    headers = await rpc.headers([4, 5, 6, 7])
    assert [header.hash for header in headers] == [
        hash_of(4),
        hash_of(5),
        hash_of(6, "b"),
        hash_of(7, "b"),
    ]
    assert headers[2].parent_hash != headers[1].hash
