"""The compiled token on a real chain, called by our own encoding: batches, and what bounds them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from eth_utils.crypto import keccak

from bridge.calldata import Mint, MintBatch, Settle, SettleBatch, error_name, refusals
from daemon.demo import token as chain_token
from daemon.demo.token import Token, as_hex, call_data, confirm, from_hex
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from daemon.embedded.errors import AnvilRpcError
from tests.conftest import TokenArtifact

# EIP-7825, and how much of it a batch may use.
TX_GAS_CAP = 16_777_216
BATCH_GAS = 15_000_000
LARGEST_BATCH = 250
REFUSED = keccak(text="MintRefused(bytes32,address,bytes4)")
REPLAYED = keccak(text="OperationReplayed(bytes32,address)")
SETTLE_REFUSED = keccak(text="SettleRefused(bytes32,address,bytes4)")


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployed token; one key has every role. What is sent is mined at once."""

    chain: Anvil
    token: Token
    officer: Wallet
    numbers: Iterator[int]

    async def send(self, sender: Wallet, data: bytes, gas_limit: int = BATCH_GAS) -> dict[str, Any]:
        """The receipt of a call of the token. Raises AnvilRpcError, TokenFailedError."""
        number = await self.chain.rpc("eth_getTransactionCount", as_hex(sender.address), "latest")
        raw = sender.sign(
            chain_id=self.token.chain_id,
            nonce=int(number, 16),
            to=self.token.address,
            data=data,
            gas_limit=gas_limit,
        )
        await self.chain.rpc("eth_sendRawTransaction", as_hex(raw))
        return await confirm(self.chain, keccak(raw))

    async def do(self, signature: str, *arguments: object) -> dict[str, Any]:
        return await self.send(self.officer, call_data(signature, *arguments), 250_000)

    async def simulate(self, data: bytes) -> bytes:
        """What a call answers that is not sent."""
        call = {
            "from": as_hex(self.officer.address),
            "to": as_hex(self.token.address),
            "data": as_hex(data),
        }
        return from_hex(await self.chain.rpc("eth_call", call, "latest"))

    async def configure(self, allowance: int, burst: int, refill_s: int) -> None:
        await self.do(
            "configureMinter(address,uint256,uint208,uint48)",
            *(self.officer.address, allowance, burst, refill_s),
        )

    def mint(self, to: bytes, amount: int = 100) -> Mint:
        """Another operation, whose deadline is far away."""
        name = f"operation {next(self.numbers)}"
        return Mint(keccak(text=name), to, amount, keccak(text=name), int(time.time()) + 10**6)

    async def balance(self, holder: bytes) -> int:
        found: int = await self.token.ask("balanceOf(address)", holder, returns=["uint256"])
        return found


@asynccontextmanager
async def staged(chain: Anvil) -> AsyncIterator[Stage]:
    officer = Wallet.new()
    await chain_token.fund(chain, officer.address)
    token = await chain_token.deploy(chain, officer, 2)
    stage = Stage(chain, token, officer, count())
    for name in ("MINTER_ROLE", "REDEEMER_ROLE", "MINTER_ADMIN_ROLE", "ALLOWLISTER_ROLE"):
        await stage.do("grantRole(bytes32,address)", await token.role(name), officer.address)
    for sent in await chain_token.lift_limits(token, officer, officer, officer.address):
        await confirm(chain, sent)
    yield stage


@pytest_asyncio.fixture(loop_scope="session")
async def stage(anvil: Anvil, token_artifact: TokenArtifact) -> AsyncIterator[Stage]:
    """On the token as it is compiled now."""
    async with staged(anvil) as made:
        yield made


def logged(receipt: dict[str, Any], event: bytes) -> list[tuple[bytes, str | None]]:
    """The first indexed word of each log of an event, and the error that its data names."""
    return [
        (from_hex(log["topics"][1]), error_name(from_hex(log["data"])))
        for log in receipt["logs"]
        if from_hex(log["topics"][0]) == event
    ]


async def test_a_batch_mints_what_it_can_and_tells_why_it_passes_over_the_rest(
    stage: Stage,
) -> None:
    holder, stranger = Wallet.new().address, Wallet.new().address
    await stage.do("setAllowed(address,bool)", holder, True)
    earlier = stage.mint(holder)
    await stage.send(stage.officer, earlier.encode())
    good, barred, last = stage.mint(holder), stage.mint(stranger), stage.mint(holder)
    batch = MintBatch((earlier, good, barred, replace(good, amount=7), last)).encode()

    foreseen = refusals(await stage.simulate(batch))
    receipt = await stage.send(stage.officer, batch)

    assert foreseen == ["OperationUsed", None, "AccountNotAllowed", "OperationUsed", None]
    assert await stage.balance(holder) == 300
    assert [found for found, _ in logged(receipt, chain_token.MINTED)] == [good.op_id, last.op_id]
    assert [found for found, _ in logged(receipt, REPLAYED)] == [earlier.op_id]
    assert logged(receipt, REFUSED) == [
        (barred.op_id, "AccountNotAllowed"),
        (good.op_id, "OperationUsed"),
    ]


async def test_an_operation_that_was_passed_over_can_be_minted_later(stage: Stage) -> None:
    holder = Wallet.new().address
    mint = stage.mint(holder)
    await stage.send(stage.officer, MintBatch((mint,)).encode())
    await stage.do("setAllowed(address,bool)", holder, True)
    await stage.send(stage.officer, MintBatch((mint,)).encode())
    assert await stage.balance(holder) == 100


async def test_a_batch_is_held_to_the_minters_limits(stage: Stage) -> None:
    holder = Wallet.new().address
    await stage.do("setAllowed(address,bool)", holder, True)
    await stage.configure(250, 180, 10**9)
    batch = MintBatch(tuple(stage.mint(holder, amount) for amount in (100, 90, 80, 200))).encode()
    receipt = await stage.send(stage.officer, batch)
    assert [name for _, name in logged(receipt, REFUSED)] == [
        "MinterLimitExceeded",
        "MinterAllowanceExceeded",
    ]
    assert await stage.balance(holder) == 180


async def test_a_batch_settles_what_is_open(stage: Stage) -> None:
    holder = Wallet.new()
    await chain_token.fund(stage.chain, holder.address)
    await stage.do("setAllowed(address,bool)", holder.address, True)
    await stage.send(stage.officer, stage.mint(holder.address).encode())
    asked = [
        await stage.send(holder, call_data("requestRedeem(uint256,bytes32)", amount, bytes(32)))
        for amount in (30, 40)
    ]
    ids = [redemption for one in asked for redemption, _ in logged(one, chain_token.REQUESTED)]
    unknown = keccak(text="no such redemption")
    batch = SettleBatch(tuple(Settle(one, keccak(one)) for one in (ids[0], unknown, ids[1])))

    foreseen = refusals(await stage.simulate(batch.encode()))
    receipt = await stage.send(stage.officer, batch.encode())

    assert foreseen == [None, "RedemptionNotOpen", None]
    assert [found for found, _ in logged(receipt, chain_token.SETTLED)] == ids
    assert logged(receipt, SETTLE_REFUSED) == [(unknown, "RedemptionNotOpen")]
    supply = await stage.token.ask("totalSupply()", returns=["uint256"])
    assert (supply, await stage.balance(stage.token.address)) == (30, 0)


async def test_the_largest_batch_fits_into_a_transaction_and_no_transaction_may_be_larger(
    stage: Stage,
) -> None:
    holders = [Wallet.new().address for _ in range(LARGEST_BATCH)]
    sent = [
        await stage.token.send(stage.officer, "setAllowed(address,bool)", holder, True)
        for holder in holders
    ]
    for tx_hash in sent:
        await confirm(stage.chain, tx_hash)
    batch = MintBatch(tuple(stage.mint(holder) for holder in holders)).encode()

    with pytest.raises(AnvilRpcError, match="tx_gas_limit_cap"):
        await stage.send(stage.officer, batch, TX_GAS_CAP + 1)
    receipt = await stage.send(stage.officer, batch, TX_GAS_CAP)

    assert len(logged(receipt, chain_token.MINTED)) == LARGEST_BATCH
    assert int(receipt["gasUsed"], 16) < BATCH_GAS
    estimate = await stage.chain.rpc(
        "eth_estimateGas",
        {
            "from": as_hex(stage.officer.address),
            "to": as_hex(stage.token.address),
            "data": as_hex(MintBatch(tuple(map(stage.mint, holders))).encode()),
        },
    )
    assert int(estimate, 16) < BATCH_GAS
