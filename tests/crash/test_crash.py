"""A handful of the crash matrix, which `make crash` plays as a whole: a daemon killed where it hurts most."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Template
from tests.crash.acts import Context
from tests.crash.failpoints import Plan
from tests.crash.run import Run, play
from tests.crash.stage import Stage, staged
from tests.crash.verdict import faults
from tests.crash.witness import SEND


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: EmbeddedPostgres,
    template: Template,
    token_artifact: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("crash"), postgres, template) as stage:
        yield stage


@pytest.mark.parametrize(
    ("context", "point"),
    [
        # A nonce without bytes.
        (Context.FIRST, "commit:bridge.taker.Taker._allocate[mint]:after"),
        # A transaction whose answer nobody has heard.
        (Context.FIRST, "node:send[mint]:after"),
        # An order of which only the bank knows that it has arrived.
        (Context.RETRY, "bank:submit_payment:after"),
        # A reorg that is read, and not yet acted on, when the next one comes.
        (Context.REORG, "commit:bridge.observer.Observer.step[issuance submitted]:before"),
    ],
)
async def test_a_daemon_that_is_killed_does_everything_exactly_once(
    stage: Stage, context: Context, point: str
) -> None:
    outcome = await play(stage, Run(context, Plan(point, stands=context is Context.REORG), seed=1))
    assert outcome.deaths[:1] == (point,)
    assert outcome.faults == ()


async def test_what_is_amiss_is_told(stage: Stage) -> None:
    """Last of all: people wanted something that did not happen, and somebody sends what nobody has journalled."""
    assert await faults(stage) == []
    stage.wanted.paid.append((stage.people.payer, 7))
    told = "\n".join(await faults(stage))
    assert "not paid: " in told
    assert "not burned: " in told
    sent = {"jsonrpc": "2.0", "id": 1, "method": SEND, "params": ["0x02c0"]}
    node = stage.world.configuration.tree["chains.local.providers.node"]["http_url"]
    async with aiohttp.ClientSession() as session, session.post(node, json=sent):
        assert "the journal does not have it" in "\n".join(await faults(stage))
