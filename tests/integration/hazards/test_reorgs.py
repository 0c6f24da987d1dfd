"""A running daemon, and a chain that changes its mind. What it told is what happened, in order and no more."""

from __future__ import annotations

from tests.integration.hazards.coin_chain import twin_of
from tests.integration.hazards.live import Live

Changes = list[tuple[str, bytes | None]]


def retracted(*hashes: bytes) -> Changes:
    """Newest first."""
    return [("retract", one) for one in reversed(hashes)]


def applied(*hashes: bytes) -> Changes:
    return [("apply", one) for one in hashes]


async def test_a_sibling_at_the_same_height_replaces_the_tip_without_a_further_block(
    live: Live,
) -> None:
    old = await live.chain.block(10)
    await live.agrees()
    seq = await live.reader.seq()
    await live.chain.reorg(1)
    await live.agrees()
    new = await live.chain.hash_at(await live.chain.head())
    assert await live.reader.changes(seq) == [*retracted(old), *applied(new)]


async def test_a_reorg_to_a_higher_head_between_two_polls_is_seen_by_the_parents(
    live: Live,
) -> None:
    old = await live.chain.blocks(20, 21, 22)
    await live.agrees()
    seq, height = await live.reader.seq(), await live.chain.head()
    await live.hold()
    await live.chain.reorg(3)
    await live.chain.blocks(23, 24)
    live.release()
    await live.agrees()
    new = await live.chain.hashes(height - 2)
    assert len(new) == 5
    assert await live.reader.changes(seq) == [*retracted(*old), *applied(*new)]


async def test_of_two_reorgs_within_one_poll_the_one_that_stands_is_told(live: Live) -> None:
    old = await live.chain.blocks(30, 31)
    await live.agrees()
    seq, height = await live.reader.seq(), await live.chain.head()
    await live.hold()
    await live.chain.reorg(2)
    await live.chain.block(32)
    await live.chain.reorg(3)
    live.release()
    await live.agrees()
    new = await live.chain.hashes(height - 1)
    assert await live.reader.changes(seq) == [*retracted(*old), *applied(*new)]


async def test_a_branch_that_comes_back_is_told_as_retractions_and_applications(live: Live) -> None:
    """A → B → A, each of which is seen."""
    await live.chain.block(40)
    async with twin_of(live.chain) as twin:
        ours = await live.chain.blocks(41, 42)
        await live.agrees()
        seq = await live.reader.seq()
        others = await twin.blocks(43, 44, 45)
        await live.show(twin)
        await live.agrees(twin)
        ours_again = [*ours, *await live.chain.blocks(46, 47)]
        await live.show(live.chain)
        await live.agrees()
    assert await live.reader.changes(seq) == [
        *retracted(*ours),
        *applied(*others),
        *retracted(*others),
        *applied(*ours_again),
    ]


async def test_a_branch_that_comes_back_within_one_poll_was_never_away(live: Live) -> None:
    """A → B → A, of which B is not seen."""
    async with twin_of(live.chain) as twin:
        await live.chain.blocks(50, 51)
        await live.agrees()
        seq = await live.reader.seq()
        await twin.blocks(52, 53)
        await live.hold()
        for chain in (twin, live.chain):
            for node in live.nodes:
                await node.show(chain.anvil)
        live.release()
        new = await live.chain.block(54)
        await live.agrees()
    assert await live.reader.changes(seq) == applied(new)


async def test_a_transaction_mined_again_in_another_block_keeps_its_identity(live: Live) -> None:
    await live.chain.blocks(60, 61, 62)
    await live.agrees()
    [before] = [one for one in await live.reader.transfers() if one.value == 61]
    raw = [
        await live.chain.raw(one.tx_hash)
        for one in await live.reader.transfers()
        if one.value in (60, 61, 62)
    ]
    # The first two into one block now, and the third one block later than it was.
    await live.chain.reorg(3, (raw[0], 0), (raw[1], 0), (raw[2], 1))
    await live.agrees()
    [after] = [one for one in await live.reader.transfers() if one.value == 61]
    assert after.block_hash != before.block_hash
    assert (after.block_number, after.log_index) == (before.block_number - 1, 1)
    rows = await live.reader.connection.fetch(
        "SELECT tx_hash, address, ordinal, canonical FROM event.coin_transfer WHERE value = 61"
    )
    assert len({(row["tx_hash"], row["address"], row["ordinal"]) for row in rows}) == 1
    assert sorted(row["canonical"] for row in rows) == [False, True]
