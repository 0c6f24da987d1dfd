"""A chain, a node that lies about it, and a daemon that follows, each for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Template, new_database
from tests.integration.hazards.coin_chain import CoinChain, coin_chain
from tests.integration.hazards.live import Live, living
from tests.integration.hazards.lying_node import LyingNode


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def chain() -> AsyncIterator[CoinChain]:
    """Tests add to it."""
    async with coin_chain(4242) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def node(chain: CoinChain) -> AsyncIterator[LyingNode]:
    """In front of the chain; honest until a test wants it otherwise."""
    async with LyingNode(chain.anvil) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def second_node(chain: CoinChain) -> AsyncIterator[LyingNode]:
    """Another one in front of the same chain."""
    async with LyingNode(chain.anvil) as made:
        yield made


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def lives(
    postgres: EmbeddedPostgres, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Live]:
    """One daemon, with a chain of its own."""
    async with (
        new_database(postgres, template) as database,
        coin_chain(4343) as followed,
        living(database, followed, tmp_path_factory.mktemp("live")) as made,
    ):
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def live(lives: Live) -> AsyncIterator[Live]:
    """The daemon runs, and all of the chain is indexed."""
    await lives.agrees()
    await lives.becomes("synced")
    yield lives
    lives.be_honest()
