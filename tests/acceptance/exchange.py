"""A factory of pairs on a chain, as the README has one of Ethereum's: laid at the very address that it names."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daemon.embedded.anvil import PACKAGES, Anvil
from indexer.keccak import keccak

REPOSITORY: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = Path("contracts/test/Exchange.sol")
ARTIFACT: Final = REPOSITORY / "contracts/out/Exchange.sol/ExchangeFactory.json"
PAIR_CREATED: Final = keccak(b"PairCreated(address,address,address,uint256)")
FORGE_TIMEOUT_S: Final = 300.0
GAS: Final = 3_000_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """``address`` is the factory's, 0x and 40 digits; everything that is done is in a block of its own."""

    chain: Anvil
    address: str

    async def pair(self, amount_in: int, amount_out: int) -> tuple[str, int]:
        """Make a pair, and trade it in the same transaction: its address, and the block."""
        receipt = await self._send(
            self.address,
            "createPairAndSwap(address,address,uint256,uint256)",
            *(0xA, 0xB, amount_in, amount_out),
        )
        (made,) = [log for log in receipt["logs"] if log["topics"][0] == "0x" + PAIR_CREATED.hex()]
        return "0x" + made["data"][26:66], int(receipt["blockNumber"], 16)

    async def swap(self, pair: str, amount_in: int, amount_out: int) -> int:
        """Its block."""
        receipt = await self._send(
            pair, "swap(uint256,uint256,address)", amount_in, amount_out, 0xC
        )
        return int(receipt["blockNumber"], 16)

    async def _send(self, to: str, signature: str, *words: int) -> dict[str, Any]:
        data = keccak(signature.encode())[:4] + b"".join(word.to_bytes(32, "big") for word in words)
        sender = (await self.chain.rpc("eth_accounts"))[0]
        call = {"from": sender, "to": to, "gas": hex(GAS), "data": "0x" + data.hex()}
        sent = await self.chain.rpc("eth_sendTransaction", call)
        await self.chain.mine()
        receipt: dict[str, Any] = await self.chain.rpc("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1"
        return receipt


async def lay(chain: Anvil, address: str) -> Exchange:
    """The factory's code is at ``address`` from the next block on."""
    await chain.rpc("anvil_setCode", address, _code())
    await chain.mine()
    return Exchange(chain, address)


def _code() -> str:
    """Its code as it is on a chain: it has no constructor."""
    forge = next(iter(sorted(PACKAGES.glob("forge-*/bin/forge"))))
    built = subprocess.run(
        [str(forge), "build", str(SOURCE)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=FORGE_TIMEOUT_S,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    code: str = json.loads(ARTIFACT.read_text())["deployedBytecode"]["object"]
    return code
