"""What is final stays, whatever a node shows; and a node that only lags is not taken for a chain that was rewritten."""

from __future__ import annotations

from tests.integration.daemon.indexing import WAIT_S
from tests.integration.daemon.running import eventually
from tests.integration.hazards import lies
from tests.integration.hazards.coin_chain import FINAL_BLOCKS, twin_of
from tests.integration.hazards.live import CHAIN, Live, status_of

POLLS = 5


async def test_a_chain_rewritten_below_what_is_final_writes_nothing_until_it_comes_back(
    live: Live,
) -> None:
    async with twin_of(live.chain) as twin:
        await live.chain.blocks(*range(80, 80 + FINAL_BLOCKS + 2))
        await live.agrees()
        await twin.blocks(*range(90, 90 + FINAL_BLOCKS + 4))
        before = await live.reader.written()
        await live.show(twin)
        told = await live.becomes("rewritten")
        assert "was rewritten below its finalized block" in told["error"]
        assert "Nothing was written" in told["error"]
        assert not told["synced"]
        await refused_again(live)
        assert (await live.daemon.get("/readyz")).status == 503
        assert await live.reader.written() == before
        await live.show(live.chain)
        await live.becomes("synced")
        await live.chain.block(99)
        await live.agrees()


async def refused_again(live: Live) -> None:
    """The follower has tried once more, to the same end."""
    before = await restarts(live)

    async def look() -> bool:
        return await restarts(live) > before

    await eventually("the follower tries again", look, WAIT_S, live.daemon.tail)
    assert (await live.status())["state"] == "rewritten"


async def restarts(live: Live) -> int:
    loops = (await status_of(live.daemon))["loops"]
    return next(int(one["restarts"]) for one in loops if one["name"] == f"follower:{CHAIN}")


async def test_providers_that_lag_below_what_is_final_are_waited_for_and_retract_nothing(
    live: Live,
) -> None:
    await live.chain.blocks(*range(100, 103))
    await live.agrees()
    seq, failed = await live.reader.seq(), await restarts(live)
    rows = await live.reader.transfers()
    for blocks in (1, FINAL_BLOCKS - 1, FINAL_BLOCKS + 3):
        live.first.told.clear()
        with (
            live.first.telling(lies.older_head(blocks)),
            live.second.telling(lies.older_head(blocks)),
        ):
            await lied_to(live, POLLS)
    assert await live.reader.changes(seq) == []
    assert await live.reader.transfers() == rows
    assert await restarts(live) == failed, "a node that lags is no failure"
    await live.chain.block(103)
    await live.agrees()


async def lied_to(live: Live, times: int) -> None:
    async def look() -> bool:
        return live.first.told[lies.BY_NUMBER] >= times

    await eventually("it has been lied to", look, WAIT_S, live.daemon.tail)


async def test_one_provider_on_a_dead_branch_is_left_for_another_and_is_no_rewritten_chain(
    live: Live,
) -> None:
    async with twin_of(live.chain) as dead:
        await live.chain.blocks(*range(110, 110 + FINAL_BLOCKS + 2))
        await live.agrees()
        await dead.blocks(*range(120, 120 + FINAL_BLOCKS + 4))
        seq, lines = await live.reader.seq(), len(live.daemon.log())
        await live.first.show(dead.anvil)

        async def is_told() -> bool:
            first = (await live.status())["providers"][0]
            return "is final here" in (first["last_failure"] or "")

        await eventually("the provider is found to be astray", is_told, WAIT_S, live.daemon.tail)
        await live.chain.block(130)
        await live.agrees()
        await live.becomes("synced")
        assert {op for op, _ in await live.reader.changes(seq)} == {"apply"}
        errors = [line.get("error", "") for line in live.daemon.log()[lines:]]
        assert not any(error.startswith("DeepReorg") for error in errors)
        await live.first.show(live.chain.anvil)
