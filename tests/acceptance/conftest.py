"""A small world for the acceptance tests: every part real, the daemon a process of its own."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest_asyncio

from daemon.demo.scenario import Scenario, draw
from daemon.demo.token import Event, Token
from daemon.demo.world import World, opened

DEPOSITS = HOLDERS = 3
PATIENCE_S = 90.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """A running world and the people in it; each test takes a holder of its own."""

    world: World
    scenario: Scenario


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(token_artifact: object) -> AsyncIterator[Stage]:
    scenario = draw(random.Random(2), deposits=DEPOSITS, holders=HOLDERS)
    async with opened(scenario, lambda step: None) as world:
        yield Stage(world, scenario)


async def until(what: str, is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so; fails with `what` if it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not await is_so():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        await asyncio.sleep(POLL_S)


async def events_of(token: Token, kind: bytes, wallet: bytes, topic: int) -> list[Event]:
    """The canonical events of a kind that name the wallet in that topic."""
    return [
        event
        for event in await token.events()
        if event.kind == kind and event.address(topic) == wallet
    ]


async def state_of(world: World, kind: str, wallet: bytes) -> str | None:
    """State of the one operation of a kind for a wallet; None if there is none."""
    async with world.database.acquire() as connection:
        state: str | None = await connection.fetchval(
            "SELECT state FROM bridge.operation WHERE kind = $1 AND wallet = $2", kind, wallet
        )
    return state
