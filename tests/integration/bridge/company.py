"""Everything that moves money over one database, a step at a time: real chain, bank, custody's log and loops. The
database can be copied at any moment, and the copy be worked on while chain and bank go on: a restore."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
from coincurve import PrivateKey
from pydantic import SecretStr

from bridge import halts, lane, resuming
from bridge.bank.rest import RestBank, RestBankSettings
from bridge.custody.keystore import KeystoreCustody
from bridge.custody.log import CustodyLog
from bridge.custody.recorded import RecordedCustody
from bridge.decider import Decider
from bridge.errors import Retryable
from bridge.ingest import Ingest
from bridge.lane import Lane
from bridge.observer import Observer
from bridge.payouts import Payouts
from bridge.poller import Poller
from bridge.recovery import recover
from bridge.rescan import Rescan, rescan
from bridge.watch import Watch
from daemon.embedded.postgres import EmbeddedPostgres
from indexer import follower, lease
from indexer.lease import Fence
from tests.conformance.bank.conftest import API_KEY, LIVE_SECRET, SimulatorControl, simulator
from tests.conftest import DAEMON_ROLE, Database, Template, execute
from tests.integration.bridge import world as w
from tests.integration.bridge.scene import SETTINGS, Scene

NOWHERE: Final = "http://127.0.0.1:9/bank"
ENDED: Final = ("settled", "refunded")
ROUNDS: Final = 60
BOOKED_AFTER_S: Final = 0.2
"""The bank books after a tenth of a second."""

_numbers = itertools.count(1)


@dataclass
class Company:
    """One database's view of the world. ``scene`` is that of the chain, whatever its own database is."""

    scene: Scene
    world: w.World
    bank: RestBank
    teller: SimulatorControl
    log: CustodyLog
    key: bytes

    def __post_init__(self) -> None:
        scene, pool = self.scene, self.world.pool
        token, node = scene.token, scene.lane._taker._node
        custody = RecordedCustody(KeystoreCustody(PrivateKey(self.key)), self.log)
        self.lane = Lane(pool, node, custody, token, scene.signer, SETTINGS)
        self.observer = Observer(pool, token)
        self.decider = Decider(pool, token, recheck_held_s=0.0)
        self.ingest = Ingest(pool, token)
        self.poller = Poller(pool, self.bank, token)
        self.payouts = Payouts(pool, self.bank, token, ask_after_s=0.0)
        self.watch = Watch(pool, node, token.chain_id, [scene.signer], self.log)
        self.follower = follower.Follower(
            pool,
            scene.follower._providers,
            scene.follower._contracts,
            follower.FollowerSettings(chain_id=w.CHAIN_ID),
        )

    async def open(self) -> None:
        """As the daemon's loops open."""
        await self.lane.open(self.world.submit, "minter")
        await self.watch.look()

    async def hear(self) -> None:
        """Everything that bank and chain say."""
        # A page that was asked for is acted on before there is a next one.
        while any([await self.poller.step(), await self.ingest.step(self.world.operate)]):
            pass
        while (await self.follower.step(self.world.follow)).more:
            pass
        while await self.observer.step(self.world.operate):
            pass

    async def turn(self) -> None:
        """A step of every loop, and two blocks."""
        await self.hear()
        # What is held is judged anew each time, so it always has something to do.
        for _ in range(3):
            await self.decider.step(self.world.operate)
        await self.payouts.step(self.world.operate)
        with suppress(Retryable):
            await self.lane.step(self.world.submit)
        await self.scene.anvil.mine(2)
        await asyncio.sleep(BOOKED_AFTER_S)

    async def until_ended(self, operations: int) -> None:
        """Go on until so many operations have ended."""
        for _ in range(ROUNDS):
            await self.go_on(1)
            states = [row["state"] for row in await self.operations()]
            if len(states) >= operations and all(one in ENDED for one in states):
                return
        raise AssertionError(f"it did not end: {await self.operations()}")

    async def go_on(self, turns: int) -> None:
        """So many turns; after a state loss two people let it go on."""
        for _ in range(turns):
            await self.turn()
            if await self.is_lost():
                found = await self.rescan()
                if not found.waits:
                    await self.resume(found)

    async def operations(self) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.world.pool.fetch(
            "SELECT kind, state, reason FROM bridge.operation ORDER BY operation_id"
        )
        return rows

    async def is_lost(self) -> bool:
        found: bool = await self.world.pool.fetchval("SELECT ops.is_state_lost()")
        return found

    async def rescan(self) -> Rescan:
        return await rescan(self.world.pool, self.watch, self.bank, self.scene.token)

    async def resume(self, found: Rescan) -> None:
        """One proposes, and another one approves."""
        pool = self.world.pool
        async with pool.acquire() as connection:
            lifted = await halts.open_halts(connection)
            goes_on = await resuming.what_goes_on(connection)
            text = resuming.content(lifted, "maker", goes_on, found.shown())
            proposal = await halts.propose(connection, text, "maker")
        halt_ids = [one.halt_id for one in lifted]
        await recover(pool, self.scene.token, found, proposal, halt_ids, "checker")
        self.world = await holding(self.world, self.scene.signer)
        await self.open()

    async def deposit(self, amount: str) -> None:
        await self.teller.deposit(amount, webhook="never")
        await asyncio.sleep(BOOKED_AFTER_S)

    async def redeem(self, amount_minor: int) -> None:
        await self.scene.confirmed(
            self.scene.holder, "requestRedeem(uint256,bytes32)", amount_minor, bytes(32)
        )
        await self.scene.anvil.mine(6)

    async def paid_out(self) -> list[int]:
        """What has left the account at the bank, in minor units."""
        found: list[int] = []
        after = 0
        while (page := await self.bank.entries(after)).entries:
            found += [
                int(float(one.amount) * 100) for one in page.entries if one.direction == "debit"
            ]
            after = page.entries[-1].sequence
        return found


async def holding(world: w.World, signer: bytes) -> w.World:
    """The same world, with every lease taken anew."""

    async def seized(role: str) -> Fence:
        async with world.pool.acquire() as connection:
            return await lease.seize(connection, role, "test", 600)

    return replace(
        world,
        follow=await seized(follower.role(w.CHAIN_ID)),
        operate=await seized("operate"),
        submit=await seized(lane.role(signer)),
        reconcile=await seized("reconcile"),
    )


@asynccontextmanager
async def opened(scene: Scene, path: Path) -> AsyncIterator[Company]:
    """The company over the scene's own database, with a bank of its own."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    key = bytes.fromhex(scene.lane._signing._custody._key.secret.hex())  # type: ignore[attr-defined]
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        simulator(NOWHERE, scene.token.account_id) as url,
        RestBank(
            RestBankSettings(
                base_url=url,
                api_key=SecretStr(API_KEY),
                account_id=scene.token.account_id,
                currency="EUR",
                exponent=2,
                webhook_secrets=(SecretStr(LIVE_SECRET),),
                timeout_s=10.0,
            )
        ) as bank,
    ):
        log = CustodyLog(path / "custody.log")
        company = Company(scene, scene.world, bank, SimulatorControl(session, url), log, key)
        await company.open()
        yield company


async def backup(postgres: EmbeddedPostgres, source: Database) -> str:
    """A copy of the database as it is now; its name."""
    name = f"restored_{next(_numbers)}"
    await execute(
        postgres,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source.name}'",
    )
    await execute(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{source.name}"')
    return name


@asynccontextmanager
async def restored(
    company: Company, postgres: EmbeddedPostgres, template: Template, name: str, *, unnoticed: bool
) -> AsyncIterator[Company]:
    """The company over a copy; ``unnoticed``: as if a disk had been put back, of which Postgres knows nothing."""
    if unnoticed:
        owner = await asyncpg.connect(postgres.dsn(name))
        try:
            await owner.execute(
                """ALTER TABLE ops.database_identity DISABLE TRIGGER ALL;
                   UPDATE ops.database_identity SET database_oid = (SELECT database_oid FROM ops.live_identity());
                   ALTER TABLE ops.database_identity ENABLE TRIGGER ALL"""
            )
        finally:
            await owner.close()
    dsn = postgres.dsn(name, DAEMON_ROLE, template.daemon_password)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=6) as pool:
        world = await holding(replace(company.world, pool=pool), company.scene.signer)
        again = replace(company, world=world)
        await again.open()
        yield again
