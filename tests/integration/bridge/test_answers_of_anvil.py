"""Each answer that a real node can be brought to give to a transaction, and what the judge makes of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import rlp
from aiohttp import web
from eth_account import Account
from eth_account.signers.local import LocalAccount

from bridge.fee_history import market
from bridge.fees import FeeOffer, Market, bump, offer
from bridge.node import Node, SimulationRefused
from bridge.sending import Answer
from daemon.demo import token as chain_token
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import DEFAULT_CHAIN_ID, Anvil
from indexer.rpc import Rpc
from tests.conftest import TokenArtifact
from tests.integration.bridge.node_proxy import NodeProxy

GWEI = 10**9
CEILING = 500 * GWEI
NOBODY = b"\x22" * 20
EIP_7825_GAS = 16_777_216


@dataclass(frozen=True, slots=True)
class Sender:
    """Signs what it is told to, however wrong, and lets the judge read the answer."""

    node: Node
    account: LocalAccount = field(default_factory=Account.create)

    @property
    def address(self) -> bytes:
        return bytes.fromhex(self.account.address[2:])

    def signed(self, nonce: int, **changed: Any) -> bytes:
        """A transaction of type 2; a field given as None is left out."""
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": DEFAULT_CHAIN_ID,
            "nonce": nonce,
            "to": NOBODY,
            "value": 0,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": 20 * GWEI,
            "maxPriorityFeePerGas": GWEI,
            **changed,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        return bytes(self.account.sign_transaction(given).raw_transaction)

    def offering(self, nonce: int, fees: FeeOffer) -> bytes:
        return self.signed(
            nonce, maxFeePerGas=fees.max_fee_wei, maxPriorityFeePerGas=fees.priority_fee_wei
        )

    async def send(self, raw: bytes) -> tuple[Answer, str]:
        return await self.node.send(raw)

    async def judge(self, nonce: int, **changed: Any) -> tuple[Answer, str]:
        return await self.send(self.signed(nonce, **changed))


@asynccontextmanager
async def sender_at(anvil: Anvil, funded: bool = True) -> AsyncIterator[Sender]:
    async with Rpc(anvil.url) as rpc:
        sender = Sender(Node(rpc))
        if funded:
            await chain_token.fund(anvil, sender.address)
        yield sender


async def test_taken_known_used_and_ahead(anvil: Anvil) -> None:
    async with sender_at(anvil) as sender:
        first = sender.signed(0)
        assert await sender.send(first) == (Answer.ACCEPTED, "accepted")
        assert (await sender.send(first))[0] is Answer.KNOWN
        assert (await sender.judge(7))[0] is Answer.ACCEPTED, "Anvil queues behind a gap"
        await anvil.mine()
        assert (await sender.send(first))[0] is Answer.NONCE_USED
        assert (await sender.judge(0, value=1))[0] is Answer.NONCE_USED


async def test_too_little_is_underpriced_and_a_bump_is_taken(anvil: Anvil) -> None:
    async with sender_at(anvil) as sender:
        assert (await sender.judge(0, maxFeePerGas=1, maxPriorityFeePerGas=1))[0] is (
            Answer.UNDERPRICED
        )
        fees = offer(Market(await sender.node.base_fee_wei(), GWEI), ceiling_wei=CEILING)
        assert (await sender.send(sender.offering(0, fees)))[0] is Answer.ACCEPTED
        lower = sender.signed(
            0, maxFeePerGas=fees.max_fee_wei - 1, maxPriorityFeePerGas=fees.priority_fee_wei
        )
        assert (await sender.send(lower))[0] is Answer.UNDERPRICED
        for _ in range(3):
            raised = bump(fees, Market(GWEI, GWEI), ceiling_wei=CEILING)
            assert isinstance(raised, FeeOffer)
            fees = raised
            last = sender.offering(0, fees)
            assert (await sender.send(last))[0] is Answer.ACCEPTED
        await anvil.mine()
        block = await anvil.rpc("eth_getBlockByNumber", "latest", True)
        assert [each["maxFeePerGas"] for each in block["transactions"]] == [hex(fees.max_fee_wei)]


async def test_a_signer_without_funds_is_told_so(anvil: Anvil) -> None:
    async with sender_at(anvil, funded=False) as sender:
        assert (await sender.judge(0))[0] is Answer.NO_FUNDS


@pytest.mark.parametrize(
    "wrong",
    [
        {"chainId": 5},
        {"gas": 20_999},
        {"gas": 10**9},
        {"maxPriorityFeePerGas": 21 * GWEI},
    ],
    ids=[
        "chain id",
        "too little gas",
        "too much gas",
        "tip above the cap",
    ],
)
async def test_what_no_block_can_hold_is_refused(anvil: Anvil, wrong: dict[str, Any]) -> None:
    async with sender_at(anvil) as sender:
        answer, text = await sender.judge(0, **wrong)
        assert answer is Answer.REFUSED, text


async def test_bytes_that_are_no_transaction_are_refused(anvil: Anvil) -> None:
    async with sender_at(anvil) as sender:
        whole = sender.signed(0)
        for raw in (whole[:-1], b"\x02" + whole, b"\x02\xc0", b"\xff" * 40):
            answer, text = await sender.send(raw)
            assert answer is Answer.REFUSED, text
        assert (await sender.send(b""))[0] is Answer.MAYBE


async def test_a_signature_that_is_nobodys_is_refused(anvil: Anvil) -> None:
    async with sender_at(anvil) as sender:
        fields = rlp.decode(sender.signed(0)[1:])
        forged = b"\x02" + rlp.encode([*fields[:-2], b"\xff" * 32, b"\xff" * 32])
        answer, text = await sender.send(forged)
        assert answer is Answer.REFUSED, text


async def test_more_gas_than_a_transaction_may_have_is_refused() -> None:
    async with Anvil() as anvil, sender_at(anvil) as sender:
        answer, text = await sender.judge(0, gas=EIP_7825_GAS + 1)
        assert answer is Answer.REFUSED, text
        assert (await sender.judge(0, gas=EIP_7825_GAS))[0] is Answer.ACCEPTED


async def test_a_type_that_the_chain_does_not_have_yet_is_for_another_node() -> None:
    """So is every type 2 on a chain without a base fee, where a legacy price is taken."""
    async with Anvil(extra_args=["--hardfork", "berlin"]) as anvil, sender_at(anvil) as sender:
        answer, text = await sender.judge(0)
        assert answer is Answer.ELSEWHERE, text
        price = offer(Market(None, await sender.node.gas_price_wei()), ceiling_wei=CEILING)
        assert price.priority_fee_wei is None
        legacy = {"type": None, "maxFeePerGas": None, "maxPriorityFeePerGas": None}
        taken, text = await sender.judge(0, **legacy, gasPrice=price.max_fee_wei)
        assert taken is Answer.ACCEPTED, text
        lower, text = await sender.judge(0, **legacy, gasPrice=price.max_fee_wei - 1)
        assert lower is Answer.UNDERPRICED, text
        raised = bump(price, Market(None, 1), ceiling_wei=CEILING)
        assert isinstance(raised, FeeOffer)
        taken, text = await sender.judge(0, **legacy, gasPrice=raised.max_fee_wei)
        assert taken is Answer.ACCEPTED, text


async def test_a_method_that_the_node_does_not_have_is_for_another_node(anvil: Anvil) -> None:
    async def missing(method: str, params: list[Any]) -> dict[str, Any] | None:
        if method == "eth_sendRawTransaction":
            return await proxy.ask("eth_sendRawTransactions", params)
        return None

    async with NodeProxy(anvil.url, missing) as proxy, Rpc(proxy.url) as rpc:
        sender = Sender(Node(rpc))
        answer, text = await sender.judge(0)
        assert answer is Answer.ELSEWHERE, text


async def test_a_hash_that_is_not_ours_is_no_acceptance(anvil: Anvil) -> None:
    async def other(method: str, params: list[Any]) -> dict[str, Any] | None:
        if method == "eth_sendRawTransaction":
            return {"result": "0x" + "33" * 32}
        return None

    async with NodeProxy(anvil.url, other) as proxy, Rpc(proxy.url) as rpc:
        answer, text = await Sender(Node(rpc)).judge(0)
        assert answer is Answer.MAYBE
        assert "33" in text


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (429, b"slow down", Answer.ELSEWHERE),
        (
            403,
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no key"}}',
            Answer.ELSEWHERE,
        ),
        (413, b"too large", Answer.ELSEWHERE),
        (404, b"nothing here", Answer.ELSEWHERE),
        (500, b"oops", Answer.MAYBE),
        (502, b"<html>bad gateway</html>", Answer.MAYBE),
        (504, b"", Answer.MAYBE),
        (200, b"<html>hello</html>", Answer.MAYBE),
        (200, b'{"jsonrpc":"2.0","id":1}', Answer.MAYBE),
        (200, b'{"jsonrpc":"2.0","id":9,"result":"0x"}', Answer.MAYBE),
        (
            200,
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"already known"}}',
            Answer.KNOWN,
        ),
        (
            500,
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"nonce too low"}}',
            Answer.NONCE_USED,
        ),
        (429, b'{"jsonrpc":"2.0","id":1,"error":{"code":429,"message":"slow"}}', Answer.ELSEWHERE),
    ],
)
async def test_what_a_gateway_answers_is_read_by_its_status_and_its_words(
    status: int, body: bytes, answer: Answer
) -> None:
    async def gateway(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    application = web.Application()
    application.router.add_post("/", gateway)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with Rpc(f"http://{host}:{port}") as rpc:
        assert (await Sender(Node(rpc)).judge(0))[0] is answer
    await runner.cleanup()


async def test_a_cut_connection_may_have_sent(anvil: Anvil) -> None:
    async with sender_at(anvil) as sender:
        await anvil.stop()
        assert (await sender.judge(0))[0] is Answer.MAYBE


async def test_a_refused_simulation_names_the_contracts_error(
    anvil: Anvil, token_artifact: TokenArtifact
) -> None:
    admin, stranger = Wallet.new(), Wallet.new()
    await chain_token.fund(anvil, admin.address)
    contract = await chain_token.deploy(anvil, admin, 2)
    freeze = chain_token.call_data("setFrozen(address,bool)", stranger.address, True)
    async with Rpc(anvil.url) as rpc:
        node = Node(rpc)
        with pytest.raises(SimulationRefused, match="AccessControlUnauthorizedAccount"):
            await node.simulate(stranger.address, contract.address, freeze)
        with pytest.raises(SimulationRefused, match="execution failed"):
            await node.simulate(stranger.address, contract.address, b"\x01\x02\x03\x04")


async def test_the_history_of_fees_is_read(anvil: Anvil) -> None:
    async with sender_at(anvil) as sender:
        for nonce, tip in enumerate((GWEI, 3 * GWEI, 2 * GWEI)):
            await sender.judge(nonce, maxPriorityFeePerGas=tip)
            await anvil.mine()
        await anvil.mine()
        history = await sender.node.fee_history(4, [10, 50])
        head = int(await anvil.rpc("eth_blockNumber"), 16)
        assert history.oldest_block == head - 3
        assert [used > 0 for used in history.gas_used_ppm] == [True, True, True, False]
        assert len(history.base_fees_wei) == 5
        found = market(history, percentile=1, lowest_tip_wei=0, has_base_fee=True)
        assert found == Market(history.base_fees_wei[-1], 2 * GWEI)
        await anvil.mine()
        latest = await anvil.rpc("eth_getBlockByNumber", hex(head + 1), False)
        assert int(latest["baseFeePerGas"], 16) == history.base_fees_wei[-1]
        with pytest.raises(ValueError, match="not asked for"):
            await sender.node.fee_history(0, [50])
        with pytest.raises(ValueError, match="not asked for"):
            await sender.node.fee_history(1, [])
