"""Several nodes behind one address that are not of one mind: a range is answered by one that lags behind."""

from __future__ import annotations

import pytest

from indexer import registry
from indexer.errors import LogsInconsistent
from tests.integration.indexer.conftest import Books, Following, following, token_contract
from tests.integration.indexer.scripted_node import ScriptedNode, sent_data


async def blocks(books: Books) -> list[tuple[int, bytes]]:
    return [(row["block_number"], row["block_hash"]) for row in await books.events()]


def chain(node: ScriptedNode) -> list[tuple[int, bytes]]:
    return [(block.number, block.hash) for block in node.chain[1:]]


async def test_what_a_lagging_sibling_lacks_of_a_range_is_found_by_the_backfill(
    books: Books, node: ScriptedNode
) -> None:
    node.grow(300)
    node.finalized = 250
    node.sibling = node.chain[:231]
    token = token_contract()
    await registry.register(books.owner, [token])
    async with following(books, [token], node.url) as found:
        await found.settle()
    assert await blocks(books) == chain(node)


async def test_what_a_lagging_sibling_lacks_of_a_range_is_found_by_a_leap(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(10)
    node.finalized = 5
    await follower.settle()
    node.grow(300)
    node.finalized = 290
    node.sibling = node.chain[:261]
    assert (await follower.step()).kind == "leaped"
    await follower.settle()
    assert await blocks(books) == chain(node)


async def test_a_sibling_that_lacks_all_of_the_newest_blocks_is_not_believed_about_older_ones(
    books: Books, node: ScriptedNode, follower: Following
) -> None:
    node.grow(10)
    node.finalized = 5
    await follower.settle()
    node.grow(100)
    node.finalized = 90
    node.sibling = node.chain[:41]
    assert (await follower.step()).kind == "leaped"
    await follower.settle()
    assert await blocks(books) == chain(node)


async def test_an_orphan_that_a_lagging_sibling_still_has_is_refused(
    books: Books, node: ScriptedNode
) -> None:
    node.grow(300)
    node.finalized = 250
    orphan = node.make(node.chain[244].hash, 245, "orphan", (sent_data(7),))
    node.sibling = [*node.chain[:245], orphan]
    token = token_contract()
    await registry.register(books.owner, [token])
    async with following(books, [token], node.url) as found:
        await found.step()
        with pytest.raises(LogsInconsistent, match=orphan.hash.hex()):
            while await found.backfill.step(books.fence):
                pass
        node.sibling = None
        await found.settle()
    assert await blocks(books) == chain(node)
