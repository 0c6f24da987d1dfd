"""Several providers of one chain: which one is asked, what is learnt of each, what a quorum of them calls final.

The providers' clock goes ten times as fast as the test's, so that recovering takes no real minute.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from indexer.block import BlockRef
from indexer.errors import (
    DatabaseUnavailable,
    DeepReorg,
    FinalityDisputed,
    HeadersUnlinked,
    LogsMissing,
    NodeBehind,
    NoProvider,
    RangeRefused,
    Retryable,
    RpcError,
    RpcRateLimited,
    RpcUnavailable,
    WrongChain,
    WrongGenesis,
)
from indexer.finality import NodeFinality
from indexer.provider import Provider, ProviderSettings
from indexer.providers import Providers
from tests.faultproxy import FaultProxy
from tests.integration.indexer.small_node import (
    CHAIN_ID,
    SECRET,
    Refusal,
    SmallNode,
    hash_of,
    serving,
)

SPEED = 10.0
PATIENCE_S = 60.0


def fast_clock() -> float:
    return time.monotonic() * SPEED


async def fast_sleep(seconds: float) -> None:
    await asyncio.sleep(seconds / SPEED)


@dataclass
class Scene:
    nodes: list[SmallNode]
    providers: Providers

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.providers.all]


def settings(node: SmallNode, name: str, **changes: object) -> ProviderSettings:
    values: dict[str, object] = {
        "name": name,
        "operator": f"operator of {name}",
        "http_url": node.url,
        "timeout_s": 1.0,
        **changes,
    }
    return ProviderSettings(**values)  # type: ignore[arg-type]


@asynccontextmanager
async def scene(*nodes: SmallNode, **changes: object) -> AsyncIterator[Scene]:
    """Providers a, b, c, …, one for each node; not watched unless a test does."""
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(serving(node))
        providers = Providers(
            [settings(node, "abcdef"[index], **changes) for index, node in enumerate(nodes)],
            clock=fast_clock,
            sleep=fast_sleep,
        )
        stack.push_async_callback(providers.close)
        yield Scene(list(nodes), providers)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - whatever it is, it is looked at from outside
            await asyncio.sleep(0.01)


async def fail(provider: Provider, times: int = 3) -> None:
    for _ in range(times):
        with pytest.raises(RpcUnavailable):
            await provider.rpc.block_number()


# Which one is asked.


async def test_the_first_in_the_order_is_the_best_while_it_answers() -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        a, _ = it.providers.all
        assert it.providers.best() is a
        await a.rpc.block_number()
        assert it.providers.best() is a


async def test_one_that_fails_is_left_and_gone_back_to_when_it_has_recovered() -> None:
    async with scene(SmallNode(), SmallNode()) as it, it.providers as providers:
        a, b = providers.all
        await providers.require_chain(CHAIN_ID)
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        await fail(a)
        assert providers.best() is b
        left = time.monotonic()
        it.nodes[0].status, it.nodes[0].body = 200, None
        await until(lambda: not a.standing.is_shut)
        assert providers.best() is b, "not at once"
        await until(lambda: providers.best() is a)
        assert time.monotonic() - left > 20.0 / SPEED


async def test_one_that_never_answers_is_left() -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        host, port = it.nodes[0].url.split("@")[1].split("/")[0].split(":")
        async with FaultProxy(host, int(port)) as proxy:
            proxy.black_hole()
            providers = Providers(
                [
                    ProviderSettings(
                        "mute", "x", f"http://{proxy.address}/v2/{SECRET}", timeout_s=0.1
                    ),
                    settings(it.nodes[1], "b"),
                ]
            )
            mute, b = providers.all
            for _ in range(3):
                with pytest.raises(RpcUnavailable, match="timed out"):
                    await mute.rpc.block_number()
            assert providers.best() is b
            await providers.close()


async def test_when_none_can_be_used_each_ones_failure_is_told() -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        for node, status in zip(it.nodes, (502, 503), strict=True):
            node.status, node.body = status, b"sorry"
        for one in it.providers.all:
            await fail(one)
        with pytest.raises(NoProvider, match=r"a: .*502.*; b: .*503") as raised:
            it.providers.best()
        assert SECRET not in str(raised.value)


async def test_without_a_watch_a_step_is_the_probe_that_brings_one_back() -> None:
    async with scene(SmallNode()) as it:
        [a] = it.providers.all
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        await fail(a)
        with pytest.raises(NoProvider):
            it.providers.best()
        await fast_sleep(1.1)
        assert it.providers.best() is a
        with pytest.raises(NoProvider):
            it.providers.best()
        it.nodes[0].status, it.nodes[0].body = 200, None
        await a.rpc.block_number()
        assert it.providers.best() is a


async def test_while_the_watch_probes_a_provider_no_step_does() -> None:
    async with scene(SmallNode()) as it, it.providers as providers:
        [a] = providers.all
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        await fail(a)
        it.nodes[0].delay_s = 0.5
        asked = len(it.nodes[0].requests)
        await until(lambda: len(it.nodes[0].requests) > asked)
        with pytest.raises(NoProvider):
            providers.best()


async def test_a_slow_provider_is_passed_over_for_a_much_faster_one() -> None:
    async with scene(SmallNode(delay_s=0.4), SmallNode()) as it:
        a, b = it.providers.all
        assert it.providers.best() is a
        for one in (a, b):
            await one.rpc.block_number()
        it.providers.best()
        await fast_sleep(21)
        assert it.providers.best() is b


async def test_a_provider_that_is_far_behind_is_passed_over_until_it_has_caught_up() -> None:
    async with scene(SmallNode(head=50), SmallNode(head=100)) as it:
        a, b = it.providers.all
        for one in (b, a):
            await one.rpc.block_number()
        assert it.providers.best() is b
        assert [facts.healthy for facts in it.providers.facts()] == [False, True]
        it.nodes[0].head = 95
        await a.rpc.block_number()
        assert [facts.healthy for facts in it.providers.facts()] == [True, True]


async def test_a_provider_alone_with_a_head_far_above_does_not_make_the_others_bad() -> None:
    async with scene(SmallNode(), SmallNode(), SmallNode(head=10**9)) as it:
        for one in reversed(it.providers.all):
            await one.rpc.block_number()
        assert [facts.healthy for facts in it.providers.facts()] == [True, True, True]


async def test_one_that_was_asked_too_much_is_passed_over_while_it_rests() -> None:
    async with scene(SmallNode(per_second=0), SmallNode()) as it:
        a, b = it.providers.all
        it.nodes[0].headers = {"Retry-After": "30"}
        with pytest.raises(RpcUnavailable):
            await a.rpc.block_number()
        assert it.providers.best() is b
        assert a.standing.failures == 0


async def test_one_that_was_found_wanting_is_passed_over_but_used_if_it_is_the_only_one() -> None:
    missing = LogsMissing(number=7, hash="0x07")
    async with scene(SmallNode(), SmallNode()) as it:
        a, b = it.providers.all
        with pytest.raises(LogsMissing), a.relied_on():
            raise missing
        # Headers are served as ever, which is no excuse.
        await a.rpc.block_number()
        assert it.providers.best() is b
        it.nodes[1].status = 503
        await fail(b)
        assert it.providers.best() is a
    async with scene(SmallNode()) as alone:
        (one,) = alone.providers.all
        with pytest.raises(LogsMissing), one.relied_on():
            raise missing
        assert alone.providers.best() is one


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable(reason="it restarts"),
        RpcRateLimited(endpoint="a", method="eth_getLogs", reason="slow down"),
    ],
)
async def test_what_is_not_its_fault_is_not_laid_to_its_account(error: Retryable) -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        a, _ = it.providers.all
        with pytest.raises(type(error)), a.relied_on():
            raise error
        assert it.providers.best() is a


async def test_a_block_is_contradicted_by_another_that_has_it() -> None:
    async with scene(SmallNode(), SmallNode(), SmallNode()) as it:
        a = it.providers.all[0]
        it.nodes[0].fork, it.nodes[0].forked_at = "b", 50
        ours = BlockRef(60, hash_of(60))
        assert await it.providers.contradict(a, ours)
        for node in it.nodes[1:]:
            node.fork, node.forked_at = "b", 50
        assert not await it.providers.contradict(a, ours)


async def test_a_key_that_no_longer_works_shuts_a_provider_though_it_answers() -> None:
    def refuse(_: list[object]) -> object:
        raise Refusal(-32000, "Unauthorized: You must authenticate your request with an API key.")

    async with scene(SmallNode(), SmallNode()) as it:
        a, b = it.providers.all
        it.nodes[0].answers["eth_blockNumber"] = refuse
        for _ in range(3):
            with pytest.raises(RpcError):
                await a.rpc.block_number()
        assert it.providers.best() is b


async def test_a_second_opinion_is_of_another_operator_if_there_is_one() -> None:
    async with scene(SmallNode(), SmallNode(), SmallNode()) as it:
        providers = Providers(
            [
                settings(it.nodes[0], "a", operator="x"),
                settings(it.nodes[1], "b", operator="x"),
                settings(it.nodes[2], "c", operator="y"),
            ]
        )
        a, b, c = providers.all
        assert providers.other_than(a) is c
        assert providers.other_than(c) is a
        for _ in range(3):
            c.failed(RpcUnavailable(endpoint="c", method="x", reason="x"))
        assert providers.other_than(a) is b
        await providers.close()
    async with scene(SmallNode()) as alone:
        assert alone.providers.other_than(alone.providers.all[0]) is None


# Is it the right chain?


async def test_the_chain_is_required_of_every_provider() -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        assert await it.providers.require_chain(CHAIN_ID, hash_of(0)) == hash_of(0)
        assert all(one.is_right for one in it.providers.all)


@pytest.mark.parametrize("wrong", [0, 1])
async def test_one_wrong_chain_among_right_ones_is_fatal(wrong: int) -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        it.nodes[wrong].chain_id = 1
        port = it.nodes[wrong].url.rsplit(":", 1)[1].split("/")[0]
        with pytest.raises(WrongChain, match=f"127.0.0.1:{port}"):
            await it.providers.require_chain(CHAIN_ID)
        it.nodes[wrong].chain_id = CHAIN_ID
        it.nodes[wrong].fork = "b"
        with pytest.raises(WrongGenesis):
            await it.providers.require_chain(CHAIN_ID)
        with pytest.raises(WrongGenesis):
            await it.providers.require_chain(CHAIN_ID, hash_of(0))


async def test_one_out_of_reach_is_used_once_it_has_shown_its_chain() -> None:
    async with scene(SmallNode(), SmallNode()) as it, it.providers as providers:
        a, b = providers.all
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        await providers.require_chain(CHAIN_ID)
        assert (a.is_right, b.is_right) == (None, True)
        assert providers.best() is b
        assert providers.other_than(b) is None
        it.nodes[0].status, it.nodes[0].body = 200, None
        await until(lambda: bool(a.is_right))
        assert providers.other_than(b) is a


async def test_one_that_comes_back_as_another_chain_is_never_used() -> None:
    async with scene(SmallNode(), SmallNode()) as it, it.providers as providers:
        a, b = providers.all
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        await providers.require_chain(CHAIN_ID)
        it.nodes[0].status, it.nodes[0].body, it.nodes[0].fork = 200, None, "b"
        await until(lambda: a.is_right is False)
        assert providers.other_than(b) is None
        assert not providers.facts()[0].healthy


async def test_when_none_answers_the_chain_is_not_known() -> None:
    async with scene(SmallNode(status=503, body=b""), SmallNode(status=502, body=b"")) as it:
        with pytest.raises(NoProvider, match="503"):
            await it.providers.require_chain(CHAIN_ID)
    async with scene(SmallNode(status=503, body=b"")) as alone:
        with pytest.raises(RpcUnavailable, match="503"):
            await alone.providers.require_chain(CHAIN_ID)


# Logs of a range.


@pytest_asyncio.fixture(loop_scope="session")
async def three() -> AsyncIterator[Scene]:
    nodes = [SmallNode(logs_per_block=1) for _ in range(3)]
    async with scene(*nodes, concurrency=2) as it:
        yield it


def searches(node: SmallNode) -> int:
    return node.calls.count("eth_getLogs")


async def test_ranges_are_spread_over_the_providers(three: Scene) -> None:
    for node in three.nodes:
        node.delay_s = 0.05
    ranges = [(first, first + 9) for first in range(0, 90, 10)]
    answers = await asyncio.gather(
        *(three.providers.range_logs(first, last, None, None) for first, last in ranges)
    )
    assert [int(one.logs[0].block_number, 16) for one in answers] == list(range(0, 90, 10))
    assert [searches(node) for node in three.nodes] == [3, 3, 3]
    assert max(node.most_under_way for node in three.nodes) <= 2


async def test_a_range_goes_to_another_provider_when_one_fails(three: Scene) -> None:
    three.nodes[0].status, three.nodes[0].body = 503, b"sorry"

    def refuse(_: list[object]) -> object:
        raise Refusal(-32602, "Archive requests require a personal token.")

    three.nodes[1].answers["eth_getLogs"] = refuse
    answer = await three.providers.range_logs(0, 9, None, None)
    assert len(answer.logs) == 10


async def test_when_all_fail_the_last_failure_is_raised(three: Scene) -> None:
    for node in three.nodes:
        node.status, node.body = 503, b"sorry"
    with pytest.raises(RpcUnavailable):
        await three.providers.range_logs(0, 9, None, None)


async def test_a_provider_that_does_not_reach_the_range_is_not_asked(three: Scene) -> None:
    """It would leave out what it does not have, without a word."""
    three.nodes[0].head = three.nodes[1].head = 50
    for _ in range(4):
        answer = await three.providers.range_logs(41, 60, None, None)
        assert len(answer.logs) == 20
    assert [searches(node) for node in three.nodes] == [0, 0, 4]
    three.nodes[2].head = 50
    with pytest.raises(NodeBehind, match="101"):
        await three.providers.range_logs(92, 101, None, None)


async def test_a_limit_is_learnt_and_the_range_goes_where_it_is_taken(three: Scene) -> None:
    three.nodes[0].max_blocks = 10
    assert three.providers.span_blocks() is None
    for _ in range(4):
        answer = await three.providers.range_logs(0, 49, None, None)
        assert len(answer.logs) == 50
    assert searches(three.nodes[0]) == 1
    assert three.providers.all[0].max_blocks == 10
    assert three.providers.facts()[0].max_blocks == 10


async def test_a_range_that_none_takes_is_refused_without_asking_again(three: Scene) -> None:
    for node, blocks in zip(three.nodes, (10, 20, 15), strict=True):
        node.max_blocks = blocks
    with pytest.raises(RangeRefused):
        await three.providers.range_logs(0, 49, None, None)
    assert sum(searches(node) for node in three.nodes) == 3
    with pytest.raises(RangeRefused) as raised:
        await three.providers.range_logs(0, 49, None, None)
    assert raised.value.max_blocks == 20
    assert sum(searches(node) for node in three.nodes) == 3
    assert three.providers.span_blocks() == 15
    answer = await three.providers.range_logs(0, 9, None, None)
    assert len(answer.logs) == 10


async def test_a_limit_without_a_number_halves_and_is_tried_again_later(three: Scene) -> None:
    def refuse(_: list[object]) -> object:
        raise Refusal(-32600, "block range is too wide")

    for node in three.nodes:
        node.answers["eth_getLogs"] = refuse
    with pytest.raises(RangeRefused):
        await three.providers.range_logs(0, 99, None, None)
    assert [one.max_blocks for one in three.providers.all] == [50, 50, 50]
    assert three.providers.span_blocks() == 50


async def test_too_many_logs_are_for_the_caller_to_split(three: Scene) -> None:
    def refuse(_: list[object]) -> object:
        raise Refusal(
            -32005,
            "query returned more than 10000 results. Try with this block range [0x0, 0x13].",
        )

    for node in three.nodes:
        node.answers["eth_getLogs"] = refuse
    with pytest.raises(RangeRefused) as raised:
        await three.providers.range_logs(0, 49, None, None)
    assert raised.value.suggested == (0, 19)
    assert sum(searches(node) for node in three.nodes) == 1
    assert three.providers.span_blocks() is None


async def test_a_configured_limit_is_kept_from_the_start() -> None:
    async with scene(SmallNode(), max_blocks=25) as it:
        assert it.providers.span_blocks() == 25
        with pytest.raises(RangeRefused) as raised:
            await it.providers.range_logs(0, 49, None, None)
        assert raised.value.max_blocks == 25
        assert it.nodes[0].calls == []


async def test_a_provider_without_the_method_is_asked_once(three: Scene) -> None:
    def refuse(_: list[object]) -> object:
        raise Refusal(-32601, "Method not found")

    three.nodes[0].answers["eth_getLogs"] = refuse
    # The others would be the last to be asked.
    three.nodes[1].delay_s = three.nodes[2].delay_s = 0.05
    for _ in range(6):
        await three.providers.range_logs(0, 9, None, None)
    assert searches(three.nodes[0]) == 1
    assert three.providers.facts()[0].missing_methods == ("eth_getLogs",)


async def test_a_rate_that_nobody_configured_is_learnt() -> None:
    async with scene(SmallNode(per_second=30)) as it:
        providers = Providers([settings(it.nodes[0], "a", timeout_s=5.0)])
        [a] = providers.all
        limited = answered = 0
        ends = time.monotonic() + 6.0

        async def ask() -> None:
            nonlocal limited, answered
            while time.monotonic() < ends:
                try:
                    await a.rpc.block_number()
                except RpcUnavailable:
                    limited += 1
                else:
                    answered += 1

        await asyncio.gather(*(ask() for _ in range(4)))
        facts = providers.facts()[0]
        await providers.close()
        assert facts.requests_per_s is not None
        assert facts.requests_per_s < 60
        assert limited < 12
        assert answered > 50


async def test_a_configured_rate_is_kept_whatever_is_asked() -> None:
    async with scene(SmallNode()) as it:
        providers = Providers([settings(it.nodes[0], "a", requests_per_s=20.0)])
        [a] = providers.all
        began = time.monotonic()
        await asyncio.gather(*(a.rpc.block_number() for _ in range(45)))
        took_s = time.monotonic() - began
        await providers.close()
        # Twenty at once, twenty a second later, and the rest.
        assert 2.0 < took_s < 4.0


# What is final.


async def test_one_provider_says_alone_what_is_final_for_a_quorum_of_one() -> None:
    async with scene(SmallNode(), SmallNode(finalized=99)) as it:
        a, b = it.providers.all
        said = await it.providers.finality(1)
        assert said == NodeFinality(BlockRef(80, hash_of(80)), BlockRef(90, hash_of(90)))
        assert it.nodes[1].calls == []
        other = await it.providers.finality(1, provider=b)
        assert other.finalized == BlockRef(99, hash_of(99))
        assert a.rpc.newest_number == 100
        assert await it.providers.finality(1, 12) == NodeFinality(depth_blocks=12)


async def test_a_quorum_agrees_on_the_highest_block_that_enough_call_final() -> None:
    async with scene(
        SmallNode(finalized=80), SmallNode(finalized=85, safe=95), SmallNode(finalized=75)
    ) as it:
        two = await it.providers.finality(2)
        assert two == NodeFinality(
            BlockRef(80, hash_of(80)), BlockRef(90, hash_of(90)), agreed=True
        )
        three = await it.providers.finality(3)
        assert three.finalized == BlockRef(75, hash_of(75))


async def test_providers_of_one_operator_are_no_quorum() -> None:
    async with scene(SmallNode(), SmallNode(), operator="the same") as it:
        assert await it.providers.finality(2) == NodeFinality(agreed=True)


async def test_a_quorum_waits_for_those_that_do_not_answer_and_goes_on_without_spares() -> None:
    async with scene(SmallNode(), SmallNode(), SmallNode()) as it:
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        assert (await it.providers.finality(2)).finalized == BlockRef(80, hash_of(80))
        it.nodes[1].finalized = None
        assert (await it.providers.finality(2)).finalized is None


async def test_a_dispute_says_who_says_what() -> None:
    async with scene(SmallNode(), SmallNode(finalized=78), SmallNode(fork="b", forked_at=70)) as it:
        with pytest.raises(FinalityDisputed) as raised:
            await it.providers.finality(2)
        text = str(raised.value)
        assert "block 80" in text
        assert f"a has 0x{hash_of(80).hex()}" in text
        assert f"c has 0x{hash_of(80, 'b').hex()}" in text


async def test_a_fork_below_what_one_calls_final_is_a_dispute_too() -> None:
    async with scene(
        SmallNode(finalized=90), SmallNode(finalized=75, fork="b", forked_at=70)
    ) as it:
        with pytest.raises(FinalityDisputed, match="block 75"):
            await it.providers.finality(2)
        it.nodes[1].forked_at = 80
        assert (await it.providers.finality(2)).finalized == BlockRef(75, hash_of(75))


async def test_where_there_is_no_tag_a_depth_below_each_head_counts() -> None:
    nodes = [SmallNode(head=100, finalized=None), SmallNode(head=97, finalized=None)]
    async with scene(*nodes) as it:
        said = await it.providers.finality(2, 12)
        assert said == NodeFinality(BlockRef(85, hash_of(85)), agreed=True)
        assert (await it.providers.finality(2, 98)).finalized is None


# What is shown.


async def test_the_facts_are_plain_and_hold_no_key() -> None:
    async with scene(SmallNode(), SmallNode()) as it:
        a, _ = it.providers.all
        await a.rpc.block_number()
        it.nodes[0].status, it.nodes[0].body = 503, b"sorry"
        await fail(a, 1)
        first, second = it.providers.facts()
        assert (first.name, first.operator, first.head_number) == ("a", "operator of a", 100)
        assert (first.requests_total, first.failures, first.healthy) == (2, 1, True)
        assert first.bytes_total > 10
        assert first.latency_ms is not None
        assert 0.0 < first.score < second.score == 1.0
        assert "503" in (first.last_failure or "")
        shown = repr(it.providers.facts()) + repr(it.providers.all) + repr(a.settings)
        assert SECRET not in shown
        assert "password" not in shown


async def test_what_was_learnt_of_a_provider_is_shown() -> None:
    async with scene(SmallNode(batch_limit=0), SmallNode(finalized=None)) as it:
        for one in it.providers.all:
            await one.rpc.tags()
            for _ in range(4):
                await one.rpc.headers(range(20))
        first, second = it.providers.facts()
        assert (first.finalized_number, first.batch_calls) == (80, 1)
        assert (second.finalized_number, second.batch_calls) == (None, 100)


async def test_a_watch_reads_the_heads_that_nobody_asks_for() -> None:
    async with scene(SmallNode(), SmallNode(head=7)) as it, it.providers as providers:
        await until(lambda: all(one.rpc.newest_number for one in providers.all))
        it.nodes[1].head = 9
        await until(lambda: providers.all[1].rpc.newest_number == 9)
        assert len(it.nodes[1].calls) <= 3


def test_providers_need_names_of_their_own() -> None:
    one = ProviderSettings("a", "x", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="different names"):
        Providers([one, one])
    with pytest.raises(ValueError, match="at least one"):
        Providers([])


async def test_many_ranges_at_once_ask_once_whether_it_has_our_final_block() -> None:
    async with scene(SmallNode(delay_s=0.05)) as it:
        (a,) = it.providers.all
        final = BlockRef(70, it.nodes[0].block_hash(70))
        await asyncio.gather(*(a.require_final(final) for _ in range(6)))
        assert it.nodes[0].calls == ["eth_getBlockByNumber"]


async def test_whoever_was_found_wanting_is_asked_again_whether_it_has_our_final_block() -> None:
    async with scene(SmallNode()) as it:
        (a,) = it.providers.all
        final = BlockRef(70, it.nodes[0].block_hash(70))
        await a.require_final(final)
        for wanting in (
            DeepReorg(chain_id=1, number=70, ours="0x1", theirs="0x2"),
            HeadersUnlinked(number=70, reason="it is another one"),
        ):
            with pytest.raises(type(wanting)), a.relied_on():
                raise wanting
            asked = len(it.nodes[0].calls)
            await a.require_final(final)
            assert len(it.nodes[0].calls) == asked + 1
