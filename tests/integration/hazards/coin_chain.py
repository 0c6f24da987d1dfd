"""A real chain with one coin on it, which mines only when told to, and what of it must be in the index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from daemon.embedded.anvil import Anvil
from indexer.hexadecimal import from_data
from indexer.keccak import keccak
from tests.integration.daemon.echo import Echo, deploy

# So that `finalized` is 8 blocks behind the head.
SLOTS = 4
FINAL_BLOCKS = 2 * SLOTS


class Moved(NamedTuple):
    """A transfer, as the chain has it and as `v1` must show it."""

    block_number: int
    block_hash: bytes
    log_index: int
    tx_hash: bytes
    value: int


@dataclass(frozen=True, slots=True)
class CoinChain:
    """``coin`` emits transfers of whatever value it is told."""

    anvil: Anvil
    chain_id: int
    coin: Echo

    async def block(self, *values: int) -> bytes:
        """One more block, with these transfers; answers with its hash."""
        for value in values:
            await self.coin.transfer(value)
        await self.anvil.mine()
        return from_data((await self._newest())["hash"], 32)

    async def blocks(self, *values: int) -> list[bytes]:
        """A block for each of these transfers."""
        return [await self.block(value) for value in values]

    async def reorg(self, depth: int, *again: tuple[str, int]) -> None:
        """Replace the newest ``depth`` blocks by as many others, whose transactions are ``again``: each as its raw
        bytes and the place of its block, from 0."""
        before = await self._newest()
        await self.anvil.rpc("anvil_reorg", depth, [list(one) for one in again])
        after = await self._newest()
        assert (after["number"], after["hash"] == before["hash"]) == (before["number"], False)

    async def raw(self, tx_hash: bytes) -> str:
        found: str = await self.anvil.rpc("eth_getRawTransactionByHash", "0x" + tx_hash.hex())
        return found

    async def head(self) -> int:
        return int((await self._newest())["number"], 16)

    async def head_hash(self) -> bytes:
        return from_data((await self._newest())["hash"], 32)

    async def hash_at(self, number: int) -> bytes:
        block = await self.anvil.rpc("eth_getBlockByNumber", hex(number), False)
        return from_data(block["hash"], 32)

    async def _newest(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.anvil.rpc("eth_getBlockByNumber", "latest", False)
        return found

    async def hashes(self, first: int) -> list[bytes]:
        """Of every block from ``first`` on."""
        return [await self.hash_at(number) for number in range(first, await self.head() + 1)]

    async def transfers(self) -> list[Moved]:
        """All of the chain as it is now."""
        topic = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
        query = {"fromBlock": "0x0", "toBlock": "latest", "address": self.coin.address}
        return [
            Moved(
                int(log["blockNumber"], 16),
                from_data(log["blockHash"], 32),
                int(log["logIndex"], 16),
                from_data(log["transactionHash"], 32),
                int(log["data"], 16),
            )
            for log in await self.anvil.rpc("eth_getLogs", {**query, "topics": [topic]})
        ]


@asynccontextmanager
async def coin_chain(chain_id: int, *, slots: int = SLOTS) -> AsyncIterator[CoinChain]:
    """With the transfers 0, 1 and 2, which are final."""
    async with Anvil(chain_id=chain_id, slots_in_an_epoch=slots) as anvil:
        found = CoinChain(anvil, chain_id, await deploy(anvil))
        await found.blocks(0, 1, 2)
        await anvil.rpc("anvil_mine", hex(2 * slots))
        yield found


@asynccontextmanager
async def twin_of(chain: CoinChain) -> AsyncIterator[CoinChain]:
    """Another node that has the very same chain up to now, and goes on by itself. Its first block is another than the
    chain's next one. It cannot be made to reorg what it took over."""
    slots = await _slots(chain)
    async with Anvil(chain_id=chain.chain_id, slots_in_an_epoch=slots) as anvil:
        await anvil.rpc("anvil_loadState", await chain.anvil.rpc("anvil_dumpState"))
        found = CoinChain(anvil, chain.chain_id, Echo(anvil, chain.coin.address, chain.coin.block))
        assert await found.head_hash() == await chain.head_hash()
        yield found


async def _slots(chain: CoinChain) -> int:
    final = await chain.anvil.rpc("eth_getBlockByNumber", "finalized", False)
    return (await chain.head() - int(final["number"], 16)) // 2
