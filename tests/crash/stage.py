"""A chain, a bank, a database and a doomed daemon, kept for many runs, and the people who act in each of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from daemon.demo.scenario import Holder
from daemon.demo.token import Token, as_hex, confirm, fund
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Template
from tests.crash.doomed import Doomed
from tests.crash.witness import Witness
from tests.integration.bridge.node_proxy import NodeProxy
from tests.integration.daemon.staging import copied, opened
from tests.integration.daemon.world import World, new_person, register_people

BLOCK_TIME_S: Final = 0.25
# The deepest that leaves alone what is final, four blocks behind the head.
REORG_BLOCKS: Final = 3
RESEND_S: Final = 0.5
SETTING_UP_S: Final = 600.0
SAVINGS_MINOR: Final = 10_000_000_00
# Impatient where something is asked again, patient where a busy machine would look like a fault.
SETTINGS: Final[dict[str, Any]] = {
    "chains__local": {"poll_interval_s": 0.2, "audit_blocks_per_hour": 0},
    "chains__local__providers__node": {"timeout_s": 30.0},
    "bank": {"poll_interval_s": 0.3, "ask_after_s": 0.5, "timeout_s": 30.0},
    "sender": {"resend_after_s": 0.6, "bump_after_s": 1.0},
    "daemon": {"lease_ttl_s": 30.0, "recheck_held_s": 1.0, "log_level": "warning"},
}


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that somebody wants to have on the chain, whatever is reorganized."""

    sender: Wallet
    signature: str
    arguments: tuple[object, ...]
    tx_hash: bytes


@dataclass(slots=True)
class People:
    """Who acts: two who pay in, one whose account is frozen now and then, one who redeems, and one who redeems to
    an account that the bank refuses."""

    payer: Holder
    quiet_payer: Holder
    suspect: Holder
    redeemer: Holder
    refused: Holder


@dataclass(slots=True)
class Wanted:
    """What people have done so far: deposits are in the world's own list, redemptions here, by wallet and amount."""

    paid: list[tuple[Holder, int]] = field(default_factory=list)
    refused: list[tuple[Holder, int]] = field(default_factory=list)


class Chain:
    """Anvil, which makes blocks when we say so, and people's transactions on it. ``head`` is the height of the newest
    block."""

    def __init__(self, anvil: Anvil, token: Token) -> None:
        self.anvil = anvil
        self.token = token
        self.head = 0
        self._last_kinds: frozenset[bytes] = frozenset()
        self._may_mine = asyncio.Event()
        self._may_mine.set()
        self._alone = asyncio.Lock()
        self._sent: list[Sent] = []

    def hold(self) -> None:
        """No block from now on."""
        self._may_mine.clear()

    def hold_behind(self, kinds: Sequence[bytes]) -> None:
        """No block behind the next one that has an event of one of these kinds."""
        self._last_kinds = frozenset(kinds)

    @property
    def is_held(self) -> bool:
        return not self._may_mine.is_set()

    def release(self) -> None:
        self._last_kinds = frozenset()
        self._may_mine.set()

    async def send(self, sender: Wallet, signature: str, *arguments: object) -> None:
        """See to it that the transaction is mined, and mined again after a reorg."""
        tx_hash = await self.token.send(sender, signature, *arguments)
        self._sent.append(Sent(sender, signature, arguments, tx_hash))

    async def run(self) -> None:
        """Make blocks, for ever."""
        ticks = 0
        while True:
            await self._may_mine.wait()
            async with self._alone:
                await self._mine()
            ticks += 1
            if ticks % round(RESEND_S / BLOCK_TIME_S) == 0:
                await self._send_again()
            await asyncio.sleep(BLOCK_TIME_S)

    async def reorg(self) -> None:
        """Replace the newest blocks by empty ones: what was in them is forgotten."""
        async with self._alone:
            await self.anvil.rpc("anvil_reorg", REORG_BLOCKS, [])

    async def _mine(self) -> None:
        await self.anvil.mine()
        self.head = int(await self.anvil.rpc("eth_blockNumber"), 16)
        if self._last_kinds & {event.kind for event in await self.token.events(self.head)}:
            self.hold()

    async def _send_again(self) -> None:
        """Of each sender the first that no block has. What is deep enough is forgotten."""
        behind: set[bytes] = set()
        for sent in list(self._sent):
            receipt = await self.anvil.rpc("eth_getTransactionReceipt", as_hex(sent.tx_hash))
            if receipt is not None:
                if int(receipt["blockNumber"], 16) < self.head - 2 * REORG_BLOCKS:
                    self._sent.remove(sent)
            elif sent.sender.address not in behind:
                behind.add(sent.sender.address)
                await self.token.send_again(sent.sender, sent.signature, *sent.arguments)


@dataclass(slots=True)
class Stage:
    """Everything. ``world.daemon`` is ``daemon``."""

    world: World
    chain: Chain
    daemon: Doomed
    witness: Witness
    people: People
    wanted: Wanted = field(default_factory=Wanted)
    runs: int = 0

    async def pay_in(self, holder: Holder, webhook: str = "normal") -> None:
        await self.world.pay_in(holder, self._amount(), webhook)

    async def redeem(self, holder: Holder) -> None:
        amount = self._amount()
        kept = self.wanted.refused if holder is self.people.refused else self.wanted.paid
        kept.append((holder, amount))
        reference = random.randbytes(32)
        await self.chain.send(holder.wallet, "requestRedeem(uint256,bytes32)", amount, reference)

    async def freeze(self, holder: Holder, frozen: bool) -> None:
        address = holder.wallet.address
        await self.chain.send(self.world.officer, "setFrozen(address,bool)", address, frozen)

    def _amount(self) -> int:
        """One that no other deposit or redemption of this stage has: it names what people did."""
        done = len(self.world.deposits) + len(self.wanted.paid) + len(self.wanted.refused)
        return 1_00 + done


@asynccontextmanager
async def staged(
    folder: Path, server: EmbeddedPostgres, template: Template
) -> AsyncIterator[Stage]:
    """Set everything up; the daemon runs, and those who redeem have tokens."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(copied(server, template))
        world = await stack.enter_async_context(
            opened(folder, database, holders=4, block_time_s=None)
        )
        proxy = await stack.enter_async_context(NodeProxy(world.chain.url))
        witness = Witness(world.owner, proxy)
        proxy.judge = witness.judge
        world.configuration = world.configuration.changed(**SETTINGS).changed(
            chains__local__providers__node={"http_url": proxy.url}
        )
        daemon = Doomed(world.configuration, world.daemon.port, world.owner)
        stack.push_async_callback(daemon.close)
        world.daemon = daemon
        payer, quiet_payer, suspect, redeemer = world.holders
        people = People(payer, quiet_payer, suspect, redeemer, await _refused_person(world))
        chain = Chain(world.chain, world.token)
        mining = asyncio.create_task(chain.run())
        stack.push_async_callback(_cancel, mining)
        stage = Stage(world, chain, daemon, witness, people)
        for holder in (people.redeemer, people.refused):
            await world.pay_in(holder, SAVINGS_MINOR + len(world.deposits))
        await daemon.start()
        await world.settled(SETTING_UP_S)
        yield stage


async def _refused_person(world: World) -> Holder:
    """Somebody whose account the bank always refuses."""
    person = new_person()
    person = replace(person, iban=f"REJECT{person.number:010d}")
    await fund(world.chain, person.wallet.address)
    sent = await world.token.send(
        world.officer, "setAllowed(address,bool)", person.wallet.address, True
    )
    await confirm(world.chain, sent)
    async with world.owner.acquire() as connection:
        await register_people(connection, [person])
    return person


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
