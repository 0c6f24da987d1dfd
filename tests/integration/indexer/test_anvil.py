"""The deposit token on a real Anvil: its own events, real reorgs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from eth_abi.abi import encode

from daemon.embedded.anvil import Anvil
from indexer import lease, registry
from indexer.follower import FollowerSettings, role
from indexer.keccak import keccak
from tests.conftest import TokenArtifact
from tests.integration.indexer.conftest import Books, Following, following, token_contract

ANVIL_CHAIN_ID = 31337
GAS = hex(6_000_000)


@dataclass
class TokenChain:
    """DepositToken on Anvil, its first account being administrator and allowlister."""

    anvil: Anvil
    admin: str
    token: str

    async def allow(self, account: bytes) -> str:
        """Put an account on the allowlist, in the next block; answers with the transaction's hash."""
        call = selector("setAllowed(address,bool)") + encode(["address", "bool"], [account, True])
        return await send(self.anvil, self.admin, "0x" + call.hex(), self.token)

    async def block_hash(self, number: int) -> bytes:
        block = await self.anvil.rpc("eth_getBlockByNumber", hex(number), False)
        return bytes.fromhex(block["hash"][2:])

    async def hashes(self) -> list[bytes]:
        head = int(await self.anvil.rpc("eth_blockNumber"), 16)
        return [await self.block_hash(number) for number in range(head + 1)]


def selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


async def send(anvil: Anvil, sender: str, data: str, to: str | None = None) -> str:
    call = {"from": sender, "data": data, "gas": GAS, **({"to": to} if to else {})}
    tx_hash: str = await anvil.rpc("eth_sendTransaction", call)
    return tx_hash


@pytest_asyncio.fixture(loop_scope="session")
async def chain(anvil: Anvil, token_artifact: TokenArtifact) -> TokenChain:
    admin = (await anvil.rpc("eth_accounts"))[0]
    arguments = encode(["string", "string", "uint8", "address"], ["Deposit", "DEP", 2, admin])
    code = token_artifact["bytecode"] + arguments.hex()
    deployed = await send(anvil, admin, code)
    await anvil.mine(1)
    receipt: dict[str, Any] = await anvil.rpc("eth_getTransactionReceipt", deployed)
    assert receipt["status"] == "0x1"
    token: str = receipt["contractAddress"]
    role = keccak(b"ALLOWLISTER_ROLE")
    grant = selector("grantRole(bytes32,address)") + encode(["bytes32", "address"], [role, admin])
    await send(anvil, admin, "0x" + grant.hex(), token)
    await anvil.mine(1)
    return TokenChain(anvil, admin, token)


@pytest_asyncio.fixture(loop_scope="session")
async def on_anvil(
    books: Books, chain: TokenChain, token_artifact: TokenArtifact
) -> AsyncIterator[Following]:
    contract = token_contract(
        bytes.fromhex(chain.token[2:]), token_artifact["abi"], chain_id=ANVIL_CHAIN_ID
    )
    await registry.register(books.owner, [contract])
    settings = FollowerSettings(ANVIL_CHAIN_ID)
    fence = await lease.acquire(books.owner, role(ANVIL_CHAIN_ID), "the test", 600)
    assert fence is not None
    books = replace(books, fence=fence)
    async with following(books, [contract], chain.anvil.url, settings=settings) as found:
        yield found


async def allowed(books: Books) -> list[tuple[int, bytes]]:
    return [(row["block_number"], row["account"]) for row in await books.events("token_allowed")]


async def test_the_tokens_events_become_rows(
    books: Books, chain: TokenChain, on_anvil: Following
) -> None:
    accounts = [bytes([number]) * 20 for number in (1, 2)]
    for account in accounts:
        await chain.allow(account)
    await chain.anvil.mine(1)
    await on_anvil.settle()
    start = await books.owner.fetchval("SELECT start_block FROM chain.cursor")
    assert await books.hashes() == (await chain.hashes())[start:]
    assert [account for _, account in await allowed(books)][-2:] == accounts
    granted = await books.events("token_role_granted")
    assert keccak(b"ALLOWLISTER_ROLE") in [row["role"] for row in granted]
    assert (
        await books.owner.fetchval("SELECT count(*) FROM chain.log WHERE decode_error <> ''") == 0
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_reorg_takes_events_back_and_brings_them_again(
    books: Books, chain: TokenChain, on_anvil: Following, depth: int
) -> None:
    await chain.anvil.mine(6)
    await on_anvil.settle()
    before = await allowed(books)
    for number in range(depth):
        await chain.allow(bytes([10 + number]) * 20)
        await chain.anvil.mine(1)
    await on_anvil.settle()
    assert len(await allowed(books)) == len(before) + depth
    old = await chain.hashes()
    await chain.anvil.rpc("anvil_reorg", depth, [])
    new = await chain.hashes()
    assert len(new) == len(old)
    assert [a == b for a, b in zip(old, new, strict=True)].count(False) == depth
    result = await on_anvil.step()
    assert (result.kind, result.retracted_blocks) == ("rolled_back", depth)
    assert await allowed(books) == before
    await chain.allow(bytes([10]) * 20)
    await chain.anvil.mine(1)
    await on_anvil.settle()
    assert len(await allowed(books)) == len(before) + 1
    start = await books.owner.fetchval("SELECT start_block FROM chain.cursor")
    assert await books.hashes() == (await chain.hashes())[start:]


async def test_finalized_follows_the_nodes_tag(
    books: Books, chain: TokenChain, on_anvil: Following
) -> None:
    await chain.allow(bytes([5]) * 20)
    await chain.anvil.mine(1)
    number = (await chain.hashes()).__len__() - 1
    await on_anvil.settle()
    [last] = [row for row in await books.events("token_allowed") if row["block_number"] == number]
    assert last["finality"] == "pending"
    await chain.anvil.mine(2)
    await on_anvil.settle()
    assert (await books.events("token_allowed"))[-1]["finality"] == "safe"
    await chain.anvil.mine(2)
    assert (await on_anvil.settle()).finalized_number == number
    assert (await books.events("token_allowed_final"))[-1]["block_number"] == number
