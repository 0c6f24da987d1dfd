"""Stands between daemon and node, and sees to it that nothing arrives there that is not in the journal."""

from __future__ import annotations

import random
from typing import Any

import asyncpg

from indexer.keccak import keccak
from tests.integration.bridge.node_proxy import NodeProxy

SEND = "eth_sendRawTransaction"
IS_JOURNALLED = "SELECT raw = $2 FROM bridge.tx_attempt WHERE hash = $1"
# What nodes and those before them say when nobody knows what became of a transaction.
NO_ANSWER = {"error": {"code": -32603, "message": "the upstream server has not answered"}}


class Witness:
    """The judge of a :class:`NodeProxy`. ``seen`` has every hash that came by, ``faults`` what must not be.

    With ``trouble`` each hash meets trouble once, at its first sending: it is lost, or its answer is.
    """

    def __init__(self, journal: asyncpg.Pool, proxy: NodeProxy) -> None:
        self.seen: set[bytes] = set()
        self.faults: list[str] = []
        self.trouble: random.Random | None = None
        self._journal = journal
        self._proxy = proxy

    async def judge(self, method: str, params: list[Any]) -> dict[str, Any] | None:
        if method != SEND:
            return None
        raw = bytes.fromhex(params[0].removeprefix("0x"))
        tx_hash = keccak(raw)
        # Another session than the daemon's: it sees what is committed.
        if not await self._journal.fetchval(IS_JOURNALLED, tx_hash, raw):
            self.faults.append(f"0x{tx_hash.hex()} was sent, and the journal does not have it")
        is_new = tx_hash not in self.seen
        self.seen.add(tx_hash)
        if self.trouble is None or not is_new:
            return None
        if self.trouble.random() < 0.5:
            await self._proxy.ask(method, params)
        return NO_ANSWER
