"""A provider of a simulation: what it believes of the chain, how it answers, and how it fails.

It may be one machine or two behind one address, which take turns by chance and are never quite of one mind. It
answers with bytes, as over a socket; see :mod:`tests.simulation.session`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from tests.simulation import content
from tests.simulation.tree import Block, Tree, common_ancestor, text

NULL: Final = msgspec.Raw(b"null")
T = TypeVar("T")

METHOD_MISSING: Final = -32601
REFUSED: Final = -32000


class Refusal(Exception):
    """A JSON-RPC error."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass
class Machine:
    """One node's belief. ``known`` are the blocks that it has ever had, by hash."""

    tip: Block
    finalized: Block | None
    safe: Block | None
    known: set[bytes] = field(default_factory=set)

    def show(self, tip: Block) -> None:
        self.tip = tip
        self.known.update(block.hash for block in tip.ancestors())
        if self.safe is not None and not tip.has(self.safe):
            self.safe = common_ancestor(self.safe, tip)


@dataclass
class Faults:
    """What is wrong with a node now; probabilities are for each request."""

    away: bool = False
    errors: float = 0.0
    slow: float = 0.0
    rubbish: float = 0.0
    rate_limits: float = 0.0
    # Logs of single blocks are left out, wholly or in part; receipts too, where they can be proved.
    hides_logs: bool = False
    hides_some_logs: bool = False
    hides_receipts: bool = False
    # Of a range, all logs of one block.
    hides_of_ranges: bool = False
    # Blocks that are on its chain no more are not known to it any more.
    forgets: bool = False
    no_batches: bool = False
    loses_of_batches: bool = False
    # Of logs in a range: blocks, and logs, that one answer may have; None for any.
    max_blocks: int | None = None
    max_logs: int | None = None
    # A range that ends above its head: an error, or what it has without a word.
    tells_range_beyond: bool = False


class Node:
    """``timed``: its logs tell their block's time."""

    def __init__(
        self, name: str, tree: Tree, machines: list[Machine], random: Random, *, timed: bool
    ) -> None:
        self.name = name
        self.machines = machines
        self.faults = Faults()
        self._tree = tree
        self._random = random
        self._timed = timed
        self.asked: dict[str, int] = {}

    @property
    def tip(self) -> Block:
        return self.machines[0].tip

    def chance(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        return self._random.choice(choices)

    def latency_s(self) -> float:
        return self.pick((0.002, 0.01, 0.02, 0.05, 0.15))

    def answer(self, request: bytes) -> bytes:
        """The body of an answer to a call or a batch."""
        calls = msgspec.json.decode(request)
        if isinstance(calls, dict):
            return msgspec.json.encode(self._reply(calls))
        if self.faults.no_batches:
            error = {"code": REFUSED, "message": "batches are not taken here"}
            return msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error})
        replies = [self._reply(call) for call in calls]
        if self.faults.loses_of_batches:
            replies = [reply for reply in replies if not self.chance(0.3)]
            self._random.shuffle(replies)
        return msgspec.json.encode(replies)

    def _reply(self, call: Mapping[str, Any]) -> dict[str, object]:
        method = str(call["method"])
        self.asked[method] = self.asked.get(method, 0) + 1
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": call["id"]}
        machine = self._random.choice(self.machines)
        try:
            reply["result"] = self._result(machine, method, call["params"])
        except Refusal as refusal:
            reply["error"] = {"code": refusal.code, "message": refusal.message}
        return reply

    def _result(self, machine: Machine, method: str, params: list[Any]) -> object:
        match method:
            case "eth_chainId":
                return hex(content.CHAIN_ID)
            case "eth_blockNumber":
                return hex(machine.tip.number)
            case "eth_getBlockByNumber":
                return _json(self._named(machine, params[0]), full=params[1])
            case "eth_getBlockByHash":
                return _json(self._hashed(machine, params[0]), full=params[1])
            case "eth_getBlockReceipts":
                return self._receipts(machine, params[0])
            case "eth_getLogs":
                query = params[0]
                if "blockHash" in query:
                    return self._logs_of_block(machine, query)
                return self._logs_in_range(machine, query)
            case "eth_getCode":
                return self._code(machine, *params)
        raise Refusal(f"the method {method} does not exist", METHOD_MISSING)

    def _named(self, machine: Machine, name: str) -> Block | None:
        if name == "latest":
            return machine.tip
        if name == "finalized":
            return machine.finalized
        if name == "safe":
            return machine.safe
        return machine.tip.at(int(name, 16))

    def _hashed(self, machine: Machine, name: str) -> Block | None:
        block = self._tree.by_hash.get(bytes.fromhex(name[2:]))
        if block is None or block.hash not in machine.known:
            return None
        return None if self.faults.forgets and not machine.tip.has(block) else block

    def _receipts(self, machine: Machine, name: str) -> object:
        block = self._hashed(machine, name)
        if block is None:
            return None
        if self.faults.hides_receipts and _is_noticed(block, block.receipts[:-1]):
            return block.receipts[:-1]
        return block.receipts

    def _logs_of_block(self, machine: Machine, query: Mapping[str, Any]) -> object:
        block = self._hashed(machine, query["blockHash"])
        if block is None:
            if self.faults.hides_logs:
                return []
            raise Refusal("unknown block")
        if self.faults.hides_logs:
            return []
        logs = self._matching([block], query)
        return logs[:-1] if self.faults.hides_some_logs else logs

    def _logs_in_range(self, machine: Machine, query: Mapping[str, Any]) -> object:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        most = self.faults.max_blocks
        if most is not None and last - first + 1 > most:
            raise Refusal(f"max block range: {most}", -32602)
        if last > machine.tip.number and self.faults.tells_range_beyond:
            raise Refusal("block range extends beyond current head block")
        logs = self._matching(machine.tip.path[first : last + 1], query)
        if self.faults.hides_of_ranges and logs:
            hidden = self.pick(logs)["blockNumber"]
            logs = [log for log in logs if log["blockNumber"] != hidden]
        if self.faults.max_logs is not None and len(logs) > self.faults.max_logs and last > first:
            raise Refusal(f"query returned more than {self.faults.max_logs} results", -32005)
        return logs

    def _matching(
        self, blocks: Iterable[Block], query: Mapping[str, Any]
    ) -> list[dict[str, object]]:
        addresses, topics = query.get("address"), query.get("topics")
        found = [
            log
            for block in blocks
            for log in block.logs
            if (addresses is None or log["address"] in addresses)
            and (not topics or (log["topics"] and log["topics"][0] in topics[0]))
        ]
        if self._timed:
            return found
        return [{**log, "blockTimestamp": None} for log in found]

    def _code(self, machine: Machine, address: str, name: str) -> str:
        block = self._named(machine, name)
        if block is None:
            raise Refusal("header not found")
        there = address != text(content.GOLD) or block.number >= content.GOLD_BLOCK
        return "0x60" if there else "0x"


def _is_noticed(block: Block, receipts: Sequence[dict[str, Any]]) -> bool:
    """Whether the header's bloom tells that some are missing; if it does not, only their root would."""
    found = reduce(or_, (int(str(one["logsBloom"]), 16) for one in receipts), 0)
    return found != int(str(block.header["logsBloom"]), 16)


def _json(block: Block | None, *, full: bool) -> msgspec.Raw:
    if block is None:
        return NULL
    return block.full_json if full else block.header_json
