"""A contract that emits whatever it is told to, so that tests need no compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from daemon.embedded.anvil import Anvil
from indexer.keccak import keccak

# A call is three topics of 32 bytes, and the rest is data:
#   calldatacopy(0, 0x60, calldatasize - 0x60)
#   log3(0, calldatasize - 0x60, calldataload(0), calldataload(0x20), calldataload(0x40))
CODE: Final = bytes.fromhex("6060360360605f376040356020355f35606036035fa300")
# codecopy(0, 9, length); return(0, length)
CREATE: Final = bytes.fromhex(f"60{len(CODE):02x}8060095f395ff3")
GAS: Final = 1_000_000

TRANSFER: Final = "Transfer(address indexed from, address indexed to, uint256 value)"
MADE: Final = "Made(address indexed child, address indexed by, uint256 number)"


@dataclass(frozen=True, slots=True)
class Echo:
    """A deployed one. ``address`` is 0x and 40 digits."""

    chain: Anvil
    address: str
    block: int

    async def emit(self, signature: str, first: str, second: str, value: int) -> None:
        """An event of two indexed addresses and a number, in the next block."""
        topic0 = keccak(signature.encode())
        words = [topic0, *(_word(one) for one in (first, second)), value.to_bytes(32, "big")]
        await send(self.chain, to=self.address, data="0x" + b"".join(words).hex())

    async def transfer(self, value: int) -> None:
        await self.emit("Transfer(address,address,uint256)", person(1), person(2), value)

    async def made(self, child: str, number: int) -> None:
        await self.emit("Made(address,address,uint256)", child, person(1), number)


async def deploy(chain: Anvil) -> Echo:
    """Mines the block that has it."""
    sent = await send(chain, data="0x" + (CREATE + CODE).hex())
    receipt = None
    while receipt is None:
        await chain.mine()
        receipt = await chain.rpc("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x1"
    return Echo(chain, receipt["contractAddress"], int(receipt["blockNumber"], 16))


async def send(chain: Anvil, **fields: str) -> str:
    sender = (await chain.rpc("eth_accounts"))[0]
    sent: str = await chain.rpc("eth_sendTransaction", {"from": sender, "gas": hex(GAS), **fields})
    return sent


def person(number: int) -> str:
    """An address of nobody's."""
    return "0x" + number.to_bytes(20, "big").hex()


def _word(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])
