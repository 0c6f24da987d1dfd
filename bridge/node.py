"""What sending and proving ask of a node, beyond following it: fees, simulation, nonces, receipts, supply.

Every answer is read strictly; one that is not what the protocol says raises RpcMalformed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from bridge.calldata import TOTAL_SUPPLY, error_name, minter_limits
from bridge.fee_history import FeeHistory, read_fee_history
from bridge.roles import has_role
from bridge.sending import (
    ASK_ANOTHER,
    Answer,
    is_revert,
    read_error,
    read_failure,
    read_result,
    revert_data,
    verdict,
)
from indexer.errors import MethodMissing, RpcError, RpcMalformed, RpcUnavailable
from indexer.hexadecimal import from_data, from_quantity, shown, to_data, to_quantity
from indexer.keccak import keccak
from indexer.rpc import Rpc

T = TypeVar("T")
Peers: TypeAlias = Callable[[], Sequence[Rpc]]

# geth gives 1,024 blocks at once, and others fewer; the market of now is in the newest few.
MAX_HISTORY_BLOCKS: Final = 100
MAX_PERCENTILES: Final = 10


class SimulationRefused(Exception):
    """The chain would revert the call: the text is the contract's own name for the reason, if known."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a call would use, in units of gas, and what it would answer."""

    gas_used: int
    output: bytes


@dataclass(frozen=True, slots=True)
class MinterLimits:
    """Of one minter, in token units: what it may mint in all, what its bucket holds when it is full, in how many
    seconds it fills, and what is in it now."""

    allowance: int
    burst: int
    refill_s: int
    available: int

    @property
    def mintable(self) -> int:
        return min(self.allowance, self.available)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction stands and whether it succeeded there."""

    block_number: int
    block_hash: bytes
    succeeded: bool


class Node:
    """Typed questions to one node. ``peers`` are those that transactions are given to: the first one, and a second one
    where that has no use for them; without it, the one node alone."""

    def __init__(self, rpc: Rpc, peers: Peers | None = None) -> None:
        self._rpc = rpc
        self._peers = peers or (lambda: [rpc])
        self._lacks_simulation = False

    async def simulate(self, sender: bytes, to: bytes, data: bytes) -> Simulation:
        """What a call would do now. Raises :class:`SimulationRefused` if it would revert.

        One execution where the node has ``eth_simulateV1``; else its estimate of the gas, which takes several, and
        its answer to the call.
        """
        call = {"from": to_data(sender), "to": to_data(to), "data": to_data(data)}
        if not self._lacks_simulation:
            try:
                return await self._simulate(call)
            except MethodMissing:
                self._lacks_simulation = True
        try:
            gas = await self._rpc.call("eth_estimateGas", [call, "latest"])
            output = await self._rpc.call("eth_call", [call, "latest"])
        except RpcError as error:
            raise _refusal(error) or error from None
        return Simulation(
            _read("eth_estimateGas", lambda: from_quantity(gas, 63)),
            _read("eth_call", lambda: from_data(output)),
        )

    async def _simulate(self, call: dict[str, str]) -> Simulation:
        method = "eth_simulateV1"
        answer = await self._rpc.call(method, [{"blockStateCalls": [{"calls": [call]}]}, "latest"])

        def read() -> Simulation:
            [block] = answer
            [result] = block["calls"]
            output = from_data(result["returnData"])
            if from_quantity(result["status"], 8) == 1:
                return Simulation(from_quantity(result["gasUsed"], 63), output)
            error = result.get("error") or {}
            raise SimulationRefused(error_name(output) or str(error.get("message", "reverted")))

        return _read(method, read)

    async def mintable(self, token: bytes, minter: bytes) -> int:
        """How much the token's limits of this minter let it mint now, in token units."""
        return (await self.minter_limits(token, minter)).mintable

    async def minter_limits(self, token: bytes, minter: bytes) -> MinterLimits:
        """The token's limits of this minter; all zero if it was never given any."""
        return MinterLimits(*await self._words(token, minter_limits(minter), 4))

    async def has_role(self, token: bytes, role: str, account: bytes) -> bool:
        """Whether the token lets an account act in a role now."""
        (word,) = await self._words(token, has_role(role, account), 1)
        return word == 1

    async def _words(self, to: bytes, data: bytes, count: int) -> list[int]:
        """What a contract answers to a question now, as numbers."""
        method = "eth_call"
        call = {"to": to_data(to), "data": to_data(data)}
        answer = await self._rpc.call(method, [call, "latest"])

        def read() -> list[int]:
            words = from_data(answer, count * 32)
            return [int.from_bytes(words[at : at + 32]) for at in range(0, count * 32, 32)]

        return _read(method, read)

    async def base_fee_wei(self) -> int | None:
        """The newest block's base fee; None on a chain that has none."""
        header = await self._rpc.header("latest")
        if header is None:
            raise RpcMalformed(method="eth_getBlockByNumber", reason="there is no latest block")
        return header.base_fee_wei

    async def fee_history(self, blocks: int, percentiles: Sequence[int]) -> FeeHistory:
        """The base fees of the newest blocks, and what was paid on top of them at these percentiles of their gas, which
        rise. The node may tell of fewer blocks than were asked for."""
        if not 1 <= blocks <= MAX_HISTORY_BLOCKS or not 1 <= len(percentiles) <= MAX_PERCENTILES:
            raise ValueError(f"{blocks} blocks at {len(percentiles)} percentiles are not asked for")
        method = "eth_feeHistory"
        answer = await self._rpc.call(method, [to_quantity(blocks), "latest", list(percentiles)])
        return _read(
            method, lambda: read_fee_history(answer, blocks=blocks, percentiles=len(percentiles))
        )

    async def gas_price_wei(self) -> int:
        """What the node would pay for a unit of gas: the market of a chain without a base fee."""
        method = "eth_gasPrice"
        answer = await self._rpc.call(method)
        return _read(method, lambda: from_quantity(answer, 128))

    async def send(self, raw: bytes) -> tuple[Answer, str]:
        """Give signed bytes to the node, and to a second one where the first says that it cannot, or that nobody can;
        answers with what was meant and what was said."""
        first, *others = self._peers()
        answer, text = await _give(first, raw)
        if answer not in ASK_ANOTHER or not others:
            return answer, text
        second, said = await _give(others[0], raw)
        return verdict(answer, second), f"{said}; another node: {text}"

    async def nonce(self, signer: bytes, block: int | str) -> int:
        """How many transactions of a signer the chain holds up to a block."""
        method = "eth_getTransactionCount"
        name = block if isinstance(block, str) else to_quantity(block)
        answer = await self._rpc.call(method, [to_data(signer), name])
        return _read(method, lambda: from_quantity(answer, 63))

    async def balance(self, account: bytes) -> int:
        """What an account has at the newest block, in wei."""
        method = "eth_getBalance"
        answer = await self._rpc.call(method, [to_data(account), "latest"])
        return _read(method, lambda: from_quantity(answer, 256))

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """The receipt of a transaction, or None while no block of the node's chain holds it."""
        method = "eth_getTransactionReceipt"
        answer = await self._rpc.call(method, [to_data(tx_hash)])
        if answer is None:
            return None

        def read() -> Receipt:
            if from_data(answer["transactionHash"], 32) != tx_hash:
                raise ValueError("it is about another transaction")
            return Receipt(
                from_quantity(answer["blockNumber"], 63),
                from_data(answer["blockHash"], 32),
                from_quantity(answer["status"], 8) == 1,
            )

        return _read(method, read)

    async def total_supply(self, token: bytes, block_number: int) -> int:
        """``totalSupply()`` at a block, in token units."""
        method = "eth_call"
        call = {"to": to_data(token), "data": to_data(TOTAL_SUPPLY)}
        answer = await self._rpc.call(method, [call, to_quantity(block_number)])
        return _read(method, lambda: int.from_bytes(from_data(answer, 32), "big"))


async def _give(rpc: Rpc, raw: bytes) -> tuple[Answer, str]:
    try:
        result = await rpc.call("eth_sendRawTransaction", [to_data(raw)])
    except RpcError as error:
        return read_error(error.code, error.message, error.data), error.message
    except (RpcUnavailable, RpcMalformed) as error:
        return read_failure(error), str(error)
    answer = read_result(result, keccak(raw))
    return answer, "accepted" if answer is Answer.ACCEPTED else f"it named {shown(result)}"


def _refusal(error: RpcError) -> SimulationRefused | None:
    """The contract's own word, if it is that and not a fault of the node."""
    name = error_name(revert_data(error.data) or b"")
    if name is None and not is_revert(error.code, error.message, error.data):
        return None
    return SimulationRefused(name or error.message)


def _read(method: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, TypeError, KeyError) as error:
        raise RpcMalformed(method=method, reason=str(error)) from error
