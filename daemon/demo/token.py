"""The deposit token as people see it: deployed, asked, and told by a node, not by our daemon.

Nothing of `bridge` or `indexer` is used here, so that the demo's checks rest on another reading of
the same chain.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from daemon.embedded.errors import AnvilRpcError

ARTIFACT = Path(__file__).resolve().parents[2] / "contracts/out/DepositToken.sol/DepositToken.json"
NAME, SYMBOL = "Demo Deposit Euro", "dEUR"
DEPLOY_GAS = 6_000_000
CALL_GAS = 250_000
ETHER_WEI = 10**18
UINT208_MAX, UINT256_MAX = 2**208 - 1, 2**256 - 1
RECEIPT_POLLS = 200
# What Anvil says to bytes that it has already; they are sent, which is all that was wanted.
ALREADY_KNOWN = ("already imported", "already known", "nonce too low")

TRANSFER = keccak(text="Transfer(address,address,uint256)")
MINTED = keccak(text="Minted(bytes32,address,address,uint256,bytes32)")
REQUESTED = keccak(text="RedeemRequested(bytes32,address,uint256,bytes32)")
SETTLED = keccak(text="RedeemSettled(bytes32,address,uint256,bytes32)")
REJECTED = keccak(text="RedeemRejected(bytes32,address,uint256,bytes32)")


class TokenFailedError(Exception):
    """A transaction of the demo's own did not get through."""


@dataclass(frozen=True, slots=True)
class Event:
    """One log of the token. `topics` without the first, which names the event."""

    kind: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes

    @property
    def amount(self) -> int:
        """The first word of the data: in every event of ours that has data, the amount."""
        return int.from_bytes(self.data[:32])

    def address(self, topic: int) -> bytes:
        return self.topics[topic][-20:]


@dataclass(frozen=True, slots=True)
class Token:
    """The contract, at a node."""

    node: Anvil
    chain_id: int
    address: bytes
    start_block: int

    async def events(self, from_block: int | None = None) -> list[Event]:
        """Every log from that block, or from the deployment, to the head, in the chain's order."""
        start = self.start_block if from_block is None else from_block
        query = {"address": as_hex(self.address), "fromBlock": hex(start), "toBlock": "latest"}
        return [_event(log) for log in await self.node.rpc("eth_getLogs", query)]

    async def ask(self, signature: str, *arguments: object, returns: Sequence[str]) -> Any:
        """What a view function answers at the head; one value, or a tuple of several."""
        call = {"to": as_hex(self.address), "data": as_hex(call_data(signature, *arguments))}
        answer = from_hex(await self.node.rpc("eth_call", call, "latest"))
        values = decode(list(returns), answer)
        return values[0] if len(values) == 1 else values

    async def role(self, name: str) -> bytes:
        role: bytes = await self.ask(f"{name}()", returns=["bytes32"])
        return role

    async def send(self, sender: Wallet, signature: str, *arguments: object) -> bytes:
        """Sign a call to come after the sender's waiting ones, and hand it to the node; its hash."""
        data = call_data(signature, *arguments)
        return await _send(self.node, self.chain_id, sender, self.address, data, CALL_GAS)

    async def send_again(self, sender: Wallet, signature: str, *arguments: object) -> bytes:
        """The same for the next transaction that is not mined yet.

        Repeated, it gives the same bytes: a wait that was only long never becomes a second call.
        """
        data = call_data(signature, *arguments)
        return await _send(self.node, self.chain_id, sender, self.address, data, CALL_GAS, "latest")


async def deploy(node: Anvil, admin: Wallet, decimals: int) -> Token:
    """Create the contract from what `forge build` made; `admin` may grant its roles."""
    chain_id = int(await node.rpc("eth_chainId"), 16)
    arguments = encode(
        ["string", "string", "uint8", "address"],
        [NAME, SYMBOL, decimals, admin.address],
    )
    code = from_hex(_bytecode()) + arguments
    receipt = await confirm(node, await _send(node, chain_id, admin, None, code, DEPLOY_GAS))
    address = from_hex(receipt["contractAddress"])
    return Token(node, chain_id, address, int(receipt["blockNumber"], 16))


async def lift_limits(
    token: Token, admin: Wallet, minter_admin: Wallet, minter: bytes
) -> list[bytes]:
    """Let a minter mint as much as it wants, with no reserve behind it: this money is worth nothing.

    Answers with the hashes of what was sent. `minter_admin` has MINTER_ADMIN_ROLE.
    """
    return [
        await token.send(admin, "waiveReserveCap()"),
        await token.send(
            minter_admin,
            "configureMinter(address,uint256,uint208,uint48)",
            *(minter, UINT256_MAX, UINT208_MAX, 1),
        ),
    ]


async def confirm(node: Anvil, tx_hash: bytes) -> dict[str, Any]:
    """Mine until the transaction has a receipt; raises TokenFailedError if it reverted."""
    for _ in range(RECEIPT_POLLS):
        receipt: dict[str, Any] | None = await node.rpc(
            "eth_getTransactionReceipt", as_hex(tx_hash)
        )
        if receipt is not None:
            if int(receipt["status"], 16) != 1:
                raise TokenFailedError(f"transaction {as_hex(tx_hash)} reverted")
            return receipt
        await node.mine()
    raise TokenFailedError(f"transaction {as_hex(tx_hash)} was not mined")


async def fund(node: Anvil, address: bytes) -> None:
    """Give an account what transactions cost."""
    await node.rpc("anvil_setBalance", as_hex(address), hex(100 * ETHER_WEI))


def call_data(signature: str, *arguments: object) -> bytes:
    """The bytes of a call: `name(type,type)` and one argument for each type; no tuples."""
    types = [part for part in signature[signature.index("(") + 1 : -1].split(",") if part]
    return keccak(text=signature)[:4] + encode(types, arguments)


def as_hex(data: bytes) -> str:
    return "0x" + data.hex()


def from_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


async def _send(
    node: Anvil,
    chain_id: int,
    sender: Wallet,
    to: bytes | None,
    data: bytes,
    gas_limit: int,
    counted: str = "pending",
) -> bytes:
    count = await node.rpc("eth_getTransactionCount", as_hex(sender.address), counted)
    raw = sender.sign(
        chain_id=chain_id, nonce=int(count, 16), to=to, data=data, gas_limit=gas_limit
    )
    try:
        await node.rpc("eth_sendRawTransaction", as_hex(raw))
    except AnvilRpcError as error:
        if not any(text in error.message for text in ALREADY_KNOWN):
            raise
    return keccak(raw)


def _bytecode() -> str:
    if not ARTIFACT.is_file():
        raise TokenFailedError(f"{ARTIFACT} is missing: run `make setup` to compile the token")
    code: str = json.loads(ARTIFACT.read_text())["bytecode"]["object"]
    return code


def _event(log: dict[str, Any]) -> Event:
    kind, *topics = (from_hex(topic) for topic in log["topics"])
    return Event(
        kind=kind,
        topics=tuple(topics),
        data=from_hex(log["data"]),
        block_number=int(log["blockNumber"], 16),
        block_hash=from_hex(log["blockHash"]),
        tx_hash=from_hex(log["transactionHash"]),
    )
