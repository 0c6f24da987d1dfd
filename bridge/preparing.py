"""Puts chosen operations into transactions that the chain would carry out now; the rest is set aside."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from bridge import aside, batching, ready
from bridge.batching import BatchSize
from bridge.calldata import refusals
from bridge.journal import Intent, Purpose
from bridge.node import Node, Simulation, SimulationRefused
from bridge.ready import Ready
from bridge.token import Token
from indexer.lease import Fence, fenced


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations that the chain would carry out in one transaction now; ``approved`` is the hash of the intent that
    people have approved, where they are asked."""

    chosen: tuple[Ready, ...]
    data: bytes
    gas_limit: int
    approved: bytes | None = None

    def intent(self, token: bytes) -> Intent:
        op_ids = tuple(one.op_id for one in self.chosen)
        return Intent(
            self.chosen[0].purpose, op_ids, token, self.data, self.gas_limit, self.approved
        )


class Preparing:
    """Of one signer's lane. ``batch_items``: most operations in one transaction."""

    def __init__(
        self, pool: asyncpg.Pool, node: Node, token: Token, signer: bytes, batch_items: int
    ) -> None:
        self._pool = pool
        self._node = node
        self._token = token
        self._signer = signer
        # Of a plain token the nonce alone says what was minted, so it carries one operation.
        most = batch_items if token.kind == "deposit" else 1
        self._sizes: dict[Purpose, BatchSize] = {
            "mint": BatchSize(most),
            "settle": BatchSize(most),
            "reject": BatchSize(1),
            "void": BatchSize(1),
        }

    def items(self, purpose: Purpose) -> int:
        """How many operations of a purpose fill the next transaction."""
        return self._sizes[purpose].items

    async def batches(self, fence: Fence, chosen: Sequence[Ready], most_gas: int) -> list[Batch]:
        """Those of them that would succeed, in transactions that use at most ``most_gas`` where they can be divided."""
        prepared: list[Batch] = []
        for purpose, size in self._sizes.items():
            same = [one for one in chosen if one.purpose == purpose]
            for batch in batching.batches(same, size.items):
                prepared += await self._prepare(fence, batch, most_gas)
        return prepared

    async def whole(self, fence: Fence, chosen: Sequence[Ready], approved: bytes) -> Batch | None:
        """Just these in one transaction, as people have approved them; None if the chain would refuse it."""
        data = ready.call_data(chosen)
        simulation = await self._simulate(fence, chosen, data)
        if simulation is None:
            return None
        return Batch(tuple(chosen), data, batching.gas_limit(simulation.gas_used), approved)

    async def _prepare(self, fence: Fence, chosen: Sequence[Ready], most_gas: int) -> list[Batch]:
        """What would succeed now, in one batch or in several that are small enough."""
        data = ready.call_data(chosen)
        simulation = await self._simulate(fence, chosen, data)
        if simulation is None:
            return []
        if len(chosen) > 1:
            chosen, data = await self._without_refused(fence, chosen, simulation, data)
        if not chosen:
            return []
        self._sizes[chosen[0].purpose].used(len(chosen), simulation.gas_used)
        gas_limit = batching.gas_limit(simulation.gas_used)
        if gas_limit > most_gas and len(chosen) > 1:
            half = (len(chosen) + 1) // 2
            return [
                batch
                for part in batching.batches(chosen, half)
                for batch in await self._prepare(fence, part, most_gas)
            ]
        return [Batch(tuple(chosen), data, gas_limit)]

    async def _simulate(
        self, fence: Fence, chosen: Sequence[Ready], data: bytes
    ) -> Simulation | None:
        """What the call would do; None if it would fail, and then all of them are set aside."""
        try:
            return await self._node.simulate(self._signer, self._token.address, data)
        except SimulationRefused as refused:
            for one in chosen:
                await self._set_aside(fence, one, str(refused))
            return None

    async def _without_refused(
        self, fence: Fence, chosen: Sequence[Ready], simulation: Simulation, data: bytes
    ) -> tuple[Sequence[Ready], bytes]:
        """Those that the token would carry out, and their call: one bad item never sinks the others."""
        reasons = refusals(simulation.output)
        if len(reasons) != len(chosen):
            raise ValueError(f"a batch of {len(chosen)} was answered for {len(reasons)}")
        if not any(reasons):
            return chosen, data
        for one, reason in zip(chosen, reasons, strict=True):
            if reason is not None:
                await self._set_aside(fence, one, reason)
        good = [one for one, reason in zip(chosen, reasons, strict=True) if reason is None]
        return good, ready.call_data(good) if good else b""

    async def _set_aside(self, fence: Fence, one: Ready, why: str) -> None:
        async with fenced(self._pool, fence) as connection:
            await aside.set_aside(connection, one, why)
