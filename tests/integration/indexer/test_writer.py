"""What the writer refuses, whatever was prepared for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from indexer import registry
from indexer.errors import CursorMoved
from indexer.source import Source
from tests.conftest import Database
from tests.integration.indexer.feed_chain import FeedChain, feed_chain, token_contract


@pytest_asyncio.fixture(loop_scope="session")
async def chain(database: Database) -> AsyncIterator[FeedChain]:
    """Two contracts follow the chain; one of them joined later."""
    async with feed_chain(database.owner_dsn, database.daemon_dsn) as found:
        await found.open(token_contract())
        await found.grow(3, finalized=2)
        await registry.register(found.owner, [token_contract(), token_contract("other")])
        [late] = [source for source in await found.sources() if not source.joined]
        await found.backfill(late, 0, 2)
        await found.join(late)
        yield found


@pytest.mark.parametrize("way", ["grow", "leap"])
async def test_a_step_that_was_prepared_before_a_contract_joined_is_not_written(
    chain: FeedChain, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await chain.joined()
    assert [source.name for source in before] == ["token", "other"]

    async def joined_earlier() -> list[Source]:
        return before[:1]

    head = chain.head
    with monkeypatch.context() as earlier:
        earlier.setattr(chain, "joined", joined_earlier)
        with pytest.raises(CursorMoved):
            await (chain.grow(1) if way == "grow" else chain.leap(1))
    stored = await chain.owner.fetchval("SELECT head_hash FROM chain.cursor")
    assert head is not None
    assert stored == head.hash
