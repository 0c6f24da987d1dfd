"""``python -m tests.crash.launcher`` is ``landbridge``, with failpoints laid around what it does to the outside.

Nothing of the product knows of them. They are laid around a few central functions before the modules that use these
are imported; the rest of the names is told by who calls: ``commit:bridge.taker.Taker._allocate[mint]:before`` is right
before the commit of that function's transaction.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import asyncpg

from indexer import lease
from indexer.keccak import keccak
from indexer.lease import Fence
from tests.crash import lives
from tests.crash.failpoints import FOLDER, Failpoints

LOOK_S: Final = 0.01

PURPOSES: Final = {
    keccak(signature.encode())[:4]: purpose
    for signature, purpose in (
        ("mint((bytes32,address,uint256,bytes32,uint64))", "mint"),
        ("mintBatch((bytes32,address,uint256,bytes32,uint64)[])", "mint"),
        ("settleRedeem(bytes32,bytes32)", "settle"),
        ("settleBatch((bytes32,bytes32)[])", "settle"),
        ("rejectRedeem(bytes32,bytes32)", "reject"),
        ("voidOperation(bytes32)", "void"),
    )
}
# What this very transaction has done to operations and to the feed: the rows of others are committed.
DONE: Final = """
    SELECT o.kind || ' ' || t.to_state FROM bridge.transition t JOIN bridge.operation o USING (operation_id)
    WHERE pg_xact_status(t.xmin::text::xid8) = 'in progress'
    UNION
    SELECT f.op FROM chain.feed f
    WHERE f.seq > (SELECT coalesce(max(seq), 0) FROM chain.feed) - 200
      AND pg_xact_status(f.xmin::text::xid8) = 'in progress'"""

Function = Callable[..., Awaitable[Any]]
Tags = Callable[..., Iterable[str]]


def install(failpoints: Failpoints) -> None:
    """Lay them around commits, journal, custody, node and bank."""
    lay = functools.partial(_lay, failpoints)
    lease.fenced = _named(failpoints, lease.fenced)  # type: ignore[assignment]

    # Only now: these modules take their own references to what was changed so far.
    from bridge import journal, payout_journal

    for name in ("allocate", "record_signed", "record_sent", "record_refused", "record_outcomes"):
        lay(journal, name, f"journal:{name}", _journalled, in_transaction=True)
    lay(journal, "add_attempts", "journal:add_attempts", in_transaction=True)
    for name in ("prepare_payout", "book_payout"):
        lay(payout_journal, name, f"journal:{name}", in_transaction=True)

    from bridge import ingest

    lay(ingest, "receive", "keep", lambda _, channel, *rest: [channel])

    from bridge.bank.rest import RestBank
    from bridge.custody.log import CustodyLog
    from bridge.custody.recorded import RecordedCustody
    from bridge.node import Node

    lay(CustodyLog, "append", "custody:log", _requested)
    lay(RecordedCustody, "submit", "custody:submit", _requested)
    lay(RecordedCustody, "poll", "custody:sign")
    lay(Node, "send", "node:send", lambda _, raw: [purpose_of(raw)])
    for name in ("simulate", "mintable", "fee_history", "nonce", "receipt", "total_supply"):
        lay(Node, name, f"node:{name}")
    lay(RestBank, "submit_payment", "bank:submit_payment")
    for name in ("payment_status", "entries", "balance"):
        lay(RestBank, name, f"bank:{name}")


def purpose_of(data: bytes) -> str:
    """What a call, or a transaction that holds one, does to the token."""
    found = (purpose for selector, purpose in PURPOSES.items() if selector in data)
    return next(found, "noop")


def _requested(_: object, requests: Sequence[Any]) -> list[str]:
    return [purpose_of(one.data) for one in requests]


def _journalled(_: object, *rows: Any, **__: object) -> set[str]:
    """Purposes of intents, or of the attempts that rows tell of."""
    found = [row for value in rows if isinstance(value, Sequence) for row in value]
    attempts = [row[0] if isinstance(row, tuple) else row for row in found]
    return {one.purpose for one in attempts if hasattr(one, "purpose")}


def _no_tags(*_: object, **__: object) -> tuple[str, ...]:
    return ()


def _lay(
    failpoints: Failpoints,
    owner: object,
    attribute: str,
    name: str,
    tags: Tags = _no_tags,
    *,
    in_transaction: bool = False,
) -> None:
    """Points before and after a function, which takes the place of the one that it calls."""
    function: Function = getattr(owner, attribute)

    @functools.wraps(function)
    async def passing(*arguments: Any, **named: Any) -> Any:
        told = set(tags(*arguments, **named))
        if in_transaction:
            failpoints.tag(told)
        failpoints.passing(name, told, "before")
        try:
            return await function(*arguments, **named)
        finally:
            # An error is an answer too.
            failpoints.passing(name, told, "after")

    setattr(owner, attribute, passing)


def _named(
    failpoints: Failpoints, fenced: Callable[..., AbstractAsyncContextManager[asyncpg.Connection]]
) -> Callable[..., AbstractAsyncContextManager[asyncpg.Connection]]:
    """``fenced``, with points before and after its commit that have the name of who opens the transaction."""

    @asynccontextmanager
    async def watched(
        pool: asyncpg.Pool, fence: Fence, name: str
    ) -> AsyncIterator[asyncpg.Connection]:
        tags = failpoints.begin()
        try:
            async with fenced(pool, fence) as connection:
                yield connection
                tags |= {row[0] for row in await connection.fetch(DONE)}
                failpoints.passing(name, tags, "before")
            failpoints.passing(name, tags, "after")
        finally:
            failpoints.end()

    def opened(pool: asyncpg.Pool, fence: Fence) -> AbstractAsyncContextManager[asyncpg.Connection]:
        caller = sys._getframe(1)
        module = caller.f_globals["__name__"]
        return watched(pool, fence, f"commit:{module}.{caller.f_code.co_qualname}")

    return opened


def main() -> None:
    """Live as often as is asked for, each life in a process of its own. They are forked from this one, which has
    imported everything, because an interpreter's start would take longer than most lives."""
    folder = Path(os.environ[FOLDER])
    install(Failpoints(folder))
    from bridge.custody.accounts import accounts
    from daemon.cli import COMMANDS
    from daemon.cli import main as landbridge

    import_module(COMMANDS["run"].partition(":")[0])
    accounts()
    lived = 0
    while True:
        if lives.wanted(folder) == lived:
            time.sleep(LOOK_S)
            continue
        lived += 1
        pid = os.fork()
        if pid == 0:
            landbridge(prog_name="landbridge")
        lives.note(folder, lived, "pid", pid)
        _, status = os.waitpid(pid, 0)
        lives.note(folder, lived, "status", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
