"""A database that was restored to an earlier moment, while chain and bank went on: nothing happens twice."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from daemon.demo.token import MINTED
from daemon.embedded.anvil import Anvil
from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Database, Template, TokenArtifact
from tests.integration.bridge.company import BOOKED_AFTER_S, Company, backup, opened, restored
from tests.integration.bridge.scene import staged

Moment = Callable[[Company], Awaitable[object]]


async def _heard(company: Company) -> None:
    await company.hear()


async def _reserved(company: Company) -> None:
    await company.hear()
    while await company.decider.step(company.world.operate):
        pass


async def _allocated(company: Company) -> None:
    await _reserved(company)
    assert await company.lane._taker.step(company.world.submit)


async def _signed(company: Company) -> None:
    await _allocated(company)
    assert await company.lane._signing.step(company.world.submit)


async def _sent(company: Company) -> None:
    await _signed(company)
    await company.lane._sender.step(company.world.submit)


async def _mined(company: Company) -> None:
    await _sent(company)
    await company.scene.anvil.mine()
    await company.hear()


async def _nothing(_: Company) -> None:
    """The deposit is made, and nobody has heard of it."""


MINT_MOMENTS = {
    "unheard": _nothing,
    "funded": _heard,
    "reserved": _reserved,
    "allocated": _allocated,
    "signed": _signed,
    "sent": _sent,
    "mined": _mined,
}


async def _minted_once(company: Company, minor: int) -> None:
    events = await company.scene.contract.events()
    op_ids = [one.topics[0] for one in events if one.kind == MINTED]
    assert len(op_ids) == len(set(op_ids))
    assert await company.scene.balance() == minor


# In turns: what the database knows of itself does not depend on the moment, which is what counts here.
@pytest.mark.parametrize(
    ("moment", "unnoticed"),
    [(moment, place % 2 == 1) for place, moment in enumerate(MINT_MOMENTS)],
    ids=lambda each: {False: "copied", True: "disk put back"}.get(each, each),
)
async def test_a_restored_database_never_mints_twice(
    database: Database,
    anvil: Anvil,
    token_artifact: TokenArtifact,
    postgres: EmbeddedPostgres,
    template: Template,
    tmp_path: Path,
    moment: str,
    unnoticed: bool,
) -> None:
    async with staged(database, anvil) as scene, opened(scene, tmp_path) as company:
        await company.deposit("1.00")
        await MINT_MOMENTS[moment](company)
        name = await backup(postgres, database)
        await company.deposit("2.00")
        await company.until_ended(2)
        async with restored(company, postgres, template, name, unnoticed=unnoticed) as again:
            if not unnoticed or moment != "mined":
                assert await again.is_lost()
            await again.deposit("4.00")
            await again.until_ended(3)
            await _minted_once(again, 700)


@pytest.mark.parametrize("is_dropped", [False, True], ids=["in the pool", "dropped"])
async def test_what_was_under_way_when_the_database_was_lost_is_minted_once(
    database: Database,
    anvil: Anvil,
    token_artifact: TokenArtifact,
    postgres: EmbeddedPostgres,
    template: Template,
    tmp_path: Path,
    is_dropped: bool,
) -> None:
    """Custody's log alone knows of its nonce: it is filled, and whichever of the two is mined, nothing is lost."""
    async with staged(database, anvil) as scene, opened(scene, tmp_path) as company:
        await company.deposit("1.00")
        await _reserved(company)
        name = await backup(postgres, database)
        await _sent(company)
        if is_dropped:
            await anvil.rpc("anvil_dropAllTransactions")
        async with restored(company, postgres, template, name, unnoticed=True) as again:
            assert await again.is_lost()
            await again.until_ended(1)
            await _minted_once(again, 100)
            outcomes = await again.world.pool.fetch("SELECT outcome FROM bridge.tx ORDER BY nonce")
            assert outcomes[0]["outcome"] in ("foreign", "cancelled")


async def _approved(company: Company) -> None:
    await company.hear()
    assert await company.decider._judge_waiting(company.world.operate)


async def _prepared(company: Company) -> None:
    await _approved(company)
    assert await company.decider._prepare_approved(company.world.operate)


async def _given(company: Company) -> None:
    await _prepared(company)
    assert await company.payouts.step(company.world.operate)


async def _booked(company: Company) -> None:
    await _given(company)
    await asyncio.sleep(BOOKED_AFTER_S)
    await company.hear()


PAYOUT_MOMENTS = {
    "approved": _approved,
    "prepared": _prepared,
    "given": _given,
    "booked": _booked,
}


@pytest.mark.parametrize("moment", PAYOUT_MOMENTS)
@pytest.mark.parametrize("burned", [False, True], ids=["paid", "burned"])
async def test_a_restored_database_never_pays_twice(
    database: Database,
    anvil: Anvil,
    token_artifact: TokenArtifact,
    postgres: EmbeddedPostgres,
    template: Template,
    tmp_path: Path,
    moment: str,
    burned: bool,
) -> None:
    """What the journal has of the order is entered; what it has lost is left to people, and not paid again."""
    async with staged(database, anvil) as scene, opened(scene, tmp_path) as company:
        await company.deposit("1.00")
        await company.until_ended(1)
        await company.redeem(40)
        await PAYOUT_MOMENTS[moment](company)
        name = await backup(postgres, database)
        if burned:
            await company.until_ended(2)
        elif moment in ("approved", "prepared"):
            await company.decider.step(company.world.operate)
            await company.payouts.step(company.world.operate)
            await asyncio.sleep(BOOKED_AFTER_S)
        async with restored(company, postgres, template, name, unnoticed=False) as again:
            assert await again.is_lost()
            if moment in ("given", "booked"):
                await again.until_ended(2)
            else:
                await again.go_on(12)
            assert await again.paid_out() == [40]
            assert await again.scene.balance() == 60
