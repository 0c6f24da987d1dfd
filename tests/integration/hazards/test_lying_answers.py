"""Answers that contradict themselves, the question or the protocol: nothing is written by them, and nothing stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from daemon.embedded.postgres import EmbeddedPostgres
from indexer.errors import Retryable
from indexer.jsonrpc import MAX_RESPONSE_BYTES
from tests.conftest import Database, Template, new_database
from tests.integration.hazards import lies
from tests.integration.hazards.coin_chain import CoinChain
from tests.integration.hazards.index import Index, indexing
from tests.integration.hazards.lying_node import Json, Lie, LyingNode

NOWHERE = "0x" + "ab" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node_of_all(chain: CoinChain) -> AsyncIterator[LyingNode]:
    async with LyingNode(chain.anvil) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def index_of_all(
    postgres: EmbeddedPostgres, template: Template, chain: CoinChain, node_of_all: LyingNode
) -> AsyncIterator[Index]:
    """One for all these lies, so that each is told to a follower that has been lied to before."""
    async with (
        new_database(postgres, template) as database,
        indexing(database, chain, node_of_all.url) as index,
    ):
        yield index


def refused(code: int, message: str) -> Json:
    return {"error": {"code": code, "message": message}}


def each(key: str, value: str) -> Callable[[Json], Json]:
    """Of every log of an answer one field is another."""
    return lambda logs: [{**log, key: value} for log in logs]


def header(key: str, value: str) -> Callable[[Json], Json]:
    return lambda found: None if found is None else {**found, key: value}


LIES: dict[str, Callable[[], list[Lie]]] = {
    "no newest block": lambda: [lies.answered(lies.BY_NUMBER, {"result": None})],
    "no headers": lambda: [lies.changed(lies.HEADERS, lambda _: None)],
    "null for logs": lambda: [lies.changed(lies.LOGS, lambda _: None)],
    "null for receipts": lambda: [lies.no_logs(), lies.changed(lies.RECEIPTS, lambda _: None)],
    "a block that it named is unknown": lambda: [
        lies.answered(lies.LOGS, refused(-32000, "header not found"))
    ],
    "status 200 with an error": lambda: [
        lies.answered(lies.LOGS, refused(-32603, "internal error"))
    ],
    "status 200 with an error for a header": lambda: [
        lies.answered(lies.BY_NUMBER, refused(-32603, "internal error"))
    ],
    "neither a result nor an error": lambda: [lies.answered(lies.LOGS, {})],
    "status 500": lambda: [lies.bare(lies.LOGS, b"oops", 500)],
    "an empty body": lambda: [lies.bare(lies.LOGS, b"")],
    "half an answer": lambda: [lies.bare(lies.LOGS, b'{"jsonrpc":"2.0","id":1,"result":[{"addr')],
    "a web page": lambda: [lies.bare(lies.BY_NUMBER, b"<html>sign in</html>")],
    "an answer without end": lambda: [
        lies.bare(lies.LOGS, b"[" * (MAX_RESPONSE_BYTES + 1)),
    ],
    "a parent that nobody has": lambda: [lies.changed(lies.HEADERS, header("parentHash", NOWHERE))],
    "a height that no block has": lambda: [
        lies.changed(lies.HEADERS, header("number", hex(2**50)))
    ],
    "a bloom that is none": lambda: [lies.changed(lies.HEADERS, header("logsBloom", "0x00"))],
    "logs of another block": lambda: [lies.changed(lies.LOGS, each("blockHash", NOWHERE))],
    "logs of another contract": lambda: [
        lies.changed(lies.LOGS, each("address", "0x" + "cd" * 20))
    ],
    "a log twice": lambda: [lies.changed(lies.LOGS, lambda logs: logs + logs)],
    "logs that are not hexadecimal": lambda: [
        lies.changed(lies.LOGS, each("data", "0x" + "zz" * 32))
    ],
}


@pytest.mark.parametrize("lie", LIES)
async def test_nothing_is_written_by_a_broken_answer(
    chain: CoinChain, node_of_all: LyingNode, index_of_all: Index, lie: str
) -> None:
    await index_of_all.settle()
    before = await index_of_all.reader.written()
    await chain.block(100)
    node_of_all.told.clear()
    with node_of_all.telling(*LIES[lie]()), pytest.raises(Retryable):
        await index_of_all.following.step()
    assert node_of_all.told.total() > 0
    assert await index_of_all.reader.written() == before
    await index_of_all.settle()
    assert await index_of_all.reader.agrees_with(chain)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_tags_that_straddle_a_reorg_store_one_branch(
    database: Database, chain: CoinChain, node: LyingNode, place: int
) -> None:
    """What is final, what is safe and what is newest are asked in one batch."""
    async with indexing(database, chain, node.url) as index:
        await chain.blocks(200, 201, 202)
        await index.settle()

        async def act() -> None:
            await chain.reorg(3)
            await chain.blocks(203, 204)

        with node.telling(lies.before_answer(place, act, 3)):
            await expect_one_branch(index, chain)
        assert await index.reader.connection.fetchval("SELECT count(*) FROM chain.reorg") == 1


@pytest.mark.parametrize("place", [1, 3])
async def test_a_batch_of_headers_that_straddles_a_reorg_stores_one_branch(
    database: Database, chain: CoinChain, node: LyingNode, place: int
) -> None:
    async with indexing(database, chain, node.url) as index:
        await index.settle()
        await chain.blocks(300, 301, 302, 303, 304)

        async def act() -> None:
            await chain.reorg(4)
            await chain.blocks(305, 306)

        with node.telling(lies.before_answer(place, act, 5)):
            await expect_one_branch(index, chain)


async def test_logs_that_straddle_a_reorg_store_one_branch(
    database: Database, chain: CoinChain, node: LyingNode
) -> None:
    """The headers are of one branch; when the logs are asked for, the node is on another."""
    async with indexing(database, chain, node.url) as index:
        await index.settle()
        await chain.blocks(400, 401, 402)

        async def act() -> None:
            await chain.reorg(2)
            await chain.blocks(403)

        with node.telling(lies.before_first(lies.LOGS, act)):
            await expect_one_branch(index, chain)


async def expect_one_branch(index: Index, chain: CoinChain) -> None:
    """At every step, and at last the right one."""
    more = True
    while more:
        try:
            more = (await index.following.step()).more
        except Retryable:
            more = True
        assert await index.reader.is_one_branch()
    await index.settle()
    assert await index.reader.agrees_with(chain)
