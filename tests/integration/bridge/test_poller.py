"""The poll asks on from where ingest has come to, and what it shows a second time is only observed."""

import aiohttp
from pydantic import SecretStr

from bridge.bank.rest import RestBank, RestBankSettings
from bridge.poller import Poller
from tests.conformance.bank.conftest import API_KEY, LIVE_SECRET, SimulatorControl, simulator
from tests.conftest import Database
from tests.integration.bridge import world as w
from tests.integration.bridge.company import NOWHERE
from tests.integration.bridge.test_attacks_bank import booked, funded, ingest, page, webhook


async def test_no_page_is_asked_for_before_the_last_one_was_acted_on(database: Database) -> None:
    account = w.TOKEN.account_id
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as session,
        w.opened(database) as world,
        simulator(NOWHERE, account) as url,
    ):
        settings = RestBankSettings(
            base_url=url,
            api_key=SecretStr(API_KEY),
            account_id=account,
            currency="EUR",
            exponent=2,
            webhook_secrets=(SecretStr(LIVE_SECRET),),
            timeout_s=10.0,
        )
        teller = SimulatorControl(session, url)

        async def count(table: str) -> int:
            found: int = await world.pool.fetchval(f"SELECT count(*) FROM bank.{table}")
            return found

        async with RestBank(settings) as bank:
            poller = Poller(world.pool, bank, w.TOKEN)
            await teller.deposit("1.00", webhook="never")
            assert await poller.step()
            await teller.deposit("2.00", webhook="never")
            assert await poller.step(), "there is something to wait for"
            assert await count("raw") == 1
            await ingest(world)
            assert await poller.step()
            await ingest(world)
            assert not await poller.step()
        assert (await count("raw"), await count("entry"), await count("observation")) == (2, 2, 2)


async def test_a_page_that_shows_what_is_known_observes_it_and_records_the_rest(
    database: Database,
) -> None:
    async with w.opened(database) as world:
        entries = [booked(f"d{n}", n, f"{n}.00") for n in range(1, 5)]
        for entry in entries[:2]:
            await webhook(world, entry)
        await ingest(world)
        # The third is new, and the first one's amount has changed.
        await page(world, 3, {**entries[0], "amount": "9.00"}, *entries[1:3])
        await ingest(world)
        assert await funded(world) == [100, 200, 300]
        rows = await world.pool.fetch(
            "SELECT entry_key, count(*)::int AS times FROM bank.observation GROUP BY 1 ORDER BY 1"
        )
        assert [tuple(row) for row in rows] == [("d1", 2), ("d2", 2), ("d3", 1)]
        breaks = await world.pool.fetch("SELECT kind, subject FROM recon.break")
        assert [tuple(row) for row in breaks] == [("duplicate", "entry:d1")]
