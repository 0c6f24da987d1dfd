"""Small lies about a chain, to be told by a `LyingNode`. Each is one thing that real nodes have been seen to do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.integration.hazards.lying_node import Ask, Bare, Call, Json, Lie, Reply

LOGS = "eth_getLogs"
RECEIPTS = "eth_getBlockReceipts"
BY_NUMBER = "eth_getBlockByNumber"
BY_HASH = "eth_getBlockByHash"
HEADERS = (BY_NUMBER, BY_HASH)


def changed(methods: str | tuple[str, ...], change: Callable[[Json], Json]) -> Lie:
    """What these methods answer with is ``change`` of the truth; refusals stay."""
    wanted = (methods,) if isinstance(methods, str) else methods

    async def lie(call: Call, ask: Ask) -> Reply:
        reply = await ask(call)
        if call.method not in wanted or "result" not in reply:
            return reply
        return {"result": change(reply["result"])}

    return lie


def answered(method: str, reply: Reply) -> Lie:
    """A method has one answer, whatever is asked."""

    async def lie(call: Call, ask: Ask) -> Reply:
        return reply if call.method == method else await ask(call)

    return lie


def bare(method: str, body: bytes, status: int = 200) -> Lie:
    """Whoever asks for a method is sent this, which need not be JSON."""

    async def lie(call: Call, ask: Ask) -> Reply:
        if call.method == method:
            raise Bare(body, status)
        return await ask(call)

    return lie


def no_logs() -> Lie:
    """The node has lost the logs of its blocks, and does not say so."""
    return changed(LOGS, lambda logs: [])


def no_receipts() -> Lie:
    """Nor has it the receipts."""
    return changed(RECEIPTS, lambda receipts: [])


def receipts_without_last_log() -> Lie:
    """Of each block's logs the last is left out."""

    def change(receipts: Json) -> Json:
        for receipt in reversed(receipts or []):
            if receipt["logs"]:
                receipt["logs"].pop()
                break
        return receipts

    return changed(RECEIPTS, change)


def all_removed() -> Lie:
    """Every log is called removed."""
    return changed(LOGS, lambda logs: [{**log, "removed": True} for log in logs])


def removed_not_told() -> Lie:
    """Of no log it is told whether it was removed."""
    return changed(LOGS, lambda logs: [_without(log, "removed") for log in logs])


def older_head(blocks: int) -> Lie:
    """The node lags: its newest block, and what it calls safe and final, are so many blocks behind; above that it
    knows nothing."""

    async def lie(call: Call, ask: Ask) -> Reply:
        head = int((await ask(Call("eth_blockNumber", [])))["result"], 16)
        newest = max(0, head - blocks)
        if call.method == "eth_blockNumber":
            return {"result": hex(newest)}
        if call.method == BY_NUMBER:
            name = call.params[0]
            number = head if name == "latest" else 0
            if name in ("safe", "finalized"):
                number = int((await ask(call))["result"]["number"], 16)
            if name.startswith("0x"):
                known = int(name, 16) <= newest
                return await ask(call) if known else {"result": None}
            below = hex(max(0, number - blocks))
            return await ask(Call(BY_NUMBER, [below, *call.params[1:]], call.place, call.of))
        return await ask(call)

    return lie


def _without(found: Json, key: str) -> Json:
    return {name: value for name, value in found.items() if name != key}


def waiting(asked: Callable[[Call], bool], until: asyncio.Event) -> Lie:
    """What is asked so is answered only then."""

    async def lie(call: Call, ask: Ask) -> Reply:
        if asked(call):
            await until.wait()
        return await ask(call)

    return lie


def before_answer(place: int, act: Callable[[], Awaitable[None]], of: int) -> Lie:
    """Something happens to the chain, once, before the answer at ``place`` of a batch of at least ``of`` calls."""
    done = False

    async def lie(call: Call, ask: Ask) -> Reply:
        nonlocal done
        if not done and call.of >= of and call.place == place:
            done = True
            await act()
        return await ask(call)

    return lie


def before_first(method: str, act: Callable[[], Awaitable[None]]) -> Lie:
    """Something happens to the chain, once, before a method is answered."""
    done = False

    async def lie(call: Call, ask: Ask) -> Reply:
        nonlocal done
        if not done and call.method == method:
            done = True
            await act()
        return await ask(call)

    return lie
