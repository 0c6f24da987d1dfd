"""Chains to measure on: Anvil with one contract whose calls emit as many events as is wanted.

Two kinds, of the same JSON: `ordinary` runs with Anvil's defaults, `light` without what makes a block
dearer the more there are. Since Prague each block writes one of 8,191 slots of a system contract,
and Anvil computes the root of all of them anew: 20,000 blocks then take four minutes. So a light
chain stops at the fork before (Cancun) and keeps no old states; the same blocks take 20 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from benchmarks.errors import ChainDiffersError
from benchmarks.event_source import TRANSFER_TOPIC, EventSource, compiled_event_source
from benchmarks.node import Call, Node
from daemon.embedded.anvil import DEFAULT_CHAIN_ID, Anvil

GENESIS_TIMESTAMP_S = 1_760_000_000
BLOCK_TIME_S = 12
BLOCK_GAS = 60_000_000
SLOTS_IN_AN_EPOCH = 32
DEPLOYMENT_GAS = 5_000_000
# With these a chain is the same each time, and no response is too long.
FLAGS = [
    *("--gas-limit", str(BLOCK_GAS), "--timestamp", str(GENESIS_TIMESTAMP_S)),
    *("--block-base-fee-per-gas", "0", "--no-priority-fee"),
    *("--no-cors", "--no-request-size-limit"),
]
LIGHT_FLAGS = ["--hardfork", "cancun", "--prune-history"]
# One batch of transactions waits in the pool at a time: a longer pool is searched for longer.
BLOCKS_PER_BATCH = 50
CHECKED_PER_BATCH = 500


@dataclass(frozen=True, slots=True)
class Shape:
    """So many blocks, each with `calls` transactions of `events_per_call` events."""

    blocks: int
    calls: int
    events_per_call: int

    @property
    def events_per_block(self) -> int:
        return self.calls * self.events_per_call

    @property
    def events(self) -> int:
        return self.blocks * self.events_per_block


class Chain:
    """An Anvil that mines when told to, block 1 deploying the contract. An async context manager.

    With `slots_in_an_epoch` n, the finalized block is 2n behind the head.
    """

    def __init__(self, *, light: bool = False, slots_in_an_epoch: int = SLOTS_IN_AN_EPOCH) -> None:
        self.chain_id = DEFAULT_CHAIN_ID
        self.address = ""
        self._anvil = Anvil(
            slots_in_an_epoch=slots_in_an_epoch,
            # A block's events may come from one transaction.
            tx_gas_limit=False,
            extra_args=[*FLAGS, *(LIGHT_FLAGS if light else [])],
        )
        self._node = Node("")
        self._source: EventSource | None = None
        self._accounts: list[str] = []
        self._seed = 0
        self._nonce = 0

    @property
    def url(self) -> str:
        return self._anvil.url

    @property
    def ws_url(self) -> str:
        return self._anvil.url.replace("http://", "ws://")

    @property
    def pid(self) -> int:
        return self._anvil.pid

    async def start(self) -> Self:
        self._source = compiled_event_source()
        await self._anvil.start()
        self._node = Node(self._anvil.url)
        try:
            await self._deploy()
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """End the chain. May be called twice."""
        await self._node.close()
        await self._anvil.stop()

    async def rpc(self, method: str, *params: object) -> Any:
        """Result of one call of the node. Raises NodeRefusedError."""
        return await self._node.rpc(method, *params)

    async def head(self) -> int:
        return int(await self.rpc("eth_blockNumber"), 16)

    async def finalized(self) -> int:
        return int((await self.rpc("eth_getBlockByNumber", "finalized", False))["number"], 16)

    async def mine(self, calls: int, events_per_call: int) -> None:
        """One block of `calls` transactions, each of another account (so at most ten)."""
        await self.send(calls, events_per_call)
        await self.rpc("evm_mine")

    async def send(self, calls: int, events_per_call: int) -> None:
        """Transactions that wait for the next block."""
        sends: list[Call] = [
            ("eth_sendTransaction", [self._transaction(events_per_call, account)])
            for account in self._accounts[:calls]
        ]
        await self._node.batch(sends)

    async def mine_empty(self, blocks: int) -> None:
        """Those that wait go into the first of them."""
        await self.rpc("anvil_mine", hex(blocks), hex(BLOCK_TIME_S))

    async def reorg(self, depth_blocks: int, calls: int, events_per_call: int) -> None:
        """Replace the last blocks by as many with other transactions; the head's number stays."""
        pairs = [
            [self._transaction(events_per_call, account), offset]
            for offset in range(depth_blocks)
            for account in self._accounts[:calls]
        ]
        await self.rpc("anvil_reorg", depth_blocks, pairs)

    async def generate(self, shape: Shape) -> None:
        """Append the blocks of a shape, many in one call of the node.

        The transactions of a batch of blocks are sent at once, by one account, each with so much
        gas that a block has room for its own and not for one more.
        """
        first = await self.head() + 1
        await self.rpc("anvil_autoImpersonateAccount", True)  # nothing is to be signed
        gas = await self._gas_for(shape)
        for done in range(0, shape.blocks, BLOCKS_PER_BATCH):
            blocks = min(BLOCKS_PER_BATCH, shape.blocks - done)
            sends = [self._numbered(shape, gas) for _ in range(blocks * shape.calls)]
            await self._node.batch(sends)
            await self.mine_empty(blocks)
        await self.rpc("anvil_autoImpersonateAccount", False)
        await self._check(first, shape)

    async def logs(self, from_block: int, to_block: int) -> list[dict[str, Any]]:
        """The contract's logs, as the node tells them."""
        logs: list[dict[str, Any]] = await self.rpc("eth_getLogs", self.query(from_block, to_block))
        return logs

    def query(self, from_block: int, to_block: int) -> dict[str, object]:
        """What to ask eth_getLogs for."""
        return {
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
            "address": self.address,
            "topics": [TRANSFER_TOPIC],
        }

    async def _deploy(self) -> None:
        self._accounts = await self.rpc("eth_accounts")
        await self.rpc("anvil_setBlockTimestampInterval", BLOCK_TIME_S)
        creation = {
            "from": self._accounts[-1],
            "data": self._events.creation_code,
            "gas": hex(DEPLOYMENT_GAS),
            "gasPrice": "0x0",
        }
        sent = await self.rpc("eth_sendTransaction", creation)
        await self.rpc("evm_mine")
        self.address = (await self.rpc("eth_getTransactionReceipt", sent))["contractAddress"]

    @property
    def _events(self) -> EventSource:
        if self._source is None:
            raise RuntimeError("the chain has not been started")
        return self._source

    def _transaction(self, events: int, account: str) -> dict[str, object]:
        self._seed += 1
        return {
            "from": account,
            "to": self.address,
            "gas": hex(200_000 + 6_000 * events),
            "gasPrice": "0x0",
            "data": self._events.call_data(self._seed, events),
        }

    def _numbered(self, shape: Shape, gas: int) -> Call:
        transaction = self._transaction(shape.events_per_call, self._accounts[0])
        transaction |= {"nonce": hex(self._nonce), "gas": hex(gas)}
        self._nonce += 1
        return "eth_sendUnsignedTransaction", [transaction]

    async def _gas_for(self, shape: Shape) -> int:
        """A limit with which exactly `shape.calls` transactions fit into a block.

        Anvil fits a transaction in if its limit is left over, so half of one's cost is the margin.
        """
        account = self._accounts[0]
        self._nonce = int(await self.rpc("eth_getTransactionCount", account, "latest"), 16)
        call = self._transaction(shape.events_per_call, account)
        cost = int(await self.rpc("eth_estimateGas", call), 16)
        return BLOCK_GAS - int((shape.calls - 0.5) * cost)

    async def _check(self, first: int, shape: Shape) -> None:
        """Raise ChainDiffersError unless every block holds what it should."""
        numbers = range(first, first + shape.blocks)
        for start in range(0, len(numbers), CHECKED_PER_BATCH):
            asked = numbers[start : start + CHECKED_PER_BATCH]
            counts = await self._node.batch(
                [("eth_getBlockTransactionCountByNumber", [hex(number)]) for number in asked]
            )
            for number, count in zip(asked, counts, strict=True):
                if count is None or int(count, 16) != shape.calls:
                    raise ChainDiffersError(number=number, found=count, wanted=shape.calls)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
