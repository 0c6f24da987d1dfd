"""A lane over a deployed token on a real chain, with a proxy at the node's door and a follower behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from coincurve import PrivateKey

from bridge.custody.keystore import KeystoreCustody
from bridge.decider import Decider
from bridge.lane import Lane, LaneSettings
from bridge.node import Node
from bridge.observer import Observer
from bridge.taker import TakerSettings
from bridge.token import Token, as_contract
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from indexer.backfill import Backfill
from indexer.follower import Follower, FollowerSettings
from indexer.provider import ProviderSettings
from indexer.providers import Providers
from indexer.rpc import Rpc
from tests.conftest import Database
from tests.integration.bridge import world as w
from tests.integration.bridge.node_proxy import NodeProxy

GWEI = 10**9
SETTINGS = LaneSettings(
    max_fee_wei=500 * GWEI,
    lowest_tip_wei=GWEI,
    resend_after_s=0.0,
    taking=TakerSettings(window_s=0.0),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A lane over a deployed token; ``proxy`` stands between it and the node."""

    world: w.World
    lane: Lane
    observer: Observer
    decider: Decider
    follower: Follower
    backfill: Backfill
    proxy: NodeProxy
    anvil: Anvil
    contract: chain_token.Token
    token: Token
    signer: bytes
    admin: Wallet
    holder: Wallet

    async def state(self, op_id: bytes) -> str:
        found: str = await self.world.pool.fetchval(
            "SELECT state FROM bridge.operation WHERE op_id = $1", op_id
        )
        return found

    async def balance(self) -> int:
        found: int = await self.contract.ask(
            "balanceOf(address)", self.holder.address, returns=["uint256"]
        )
        return found

    async def reserved(self, name: str) -> bytes:
        """An issuance of 100 that waits for a nonce; answers with its op_id."""
        return await w.add_issuance(
            self.world,
            name,
            100,
            "approved",
            "reserved",
            token=self.contract.address,
            wallet=self.holder.address,
        )

    async def confirmed(self, wallet: Wallet, signature: str, *arguments: object) -> None:
        """Send a transaction of somebody's own and mine it."""
        await chain_token.confirm(
            self.anvil, await self.contract.send(wallet, signature, *arguments)
        )

    async def make_minter(self, wallet: Wallet) -> None:
        """Another key that may mint, without limits."""
        role = await self.contract.role("MINTER_ROLE")
        await self.confirmed(self.admin, "grantRole(bytes32,address)", role, wallet.address)
        await lift_limits(self.anvil, self.contract, self.admin, wallet.address)

    async def index(self) -> None:
        """Everything that the node has; nobody acts on it."""
        fence = self.world.follow
        while (await self.follower.step(fence)).more or await self.backfill.step(fence):
            pass

    async def follow(self) -> None:
        """Index everything that the node has, and act on all of it."""
        await self.index()
        while await self.observer.step(self.world.operate):
            pass


async def lift_limits(
    anvil: Anvil, contract: chain_token.Token, admin: Wallet, minter: bytes
) -> None:
    """Wait until a minter may mint as much as it wants."""
    for sent in await chain_token.lift_limits(contract, admin, admin, minter):
        await chain_token.confirm(anvil, sent)


@asynccontextmanager
async def staged(database: Database, anvil: Anvil) -> AsyncIterator[Scene]:
    """The scene, its lane open, its chain followed."""
    async with prepared(database, anvil) as scene:
        await scene.follow()
        await scene.lane.open(scene.world.submit, "minter")
        yield scene


@asynccontextmanager
async def prepared(database: Database, anvil: Anvil) -> AsyncIterator[Scene]:
    """Deploy the token, give the signer its roles, allow the holder. Nothing was read yet."""
    admin, signer, holder = Wallet.new(), Wallet.new(), Wallet.new()
    for wallet in (admin, signer, holder):
        await chain_token.fund(anvil, wallet.address)
    contract = await chain_token.deploy(anvil, admin, 2)
    roles = {
        "MINTER_ROLE": signer,
        "REDEEMER_ROLE": signer,
        "MINTER_ADMIN_ROLE": admin,
        "ALLOWLISTER_ROLE": admin,
        "FREEZER_ROLE": admin,
    }
    for name, wallet in roles.items():
        role = await contract.role(name)
        granted = await contract.send(admin, "grantRole(bytes32,address)", role, wallet.address)
        await chain_token.confirm(anvil, granted)
    allowed = await contract.send(admin, "setAllowed(address,bool)", holder.address, True)
    await chain_token.confirm(anvil, allowed)
    await lift_limits(anvil, contract, admin, signer.address)
    token = replace(w.TOKEN, address=contract.address)
    async with set_up(database, anvil, contract, token, (admin, signer, holder)) as scene:
        yield scene


@asynccontextmanager
async def set_up(
    database: Database,
    anvil: Anvil,
    contract: chain_token.Token,
    token: Token,
    people: tuple[Wallet, Wallet, Wallet],
) -> AsyncIterator[Scene]:
    """Lane, follower and observer of a token that is there; ``people`` are its admin, the signer and a holder."""
    admin, signer, holder = people
    async with (
        w.opened(database, token, holder.address, signer.address) as world,
        NodeProxy(anvil.url) as proxy,
        Rpc(proxy.url) as rpc,
        Providers([ProviderSettings("node", "operator", proxy.url)]) as providers,
    ):
        contracts = [as_contract(token, 0)]
        follower = Follower(world.pool, providers, contracts, FollowerSettings(chain_id=w.CHAIN_ID))
        lane = Lane(
            world.pool,
            Node(rpc),
            KeystoreCustody(PrivateKey(bytes(signer.account.key))),
            token,
            signer.address,
            SETTINGS,
        )
        yield Scene(
            world=world,
            lane=lane,
            observer=Observer(world.pool, token),
            decider=Decider(world.pool, token, recheck_held_s=0.0),
            follower=follower,
            backfill=Backfill(world.pool, providers, contracts, w.CHAIN_ID),
            proxy=proxy,
            anvil=anvil,
            contract=contract,
            token=token,
            signer=signer.address,
            admin=admin,
            holder=holder,
        )
