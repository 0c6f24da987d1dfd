"""How many deposits a second become mints, from the decision about the first to the block of the last."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from web3 import AsyncHTTPProvider, AsyncWeb3

from benchmarks import desk
from benchmarks.database import connected
from benchmarks.desk import AMOUNT_MINOR, Desk
from benchmarks.errors import NotReachedError
from benchmarks.meter import Usage
from benchmarks.node import Node
from benchmarks.result import Result, Wanted
from benchmarks.session import Session
from bridge.calldata import Mint, MintBatch
from daemon.demo.token import as_hex
from daemon.demo.wallet import Wallet

LANES = 4
DEADLINE_S = 4_000_000_000
TIMEOUT_S = 900.0
# Waiting for the node at the same time, of each signer.
AT_ONCE = 8
POLL_S = 0.02
GAS_HEADROOM_PERCENT = 25

# From the first decision to the last mint that was seen in a block.
TOOK = """
    SELECT extract(epoch FROM max(at) FILTER (WHERE to_state = 'mined')
                              - min(at) FILTER (WHERE to_state = 'approved'))::float8 FROM bridge.transition"""
TRANSACTIONS = "SELECT count(*) FROM bridge.tx"


@dataclass(frozen=True, slots=True)
class Run:
    """Of the daemon."""

    operations: int
    took_s: float
    transactions: int
    usage: Usage
    resident_mb: tuple[float, ...]
    """While the second and the last quarter of the operations passed."""

    @property
    def per_s(self) -> float:
        return self.operations / self.took_s


async def mints_batched(session: Session) -> Result:
    """Many in one transaction."""
    run, against, pushed = await session.once("mints", lambda: _against_pushed(session, 250))
    return await _result(session, "mints_batched", run, against, pushed, Wanted(">=", 0.6))


async def submit_memory(session: Session) -> Result:
    """Resident memory while the last quarter passes, against that of the second, in the run of ``mints_batched``."""
    run, _, _ = await session.once("mints", lambda: _against_pushed(session, 250))
    second, last = run.resident_mb
    return Result(
        "submit_memory",
        last,
        "MiB",
        "while the second quarter passed",
        second,
        Wanted("<=", 1.1),
        await session.versions(),
        {"operations": run.operations, "peak_rss_mb": run.usage.peak_rss_mb},
    )


async def mints_single(session: Session) -> Result:
    """One in one transaction."""
    run, against, pushed = await _against_pushed(session, 1)
    return await _result(session, "mints_single", run, against, pushed, Wanted(">=", 0.4))


async def mints_naive(session: Session) -> Result:
    """Batches, against a program that sends a mint and waits for its receipt, on a chain that mines at once."""
    operations = session.sizes.operations
    async with desk.opened(session, lanes=LANES, batch_items=250, at_once=True) as made:
        run = await _run(made, operations)
        naive = await _naive_per_s(made, session.sizes.naive_mints)
    return await _result(
        session, "mints_naive", run, "web3.py, one by one", naive, Wanted(">=", 20)
    )


async def _against_pushed(session: Session, batch_items: int) -> tuple[Run, str, float]:
    """The daemon's run, and the rate of as large transactions that are signed before."""
    operations = session.sizes.operations
    async with desk.opened(session, lanes=LANES, batch_items=batch_items) as made:
        run = await _run(made, operations)
        items = -(-operations // run.transactions)
        pushed = await _pushed_per_s(made, operations, items)
    return run, f"signed before, {items} a transaction, pushed into the same node", pushed


async def _result(
    session: Session, name: str, run: Run, against: str, against_per_s: float, wanted: Wanted
) -> Result:
    return Result(
        name,
        round(run.per_s),
        "mints/s",
        against,
        round(against_per_s),
        wanted,
        await session.versions(),
        {
            "operations": run.operations,
            "took_s": round(run.took_s, 2),
            "transactions": run.transactions,
            "lanes": LANES,
            "cpu_s": run.usage.cpu_s,
            "peak_rss_mb": run.usage.peak_rss_mb,
        },
    )


async def _run(made: Desk, operations: int) -> Run:
    desk.told(f"booking {operations} deposits")
    await made.fund(operations)
    desk.told("the daemon mints them")
    async with made.daemon() as worker:
        meter = worker.meter()
        resident: dict[int, list[float]] = {}
        async with connected(made.dsn) as connection:

            async def are_mined() -> bool:
                mined = await connection.fetchval(desk.MINED)
                quarter = min(4 * mined // operations, 3)
                resident.setdefault(quarter, []).append(meter.resident_mb())
                return bool(mined >= operations)

            await worker.until(f"{operations} mints", are_mined, TIMEOUT_S)
        usage = await meter.stop()
    async with connected(made.dsn) as connection:
        took_s = await connection.fetchval(TOOK)
        transactions = await connection.fetchval(TRANSACTIONS)
    await _require_minted(made, 0, operations)
    quarters = tuple(round(mean(resident.get(quarter, [0.0])), 1) for quarter in (1, 3))
    run = Run(operations, took_s, transactions, usage, quarters)
    desk.told(f"{run.per_s:.0f} a second, in {transactions} transactions")
    return run


async def _pushed_per_s(made: Desk, operations: int, items: int) -> float:
    """Mints a second if transactions that are signed already are given to the node as fast as it takes them."""
    batches = -(-operations // items)
    async with Node(made.node.url) as node:
        gas = await _gas(made, node, items)
        signed = [
            await _signed(made, node, minter, range(place, batches, LANES), items, gas)
            for place, minter in enumerate(made.minters)
        ]
        desk.told(f"pushing {batches} signed transactions")
        before = await _supply(made)
        started_at = time.perf_counter()
        await asyncio.gather(*(_push(node, raws) for raws in signed if raws))
        took_s = time.perf_counter() - started_at
    await _require_minted(made, before, batches * items)
    return batches * items / took_s


async def _supply(made: Desk) -> int:
    supply: int = await made.contract.ask("totalSupply()", returns=["uint256"])
    return supply


async def _require_minted(made: Desk, before: int, mints: int) -> None:
    """A transaction that passes over mints is quick, and no measure."""
    minted = (await _supply(made) - before) // AMOUNT_MINOR
    if minted != mints:
        raise NotReachedError(what=f"{mints} mints", timeout_s=TIMEOUT_S, log=f"{minted} mints")


async def _push(node: Node, raws: Sequence[bytes]) -> None:
    """In the order of their nonces, a few at a time; until the last one stands in a block."""
    sent: list[str] = []
    for first in range(0, len(raws), AT_ONCE):
        some = raws[first : first + AT_ONCE]
        sends = (node.rpc("eth_sendRawTransaction", as_hex(raw)) for raw in some)
        sent = await asyncio.gather(*sends)
    receipt = None
    while receipt is None:
        receipt = await node.rpc("eth_getTransactionReceipt", sent[-1])
        await asyncio.sleep(POLL_S)
    if receipt["status"] != "0x1":
        raise NotReachedError(what="a mint", timeout_s=TIMEOUT_S, log=str(receipt))


async def _signed(
    made: Desk, node: Node, minter: Wallet, places: Sequence[int], items: int, gas: int
) -> list[bytes]:
    nonce = int(await node.rpc("eth_getTransactionCount", as_hex(minter.address), "latest"), 16)
    return [
        minter.sign(
            chain_id=made.token.chain_id,
            nonce=nonce + index,
            to=made.token.address,
            data=_call(made, items),
            gas_limit=gas,
        )
        for index, _ in enumerate(places)
    ]


async def _gas(made: Desk, node: Node, items: int) -> int:
    question = {
        "from": as_hex(made.minters[0].address),
        "to": as_hex(made.token.address),
        "data": as_hex(_call(made, items)),
    }
    return (
        int(await node.rpc("eth_estimateGas", question), 16) * (100 + GAS_HEADROOM_PERCENT) // 100
    )


def _call(made: Desk, items: int) -> bytes:
    """Mints of operations that nobody has heard of."""
    mints = tuple(
        Mint(
            secrets.token_bytes(32),
            made.holders[place % len(made.holders)].address,
            AMOUNT_MINOR,
            bytes(32),
            DEADLINE_S,
        )
        for place in range(items)
    )
    return mints[0].encode() if items == 1 else MintBatch(mints).encode()


async def _naive_per_s(made: Desk, mints: int) -> float:
    """One after another, as a user would write it."""
    web3 = AsyncWeb3(AsyncHTTPProvider(made.node.url))
    minter = made.minters[0]
    started_at = time.perf_counter()
    for _ in range(mints):
        transaction: Any = {
            "from": minter.account.address,
            "to": web3.to_checksum_address(made.token.address),
            "data": _call(made, 1),
            "nonce": await web3.eth.get_transaction_count(minter.account.address),
            "chainId": made.token.chain_id,
            "gasPrice": await web3.eth.gas_price,
        }
        transaction["gas"] = await web3.eth.estimate_gas(transaction)
        signed = minter.account.sign_transaction(transaction)
        tx_hash = await web3.eth.send_raw_transaction(signed.raw_transaction)
        await web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=POLL_S)
    took_s = time.perf_counter() - started_at
    await web3.provider.disconnect()
    return mints / took_s
