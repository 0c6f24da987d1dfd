"""Three hundred seeds of the simulation; `make simulate` plays as many as are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future

import pytest
import pytest_asyncio

from tests.simulation.company import Report, company
from tests.simulation.loop import Standstill, VirtualLoop
from tests.simulation.scenario import Scenario

SEEDS = 300
PIECES = 12
Pieces = Sequence[Future[list[Report]]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pieces() -> AsyncIterator[Pieces]:
    """All of them are played from the beginning on, as many at once as there are processors."""
    size = SEEDS // PIECES
    async with company() as players:
        yield [players.play(range(place * size, (place + 1) * size)) for place in range(PIECES)]


@pytest.mark.parametrize("place", range(PIECES))
async def test_every_seed_ends_with_the_index_of_the_final_chain(
    pieces: Pieces, place: int
) -> None:
    reports = await asyncio.wrap_future(pieces[place])
    assert not reports, "\n\n".join(report.text for report in reports)


def test_a_seed_is_always_the_same_scenario_and_an_action_less_changes_no_other() -> None:
    scenario = Scenario.of(7)
    assert Scenario.of(7) == scenario
    assert scenario.without([2]).actions == (*scenario.actions[:2], *scenario.actions[3:])


def test_virtual_time_passes_at_once_and_in_order() -> None:
    loop, woken = VirtualLoop(), []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(loop.time())

    async def work() -> None:
        await asyncio.gather(sleep(3600.0), sleep(0.5), sleep(60.0))

    loop.run_until_complete(work())
    loop.close()
    assert woken == [0.5, 60.0, 3600.0]


def test_tasks_that_wait_for_each_other_for_ever_are_noticed() -> None:
    loop = VirtualLoop()
    with pytest.raises(Standstill):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()
