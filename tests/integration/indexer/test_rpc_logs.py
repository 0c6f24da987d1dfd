"""Logs, receipts, whole blocks and forged headers: from a small node, and from a real Anvil."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon.embedded.anvil import Anvil
from indexer.block import Header
from indexer.errors import (
    BlockVanished,
    HeaderForged,
    MethodMissing,
    NodeBehind,
    RangeRefused,
    RpcError,
    RpcMalformed,
    RpcRateLimited,
    RpcTimeout,
    RpcUnavailable,
)
from indexer.gate import Outcome
from indexer.rpc import Rpc
from tests.integration.indexer.small_node import SECRET, Refusal, SmallNode, hash_of, serving

Json = Any
ADDRESS, TOPIC = b"\x0a" * 20, b"\x01" * 32
# Emits LOG1(topic 0x…07, 32 bytes of data) at every call: PUSH1 7, PUSH1 32, PUSH1 0, LOG1.
LOGGER = "0x600760206000a1"


class Listening:
    """A gate that writes down what it is told."""

    largest_batch = 100

    def __init__(self) -> None:
        self.entered: list[int] = []
        self.outcomes: list[Outcome] = []
        self.open = asyncio.Event()
        self.open.set()

    async def enter(self, requests: int) -> None:
        await self.open.wait()
        self.entered.append(requests)

    def leave(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest_asyncio.fixture(loop_scope="session")
async def node() -> AsyncIterator[SmallNode]:
    async with serving(SmallNode(logs_per_block=2)) as served:
        yield served


@pytest.fixture
def gate() -> Listening:
    return Listening()


@pytest_asyncio.fixture(loop_scope="session")
async def rpc(node: SmallNode, gate: Listening) -> AsyncIterator[Rpc]:
    async with Rpc(
        node.url, total_timeout_s=0.5, turn_timeout_s=0.1, max_response_bytes=100_000, gate=gate
    ) as client:
        yield client


async def test_the_logs_of_a_range_come_with_the_size_of_the_answer(
    node: SmallNode, rpc: Rpc, gate: Listening
) -> None:
    answer = await rpc.logs_in_range(10, 12, [ADDRESS], [TOPIC])
    assert [int(log.block_number, 16) for log in answer.logs] == [10, 10, 11, 11, 12, 12]
    [query] = node.requests[0]["params"]
    assert query == {
        "fromBlock": "0xa",
        "toBlock": "0xc",
        "address": ["0x" + "0a" * 20],
        "topics": [["0x" + "01" * 32]],
    }
    assert answer.size_bytes == gate.outcomes[0].size_bytes > 6 * 400


async def test_a_question_without_a_filter_has_none(node: SmallNode, rpc: Rpc) -> None:
    await rpc.logs_in_range(10, 10)
    assert node.requests[0]["params"] == [{"fromBlock": "0xa", "toBlock": "0xa"}]


async def test_a_range_that_is_too_wide_says_how_wide_it_may_be(node: SmallNode, rpc: Rpc) -> None:
    node.max_blocks = 10
    with pytest.raises(RangeRefused, match="0 to 50") as raised:
        await rpc.logs_in_range(0, 50)
    assert (raised.value.max_blocks, raised.value.too_wide) == (10, True)
    assert raised.value.suggested is None


async def test_a_suggestion_is_handed_on_however_long_the_text(node: SmallNode, rpc: Rpc) -> None:
    def refuse(_: list[Json]) -> Json:
        raise Refusal(
            -32602,
            "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no"
            " limit on the response size, or you can request any block range with a cap of 10K logs in the"
            " response. Based on your parameters and the response size limit, this block range should work:"
            " [0x0, 0x13]" + "." * 100,
        )

    node.answers["eth_getLogs"] = refuse
    with pytest.raises(RangeRefused) as raised:
        await rpc.logs_in_range(0, 50)
    assert raised.value.suggested == (0, 19)
    assert not raised.value.too_wide
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("status", [413, 408, 504, 524])
async def test_gateways_that_give_up_on_the_size_ask_for_less(
    node: SmallNode, rpc: Rpc, status: int
) -> None:
    node.status, node.body = status, b"<html>sorry</html>"
    with pytest.raises(RangeRefused):
        await rpc.logs_in_range(0, 50)


async def test_an_answer_that_is_too_long_asks_for_less(
    node: SmallNode, rpc: Rpc, gate: Listening
) -> None:
    node.logs_per_block = 10
    with pytest.raises(RangeRefused, match="longer than 100000 bytes"):
        await rpc.logs_in_range(0, 50)
    assert gate.outcomes[0].kind == "refused"


async def test_an_answer_that_takes_too_long_asks_for_less(
    node: SmallNode, rpc: Rpc, gate: Listening
) -> None:
    node.delay_s = 1.0
    with pytest.raises(RangeRefused, match="timed out"):
        await rpc.logs_in_range(0, 50)
    assert gate.outcomes[0].kind == "unavailable"


async def test_no_answer_at_all_is_no_matter_of_the_range(rpc: Rpc) -> None:
    async with Rpc("http://127.0.0.1:9/secret-key") as nowhere:
        with pytest.raises(RpcUnavailable):
            await nowhere.logs_in_range(0, 50)


@pytest.mark.parametrize(
    "change",
    [
        {"blockNumber": "0x63"},
        {"address": "0x" + "0b" * 20},
        {"blockHash": None},
        {"topics": ["0x" + "02" * 32]},
    ],
)
async def test_logs_that_were_not_asked_for_are_malformed(
    node: SmallNode, rpc: Rpc, change: dict[str, Json]
) -> None:
    node.answers["eth_getLogs"] = lambda _: [node.log(10, 0), {**node.log(10, 1), **change}]
    with pytest.raises(RpcMalformed):
        await rpc.logs_in_range(10, 12, [ADDRESS], [TOPIC])


async def test_escapes_in_an_answer_are_malformed(node: SmallNode, rpc: Rpc) -> None:
    hidden = {**node.log(10, 0), "transactionHash": "0x" + "\n" * 64}
    node.answers["eth_getLogs"] = lambda _: [hidden]
    with pytest.raises(RpcMalformed, match="characters"):
        await rpc.logs_in_range(10, 12)


async def test_logs_of_a_block_that_the_node_does_not_know_raise(node: SmallNode, rpc: Rpc) -> None:
    def unknown(_: list[Json]) -> Json:
        raise Refusal(-32000, "unknown block")

    node.answers["eth_getLogs"] = unknown
    with pytest.raises(BlockVanished):
        await rpc.logs_of_block(hash_of(10), [ADDRESS])


async def test_logs_of_another_block_are_malformed(node: SmallNode, rpc: Rpc) -> None:
    node.answers["eth_getLogs"] = lambda _: [node.log(11, 0)]
    with pytest.raises(RpcMalformed, match="another block"):
        await rpc.logs_of_block(hash_of(10), [ADDRESS])


async def test_a_method_that_the_node_lacks_is_told_apart(rpc: Rpc, gate: Listening) -> None:
    with pytest.raises(MethodMissing):
        await rpc.receipts(hash_of(10))
    assert (gate.outcomes[0].kind, gate.outcomes[0].method) == ("missing", "eth_getBlockReceipts")


@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        (200, {"result": "0x64"}, "ok", None),
        (200, {"error": {"code": 3, "message": "execution reverted"}}, "refused", RpcError),
        (
            200,
            {"error": {"code": -32005, "message": "limit exceeded"}},
            "rate_limited",
            RpcRateLimited,
        ),
        (429, None, "rate_limited", RpcRateLimited),
        (401, {"error": {"code": -32000, "message": "no key"}}, "unavailable", RpcUnavailable),
        (503, None, "unavailable", RpcUnavailable),
        (504, None, "unavailable", RpcTimeout),
        (200, {"result": "nonsense"}, "malformed", RpcMalformed),
        (200, {}, "malformed", RpcMalformed),
    ],
)
async def test_the_gate_is_told_how_every_request_went(
    node: SmallNode,
    rpc: Rpc,
    gate: Listening,
    status: int,
    body: dict[str, Json] | None,
    kind: str,
    error: type[Exception] | None,
) -> None:
    node.status = status
    node.body = b"sorry" if body is None else None
    node.mangle = lambda answer: {"jsonrpc": "2.0", "id": answer["id"], **(body or {})}
    if error is None:
        await rpc.block_number()
    else:
        with pytest.raises(error) as raised:
            await rpc.block_number()
        assert type(raised.value) is error
    assert gate.entered == [1]
    [outcome] = gate.outcomes
    assert (outcome.kind, outcome.method, outcome.requests) == (kind, "eth_blockNumber", 1)
    assert outcome.size_bytes > 0
    assert 0.0 < outcome.latency_s < 0.5
    assert SECRET not in outcome.reason


async def test_a_batch_passes_the_gate_once_with_all_its_calls(rpc: Rpc, gate: Listening) -> None:
    await rpc.headers(range(5))
    assert gate.entered == [5]
    assert gate.outcomes[0].requests == 5


async def test_what_is_given_up_leaves_the_gate_too(
    node: SmallNode, rpc: Rpc, gate: Listening
) -> None:
    node.delay_s = 0.4
    call = asyncio.create_task(rpc.block_number())
    await asyncio.sleep(0.1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert [outcome.kind for outcome in gate.outcomes] == ["cancelled"]


async def test_waiting_for_the_gate_is_bounded(rpc: Rpc, gate: Listening) -> None:
    gate.open.clear()
    async with asyncio.timeout(1.0):
        with pytest.raises(RpcRateLimited, match="not its turn"):
            await rpc.block_number()
    assert gate.outcomes == []


async def test_retry_after_is_handed_on(node: SmallNode, rpc: Rpc, gate: Listening) -> None:
    node.status, node.headers, node.body = 429, {"Retry-After": "7"}, b""
    with pytest.raises(RpcRateLimited) as raised:
        await rpc.block_number()
    assert raised.value.retry_after_s == 7.0
    assert gate.outcomes[0].retry_after_s == 7.0


async def test_an_error_beside_an_unreadable_result_is_the_error(node: SmallNode, rpc: Rpc) -> None:
    node.answers["eth_getLogs"] = lambda _: []
    node.mangle = lambda answer: {
        "id": answer["id"],
        "result": {},
        "error": {"code": -32000, "message": "unknown block"},
    }
    with pytest.raises(BlockVanished):
        await rpc.logs_of_block(hash_of(10))


async def test_a_redirect_is_not_followed(node: SmallNode, rpc: Rpc) -> None:
    node.status, node.headers, node.body = 307, {"Location": node.url}, b""
    with pytest.raises(RpcUnavailable, match="307"):
        await rpc.block_number()
    assert len(node.requests) == 1


# On a real node.


@pytest_asyncio.fixture(loop_scope="session")
async def anvil_rpc(anvil: Anvil) -> AsyncIterator[Rpc]:
    async with Rpc(anvil.url, verify_headers=True) as client:
        yield client


async def log_once(anvil: Anvil) -> Header:
    """A block with a transaction that logs, and one that does not."""
    sender = (await anvil.rpc("eth_accounts"))[0]
    await anvil.rpc("anvil_setCode", "0x" + ADDRESS.hex(), LOGGER)
    for target in ("0x" + ADDRESS.hex(), sender):
        await anvil.rpc("eth_sendTransaction", {"from": sender, "to": target, "gas": "0x186a0"})
    await anvil.mine(1)
    async with Rpc(anvil.url) as rpc:
        header = await rpc.header("latest")
    assert header is not None
    return header


async def test_logs_receipts_and_transactions_of_a_real_block_agree(
    anvil: Anvil, anvil_rpc: Rpc
) -> None:
    header = await log_once(anvil)
    [log] = await anvil_rpc.logs_of_block(header.hash, [ADDRESS], [b"\x07".rjust(32, b"\0")])
    assert await anvil_rpc.logs_of_block(header.hash, [b"\x0b" * 20]) == []
    ranged = await anvil_rpc.logs_in_range(0, header.number, [ADDRESS])
    assert ranged.logs == [log]
    receipts = await anvil_rpc.receipts(header.hash)
    assert receipts is not None
    assert [receipt.logs for receipt in receipts] == [[log], []]
    assert all(receipt.status == "0x1" for receipt in receipts)
    block = await anvil_rpc.block_with_transactions(header.hash)
    assert block is not None
    assert [one.hash for one in block.transactions] == [one.transaction_hash for one in receipts]
    assert block.transactions[0].recipient == "0x" + ADDRESS.hex()
    assert block.header() == header
    assert header.receipts_root is not None


async def test_what_a_real_node_does_not_know_is_none(anvil: Anvil, anvil_rpc: Rpc) -> None:
    unknown = b"\x11" * 32
    assert await anvil_rpc.header(unknown) is None
    assert await anvil_rpc.header(99) is None
    assert await anvil_rpc.receipts(unknown) is None
    assert await anvil_rpc.block_with_transactions(unknown) is None
    with pytest.raises(BlockVanished):
        await anvil_rpc.logs_of_block(unknown)
    with pytest.raises(NodeBehind, match="block 60"):
        await anvil_rpc.logs_in_range(50, 60)


async def test_honest_headers_pass_their_verification(anvil: Anvil, anvil_rpc: Rpc) -> None:
    header = await log_once(anvil)
    await anvil.mine(6)
    tags = await anvil_rpc.tags()
    assert tags.finalized is not None
    assert tags.latest.number == header.number + 6
    assert tags.finalized.number == tags.latest.number - 4
    headers = await anvil_rpc.headers(range(tags.latest.number + 1))
    assert headers[header.number] == header
    assert await anvil_rpc.header(header.hash) == header


@pytest.mark.parametrize(
    "change",
    [
        {"logsBloom": "0x" + "01" * 256},
        {"receiptsRoot": "0x" + "11" * 32},
        {"timestamp": "0x1"},
        {"parentHash": "0x" + "22" * 32},
        {"hash": "0x" + "33" * 32},
    ],
)
async def test_a_forged_header_is_told_from_an_honest_one(
    anvil: Anvil, node: SmallNode, change: dict[str, str]
) -> None:
    honest = await anvil.rpc("eth_getBlockByNumber", "latest", False)
    node.answers["eth_getBlockByNumber"] = lambda _: {**honest, **change}
    gate = Listening()
    async with Rpc(node.url, verify_headers=True, gate=gate) as verifying:
        for read in (
            verifying.header("latest"),
            verifying.tags(),
            verifying.headers([0, 0]),
        ):
            with pytest.raises(HeaderForged, match=r"block 0 .*127\.0\.0\.1") as raised:
                await read
            assert SECRET not in str(raised.value)
    assert {outcome.kind for outcome in gate.outcomes} == {"malformed"}
    async with Rpc(node.url) as believing:
        assert await believing.header("latest") is not None


async def test_a_forged_block_with_transactions_is_told_too(anvil: Anvil, node: SmallNode) -> None:
    header = await log_once(anvil)
    honest = await anvil.rpc("eth_getBlockByNumber", "latest", True)
    node.answers["eth_getBlockByHash"] = lambda _: {**honest, "gasUsed": "0x1"}
    async with Rpc(node.url, verify_headers=True) as verifying:
        with pytest.raises(HeaderForged):
            await verifying.block_with_transactions(header.hash)


async def test_transactions_and_receipts_out_of_order_are_malformed(
    anvil: Anvil, node: SmallNode
) -> None:
    header = await log_once(anvil)
    block = await anvil.rpc("eth_getBlockByNumber", "latest", True)
    receipts = await anvil.rpc("eth_getBlockReceipts", block["hash"])
    node.answers["eth_getBlockByHash"] = lambda _: {
        **block,
        "transactions": block["transactions"][::-1],
    }
    async with Rpc(node.url) as rpc:
        with pytest.raises(RpcMalformed, match="place 0"):
            await rpc.block_with_transactions(header.hash)
        node.answers["eth_getBlockReceipts"] = lambda _: receipts[::-1]
        with pytest.raises(RpcMalformed, match="place 0"):
            await rpc.receipts(header.hash)
        node.answers["eth_getBlockReceipts"] = lambda _: receipts[1:]
        with pytest.raises(RpcMalformed, match="place 0"):
            await rpc.receipts(header.hash)
        moved = [{**receipts[0], "transactionHash": "0x" + "44" * 32}, receipts[1]]
        node.answers["eth_getBlockReceipts"] = lambda _: moved
        with pytest.raises(RpcMalformed, match="another transaction"):
            await rpc.receipts(header.hash)
        node.answers["eth_getBlockReceipts"] = lambda _: receipts
        with pytest.raises(RpcMalformed, match="another block"):
            await rpc.receipts(hash_of(5))
