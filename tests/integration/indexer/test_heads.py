"""Heads by WebSocket: from a real Anvil, and from a server that is mute, closes, floods and talks rubbish.

The pauses between two connections are a tenth of the real ones.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from daemon.embedded.anvil import Anvil
from indexer.heads import MAX_BUFFERED, Heads, HeadsFacts
from indexer.provider import Provider, ProviderSettings
from tests.integration.indexer.small_node import SECRET, hash_of
from tests.integration.indexer.socket_node import SocketNode, serving_socket

SPEED = 10.0
PATIENCE_S = 60.0


async def fast_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


def provider(url: str | None, name: str = "a", *, verify_headers: bool = False) -> Provider:
    http = "http://127.0.0.1:9" if url is None else url.replace("ws://", "http://")
    one = Provider(ProviderSettings(name, name, http, url), verify_headers=verify_headers)
    one.is_right = True
    return one


@asynccontextmanager
async def listening(*providers: Provider) -> AsyncIterator[Heads]:
    heads = Heads(providers, sleep=fast_sleep, jitter=lambda: 0.0)
    task = asyncio.create_task(heads.run())
    try:
        yield heads
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for one in providers:
            await one.close()


async def until(heads: Heads, condition: Callable[[HeadsFacts], bool]) -> HeadsFacts:
    async with asyncio.timeout(PATIENCE_S):
        while not condition(heads.facts()):  # noqa: ASYNC110 - whatever it is, it is looked at from outside
            await asyncio.sleep(0.005)
    return heads.facts()


async def numbers(heads: Heads, count: int) -> list[int]:
    """The numbers of the next so many heads."""
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            await heads.wait(1.0)
            found += [seen.header.number for seen in heads.take()]
    return found


async def test_the_heads_of_a_real_node_come_whole_and_at_once(anvil: Anvil) -> None:
    one = provider(anvil.url.replace("http", "ws"), verify_headers=True)
    async with listening(one) as heads:
        await until(heads, lambda facts: facts.connected)
        assert not await heads.wait(0.05)
        await anvil.mine(1)
        assert await heads.wait(2.0)
        [seen] = heads.take()
        assert seen.provider is one
        assert seen.header == await one.rpc.header("latest")
        assert heads.take() == []
        assert not await heads.wait(0.05)
        assert one.rpc.newest_number == 1


async def test_a_reorg_of_a_real_node_is_pushed_as_its_new_heads(anvil: Anvil) -> None:
    one = provider(anvil.url.replace("http", "ws"), verify_headers=True)
    async with listening(one) as heads:
        await until(heads, lambda facts: facts.connected)
        await anvil.mine(4)
        assert await numbers(heads, 4) == [1, 2, 3, 4]
        before = await anvil.rpc("eth_getBlockByNumber", "0x3", False)
        await anvil.rpc("anvil_reorg", 2, [])
        await anvil.mine(1)
        after = await anvil.rpc("eth_getBlockByNumber", "0x3", False)
        assert before["hash"] != after["hash"]
        assert (await numbers(heads, 1))[-1] == 5


async def test_heads_are_kept_in_order_until_they_are_taken() -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        await node.push(5, 6, 7)
        await until(heads, lambda facts: facts.heads_total == 3)
        taken = heads.take()
        assert [seen.header.hash for seen in taken] == [hash_of(5), hash_of(6), hash_of(7)]
        facts = heads.facts()
        assert (facts.connected, facts.mute, facts.provider) == (True, False, "a")
        assert facts.last_head_age_s is not None
        assert facts.last_head_age_s < 5.0


async def test_only_the_newest_are_kept() -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        for number in range(150):
            await node.push(number)
            await asyncio.sleep(0.002)
        await until(heads, lambda facts: facts.heads_total == 150)
        assert [seen.header.number for seen in heads.take()] == list(range(86, 150))
        assert MAX_BUFFERED == 64


async def test_a_socket_that_closes_is_opened_again() -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        for times in (1, 2, 3):
            await node.until_subscribed(times)
            await node.push(times)
            assert await numbers(heads, 1) == [times]
            await node.cut()
        facts = await until(heads, lambda facts: facts.reconnects >= 2)
        assert "a: ConnectionClosedError" in (facts.last_failure or "")


async def test_a_mute_socket_is_noticed_in_three_block_times_and_left_for_another() -> None:
    async with serving_socket(SocketNode()) as first, serving_socket(SocketNode()) as second:
        both = provider(first.url, "a"), provider(second.url, "b")
        async with listening(*both) as heads:
            await first.until_subscribed()
            for number in range(20):
                await first.push(number)
                await asyncio.sleep(0.05)
            facts = heads.facts()
            assert facts.block_time_s == pytest.approx(0.05, rel=0.6)
            assert (facts.mute, facts.provider) == (False, "a")
            mute_from = time.monotonic()
            await until(heads, lambda facts: facts.mute)
            # However fast they come, a block is taken to last a second.
            assert time.monotonic() - mute_from > 2.5
            await until(heads, lambda facts: "mute" in (facts.last_failure or ""))
            await second.until_subscribed()
            assert heads.facts().mute, "until a head comes"
            await second.push(30)
            await until(heads, lambda facts: not facts.mute)
            assert [seen.provider.name for seen in heads.take()][-1] == "b"


async def test_chatter_does_not_pass_for_heads() -> None:
    """A socket is mute too when all that comes is what nobody asked for."""
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        for number in range(10):
            await node.push(number)
            await asyncio.sleep(0.05)
        await until(heads, lambda facts: facts.heads_total == 10)
        # Fewer than what is taken for rubbish, and they do not move the deadline.
        began = time.monotonic()
        for _ in range(3):
            await node.send(node.notice(node.chain.header(99), "0xother"))
            await asyncio.sleep(0.8)
        await until(heads, lambda facts: facts.mute)
        assert time.monotonic() - began < 12.0
        assert heads.facts().heads_total == 10


@pytest.mark.parametrize(
    "rubbish",
    [
        "not json",
        "[]",
        "{}",
        b"\xff\xfe",
        {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1"}},
        {"jsonrpc": "2.0", "id": 7, "result": "0x1"},
    ],
)
async def test_rubbish_is_passed_over_and_a_socket_full_of_it_is_left(rubbish: object) -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        for number in (1, 2):
            await node.send(rubbish)
            await node.send(rubbish)
            await node.push(number)
        assert await numbers(heads, 2) == [1, 2]
        for _ in range(4):
            await node.send(rubbish)
        facts = await until(heads, lambda facts: facts.last_failure is not None)
        assert facts.last_failure == "a: it sends what is no head"
        await node.until_subscribed(2)
        await node.push(3)
        assert await numbers(heads, 1) == [3]


@pytest.mark.parametrize(
    "change", [{"hash": "0x11"}, {"number": "0xzz"}, {"logsBloom": None}, {"number": 7}]
)
async def test_a_malformed_head_is_no_head(change: dict[str, object]) -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        await node.push(5, **change)
        await node.push(6)
        assert await numbers(heads, 1) == [6]


async def test_a_forged_head_is_no_head_and_counts_against_its_provider(anvil: Anvil) -> None:
    honest = await anvil.rpc("eth_getBlockByNumber", "latest", False)
    async with serving_socket(SocketNode()) as node:
        one = provider(node.url, verify_headers=True)
        async with listening(one) as heads:
            await node.until_subscribed()
            await node.send(node.notice({**honest, "timestamp": "0x1"}))
            await node.send(node.notice(honest))
            assert await numbers(heads, 1) == [0]
            assert heads.facts().heads_total == 1
            assert one.standing.failures == 1
            assert SECRET not in (one.standing.last_failure or "")


async def test_a_flood_is_ended_and_starves_nobody() -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        flood = asyncio.create_task(node.push(*range(5000)))
        turns = 0
        while heads.facts().last_failure is None:
            await asyncio.sleep(0)
            turns += 1
        await asyncio.gather(flood, return_exceptions=True)
        assert "messages a second" in (heads.facts().last_failure or "")
        assert heads.facts().heads_total <= 200
        assert turns > 20, "others had hardly a turn meanwhile"


async def test_a_message_without_end_is_not_read() -> None:
    async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
        await node.until_subscribed()
        await node.send("x" * 1_000_000)
        facts = await until(heads, lambda facts: facts.last_failure is not None)
        assert "ConnectionClosed" in (facts.last_failure or "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"error": {"code": -32601, "message": "no subscriptions"}},
            "refused eth_subscribe: no sub",
        ),
        ({"result": 7}, "malformed"),
        ({}, "malformed"),
        (None, "does not answer eth_subscribe"),
    ],
)
async def test_a_subscription_that_fails_is_told_and_tried_elsewhere(
    answer: dict[str, object] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.heads.CONNECT_TIMEOUT_S", 0.3)
    async with (
        serving_socket(SocketNode(subscribed=answer)) as first,
        serving_socket(SocketNode()) as second,
        listening(provider(first.url, "a"), provider(second.url, "b")) as heads,
    ):
        facts = await until(heads, lambda facts: facts.last_failure is not None)
        assert said in (facts.last_failure or "")
        await second.until_subscribed()
        await second.push(1)
        assert await numbers(heads, 1) == [1]


async def test_nobody_at_the_other_end_is_tried_less_and_less_often() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    one = provider("ws://127.0.0.1:9/secret-key")
    heads = Heads([one], sleep=sleep, jitter=lambda: 0.5)
    task = asyncio.create_task(heads.run())
    await until(heads, lambda _: len(pauses) >= 9)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pauses[:9] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    facts = heads.facts()
    assert not facts.connected
    assert facts.last_failure == "a: ConnectionRefusedError"


async def test_without_a_socket_to_listen_to_it_ends_at_once() -> None:
    heads = Heads([provider(None)])
    async with asyncio.timeout(1.0):
        await heads.run()
    assert not heads.facts().connected
    assert not await heads.wait(0.01)
    assert heads.take() == []


async def test_a_provider_whose_chain_is_not_known_is_not_listened_to() -> None:
    async with serving_socket(SocketNode()) as node:
        one = provider(node.url)
        one.is_right = None
        async with listening(one) as heads:
            await asyncio.sleep(0.3)
            assert node.connected == 0
            one.is_right = True
            await node.until_subscribed()
            one.is_right = False
            await node.push(1)
            await until(heads, lambda facts: facts.last_failure is not None)
            assert heads.take() == []


async def test_a_redirect_is_not_followed() -> None:
    async with (
        serving_socket(SocketNode()) as target,
        serving_socket(SocketNode(redirect_to=target.url)) as node,
        listening(provider(node.url)) as heads,
    ):
        facts = await until(heads, lambda facts: facts.last_failure is not None)
        assert "InvalidStatus" in (facts.last_failure or "")
        assert target.connected == 0


async def test_no_log_and_no_fact_shows_the_key(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving_socket(SocketNode()) as node, listening(provider(node.url)) as heads:
            await node.until_subscribed()
            await node.push(1)
            await numbers(heads, 1)
            await node.cut()
            await until(heads, lambda facts: facts.last_failure is not None)
            shown = repr(heads.facts())
        async with listening(provider("ws://127.0.0.1:9/secret-key")) as heads:
            await until(heads, lambda facts: facts.last_failure is not None)
            shown += repr(heads.facts())
        async with listening(provider("nonsense://secret-key")) as heads:
            await until(heads, lambda facts: facts.last_failure is not None)
            shown += repr(heads.facts())
    ours = [one for one in caplog.records if not one.name.startswith("websockets.server")]
    shown += "".join(record.getMessage() for record in ours)
    assert SECRET not in shown
    assert "password" not in shown
