"""The auditor on a real chain and a real database: what is right is found exact, what was tampered with is told once
two readings agree, and no lie of a node's raises an alarm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, cast

import asyncpg
import pytest
import pytest_asyncio

from daemon.audit_status import AuditStatus, read_audit
from daemon.embedded.anvil import DEFAULT_CHAIN_ID, Anvil
from indexer import audit_log, lease, registry
from indexer.abi import Abi
from indexer.anchor import NEWEST_BLOCKS
from indexer.audit_log import Finding
from indexer.auditor import Auditor, AuditorSettings
from indexer.auditor import role as audit_role
from indexer.backfill import Backfill
from indexer.contract import Contract, Factory, Options, Verify
from indexer.database import Connection
from indexer.errors import LeaseLost, NoProvider, RpcUnavailable
from indexer.follower import Follower, FollowerSettings, role
from indexer.hexadecimal import to_data
from indexer.lease import Fence
from indexer.provider import ProviderSettings
from indexer.providers import Providers
from indexer.signature import parse
from tests.integration.bridge.node_proxy import NodeProxy, pass_all
from tests.integration.daemon.echo import MADE, TRANSFER, Echo, deploy
from tests.integration.indexer.conftest import Books, Following

TRANSFERS = 10
# In an hour; ranges are then as long as the chains of these tests.
BLOCKS = 6000
FINAL_BLOCKS = 6
# Below the newest final blocks, of which a node is never merely believed.
BELIEVED_BLOCKS = FINAL_BLOCKS + NEWEST_BLOCKS


class Sweeping(Random):
    """Chance that draws no range, so that every block comes up in order."""

    def choice(self, seq: Any) -> Any:
        return "sweep"


@dataclass
class Scene:
    """A chain with one contract whose rows are there and final. ``node1`` is the one that is audited through."""

    books: Books
    anvil: Anvil
    coin: Echo
    liar: NodeProxy
    providers: Providers
    contracts: list[Contract]
    following: Following
    fence: Fence
    alarms: list[Finding] = field(default_factory=list)
    alarm_fails: bool = False

    def auditor(self, blocks: int = BLOCKS, chance: Random | None = None) -> Auditor:
        """Another one, which knows nothing."""
        settings = AuditorSettings(DEFAULT_CHAIN_ID, blocks)
        return Auditor(
            self.books.pool,
            self.providers,
            self.contracts,
            settings,
            alarm=self._alarm,
            chance=chance or Sweeping(1),
        )

    async def _alarm(self, _: Connection, finding: Finding) -> None:
        self.alarms.append(finding)
        if self.alarm_fails:
            raise asyncpg.RaiseError("the alarm could not be raised")

    async def rows(self) -> list[asyncpg.Record]:
        return await self.books.owner.fetch("SELECT * FROM chain.audit ORDER BY audit_id")

    async def audited(self, auditor: Auditor | None = None) -> list[asyncpg.Record]:
        """Step until something is written; what was."""
        auditor = auditor or self.auditor()
        before = len(await self.rows())
        for _ in range(100):
            await auditor.step(self.fence)
            found = await self.rows()
            if len(found) > before:
                return found[before:]
        raise AssertionError("nothing was audited")

    async def status(self) -> AuditStatus:
        at = await self.books.owner.fetchval("SELECT clock_timestamp()")
        return await read_audit(self.books.owner, DEFAULT_CHAIN_ID, BLOCKS, at)

    async def tamper(self, statement: str) -> None:
        """What only the owner can do, and nobody may."""
        await self.books.owner.execute("SET session_replication_role = replica")
        done = await self.books.owner.execute(statement)
        await self.books.owner.execute("SET session_replication_role = origin")
        assert done.endswith(" 1"), done

    async def final(self) -> int:
        number: int = await self.books.owner.fetchval("SELECT finalized_number FROM chain.cursor")
        return number


def coin_contract(coin: Echo, verify: Verify, name: str = "coin") -> Contract:
    return Contract.from_abi(
        name,
        DEFAULT_CHAIN_ID,
        cast(Abi, [parse(TRANSFER)]),
        (bytes.fromhex(coin.address[2:]),),
        start_block=0,
        options=Options(raw=True, verify=verify),
    )


@asynccontextmanager
async def staged(
    books: Books, anvil: Anvil, verify: Verify, *, alone: bool = False
) -> AsyncIterator[Scene]:
    """With two providers, or with the one that may lie ``alone``."""
    coin = await deploy(anvil)
    for number in range(TRANSFERS):
        await coin.transfer(number)
        await anvil.mine()
    await anvil.mine(BELIEVED_BLOCKS if verify == "none" else FINAL_BLOCKS)
    contracts = [coin_contract(coin, verify)]
    await registry.register(books.owner, contracts)
    async with NodeProxy(anvil.url) as liar:
        urls = [liar.url] if alone else [anvil.url, liar.url]
        async with following(books, contracts, urls) as (found, providers):
            await found.settle()
            fence = await lease.acquire(
                books.owner, audit_role(DEFAULT_CHAIN_ID), "the test", 600.0
            )
            assert fence is not None
            yield Scene(books, anvil, coin, liar, providers, contracts, found, fence)


@asynccontextmanager
async def following(
    books: Books, contracts: Sequence[Contract], urls: Sequence[str]
) -> AsyncIterator[tuple[Following, Providers]]:
    fence = await lease.acquire(books.owner, role(DEFAULT_CHAIN_ID), "the test", 600.0)
    assert fence is not None
    nodes = [
        ProviderSettings(name=f"node{place}", operator=f"operator{place}", http_url=url)
        for place, url in enumerate(urls)
    ]
    proven = any(one.options.verify == "full" for one in contracts)
    async with Providers(nodes, verify_headers=proven) as providers:
        follower = Follower(books.pool, providers, contracts, FollowerSettings(DEFAULT_CHAIN_ID))
        backfill = Backfill(books.pool, providers, contracts, DEFAULT_CHAIN_ID)
        try:
            yield Following(follower, backfill, fence), providers
        finally:
            await follower.forget()
            await backfill.close()


@pytest_asyncio.fixture(loop_scope="session", params=["none", "bloom", "full"])
async def scene(request: pytest.FixtureRequest, books: Books, anvil: Anvil) -> AsyncIterator[Scene]:
    async with staged(books, anvil, request.param) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def plain(books: Books, anvil: Anvil) -> AsyncIterator[Scene]:
    async with staged(books, anvil, "none") as found:
        yield found


async def test_what_is_right_is_found_exact_and_by_the_other_provider(scene: Scene) -> None:
    (row,) = await scene.audited()
    final = await scene.final()
    assert (row["outcome"], row["kind"], row["provider"]) == ("exact", "sweep", "node1")
    assert (row["from_block"], row["to_block"]) == (0, final)
    assert row["row_count"] == 2 * TRANSFERS, "its events, and the same raw"
    assert (row["differences"], row["detail"], row["confirmed_by"]) == (0, None, None)
    told = await scene.status()
    assert (told.percent, told.open, told.ranges) == (100.0, 0, {"exact": 1})
    assert told.blocks == {"exact": final + 1}
    assert told.age_s is not None
    assert scene.alarms == []


EVENT = "event.coin_transfer"
KEPT = "value = 4"
TAMPERED = {
    "an event is deleted": (f"DELETE FROM {EVENT} WHERE {KEPT}", (EVENT, "missing")),
    "an event is altered": (f"UPDATE {EVENT} SET value = 44 WHERE {KEPT}", (EVENT, "different")),
    "an event is flagged as orphaned": (
        f"UPDATE {EVENT} SET canonical = false WHERE {KEPT}",
        (EVENT, "missing"),
    ),
    "an event is added": (
        f"""INSERT INTO {EVENT} SELECT (jsonb_populate_record(e, '{{"log_index": 9, "value": 5}}')).*
            FROM {EVENT} e WHERE {KEPT}""",
        (EVENT, "extra"),
    ),
    "a raw log is deleted": (
        "DELETE FROM chain.log WHERE block_number = (SELECT max(block_number) FROM chain.log)",
        ("chain.log", "missing"),
    ),
    "a raw log is altered": (
        r"""UPDATE chain.log SET data = '\x00'
            WHERE block_number = (SELECT min(block_number) FROM chain.log)""",
        ("chain.log", "different"),
    ),
    "a raw log is added": (
        """INSERT INTO chain.log SELECT (jsonb_populate_record(l, '{"log_index": 9, "ordinal": 1}')).*
           FROM chain.log l WHERE block_number = (SELECT min(block_number) FROM chain.log)""",
        ("chain.log", "extra"),
    ),
}


@pytest.mark.parametrize(("statement", "found"), TAMPERED.values(), ids=TAMPERED)
async def test_what_was_tampered_with_is_told_once_two_providers_agree(
    scene: Scene, statement: str, found: tuple[str, str]
) -> None:
    await scene.tamper(statement)
    row = (await scene.audited())[-1]
    assert (row["outcome"], row["provider"], row["confirmed_by"]) == ("differs", "node1", "node0")
    assert row["differences"] == 1
    detail = json.loads(row["detail"])
    table, kind = found
    for reading in ("first", "second"):
        assert list(detail[reading]["tables"]) == [table]
        assert detail[reading]["tables"][table][kind] == 1
        (shown,) = detail[reading]["tables"][table]["shown"]
        assert shown["kind"] == kind
        assert row["from_block"] <= shown["block_number"] <= row["to_block"]
    assert detail["second"]["verify"] == "full"
    assert [one.source.name for one in scene.alarms] == ["coin"]
    told = await scene.status()
    assert [one.audit_id for one in told.differences] == [row["audit_id"]]
    assert told.open == 1


async def test_the_rest_of_a_range_is_audited_after_a_difference(
    books: Books, anvil: Anvil
) -> None:
    async with staged(books, anvil, "full") as scene:
        await scene.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")
        auditor = scene.auditor()
        exact, differs = await scene.audited(auditor)
        (rest,) = await scene.audited(auditor)
        assert [one["outcome"] for one in (exact, differs, rest)] == ["exact", "differs", "exact"]
        assert exact["from_block"] == 0
        assert differs["from_block"] == exact["to_block"] + 1
        assert rest["from_block"] == differs["to_block"] + 1
        assert rest["to_block"] == await scene.final()
        assert (await scene.status()).percent == 100.0


async def test_a_difference_is_open_until_it_is_acknowledged_once(plain: Scene) -> None:
    await plain.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")
    (row,) = await plain.audited()
    async with plain.books.pool.acquire() as connection:
        number = row["audit_id"]
        assert await audit_log.acknowledge(connection, number, "an operator", "it was a drill")
        assert not await audit_log.acknowledge(connection, number, "an operator", "again")
        assert not await audit_log.acknowledge(connection, number + 1, "an operator", "no such")
    told = await plain.status()
    assert (told.open, told.differences, told.ranges) == (0, [], {"differs": 1})


async def test_a_version_that_was_replaced_has_no_open_differences(plain: Scene) -> None:
    await plain.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")
    await plain.audited()
    await plain.tamper("UPDATE chain.source SET retired_seq = joined_seq")
    assert (await plain.status()).open == 0


async def test_a_row_that_no_comparison_can_read_is_a_difference(plain: Scene) -> None:
    await plain.books.owner.execute(f"DROP INDEX {await unique_index(plain)}")
    await plain.tamper(f"INSERT INTO {EVENT} SELECT * FROM {EVENT} WHERE {KEPT}")
    (row,) = await plain.audited()
    assert (row["outcome"], row["differences"]) == ("differs", 1)
    assert json.loads(row["detail"])["second"]["spoilt"].startswith("two rows of ")


async def unique_index(scene: Scene) -> str:
    """The one that keeps canonical rows apart."""
    name: str = await scene.books.owner.fetchval(
        """SELECT 'event.' || indexname FROM pg_indexes WHERE schemaname = 'event'
           AND tablename = 'coin_transfer' AND indexdef LIKE 'CREATE UNIQUE%WHERE canonical'"""
    )
    return name


def hiding(scene: Scene, *methods: str) -> Any:
    """A judge that leaves the coin's logs out of the answers of some methods."""

    async def judge(method: str, params: list[Any]) -> dict[str, Any] | None:
        if method not in methods:
            return None
        answer = await scene.liar.ask(method, params)
        if method == "eth_getLogs":
            return {"result": []}
        return {"result": [{**one, "logs": []} for one in answer["result"] or []]}

    return judge


async def test_a_node_that_hides_logs_is_not_believed_against_another(plain: Scene) -> None:
    plain.liar.judge = hiding(plain, "eth_getLogs")
    (row,) = await plain.audited()
    assert (row["outcome"], row["provider"], row["confirmed_by"]) == (
        "unconfirmed",
        "node1",
        "node0",
    )
    detail = json.loads(row["detail"])
    assert detail["first"]["tables"][EVENT]["extra"] == TRANSFERS
    assert "tables" not in detail["second"]
    assert (plain.alarms, (await plain.status()).open) == ([], 0)


async def test_a_node_that_lies_alone_is_held_to_a_proof(books: Books, anvil: Anvil) -> None:
    async with staged(books, anvil, "none", alone=True) as scene:
        scene.liar.judge = hiding(scene, "eth_getLogs")
        (row,) = await scene.audited()
        assert (row["outcome"], row["confirmed_by"]) == ("unconfirmed", "node0")
        scene.liar.judge = hiding(scene, "eth_getLogs", "eth_getBlockReceipts")
        (row,) = await scene.audited()
        assert (row["outcome"], row["differences"]) == ("unanswerable", 2 * TRANSFERS)
        assert "are not proven" in json.loads(row["detail"])["second"]["failure"]
        assert (scene.alarms, (await scene.status()).open) == ([], 0)


async def test_a_lone_node_without_receipts_is_asked_twice(books: Books, anvil: Anvil) -> None:
    async with staged(books, anvil, "none", alone=True) as scene:
        await scene.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")

        async def judge(method: str, _: list[Any]) -> dict[str, Any] | None:
            missing = {"code": -32601, "message": f"the method {method} does not exist"}
            return {"error": missing} if method == "eth_getBlockReceipts" else None

        scene.liar.judge = judge
        (row,) = await scene.audited()
        assert (row["outcome"], row["confirmed_by"]) == ("differs", "node0")
        assert json.loads(row["detail"])["second"]["verify"] == "none"


async def test_receipts_that_prove_nothing_leave_a_range_unanswered(
    books: Books, anvil: Anvil
) -> None:
    async with staged(books, anvil, "full") as scene:
        scene.liar.judge = hiding(scene, "eth_getBlockReceipts")
        row = (await scene.audited())[-1]
        assert (row["outcome"], row["differences"], row["provider"]) == ("unanswerable", 0, "node1")
        assert row["to_block"] == await scene.final()
        assert scene.alarms == []
        assert (await scene.status()).percent < 100.0


async def test_a_node_on_another_chain_is_no_witness(scene: Scene) -> None:
    final = hex(await scene.final())

    async def judge(method: str, params: list[Any]) -> dict[str, Any] | None:
        if method != "eth_getBlockByNumber" or params[0] != final:
            return None
        answer = await scene.liar.ask(method, params)
        other = {"hash": to_data(b"x" * 32), "parentHash": to_data(b"y" * 32)}
        return {"result": {**answer["result"], **other}}

    await scene.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")
    scene.liar.judge = judge
    row = (await scene.audited())[-1]
    assert row["outcome"] == "unanswerable"
    assert scene.alarms == []


async def test_the_word_of_two_operators_counts_where_nothing_can_be_proved(plain: Scene) -> None:
    """The first proof fails, as on a chain that makes its receipts otherwise; the second does too."""
    await plain.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")
    (honest, _) = plain.providers.all
    async with NodeProxy(plain.anvil.url) as odd:
        odd.judge = plain.liar.judge = hiding(plain, "eth_getBlockReceipts")
        odd_settings = replace(honest.settings, http_url=odd.url)
        liar_settings = plain.providers.all[1].settings
        async with Providers([odd_settings, liar_settings]) as providers:
            plain.providers = providers
            (row,) = await plain.audited()
    assert (row["outcome"], row["confirmed_by"]) == ("differs", "node0")
    assert json.loads(row["detail"])["second"]["verify"] == "none"


async def test_a_node_that_is_away_leaves_nothing_behind_and_is_asked_again(plain: Scene) -> None:
    async def judge(_: str, __: list[Any]) -> dict[str, Any] | None:
        raise ConnectionError("gone")

    plain.liar.judge = judge
    auditor = plain.auditor()
    with pytest.raises((RpcUnavailable, NoProvider)):
        await auditor.step(plain.fence)
    assert await plain.rows() == []
    plain.liar.judge = pass_all
    (row,) = await plain.audited(auditor)
    assert row["outcome"] == "exact"


async def test_nothing_is_audited_while_a_history_is_read_or_the_head_is_far(plain: Scene) -> None:
    late = coin_contract(plain.coin, "none", "late")
    await registry.register(plain.books.owner, [*plain.contracts, late])
    auditor = plain.auditor()
    await auditor.step(plain.fence)
    assert await plain.rows() == []
    await registry.register(plain.books.owner, plain.contracts)
    await plain.tamper("UPDATE chain.cursor SET node_head_number = head_number + 21")
    await auditor.step(plain.fence)
    assert await plain.rows() == []
    await plain.tamper("UPDATE chain.cursor SET node_head_number = head_number")
    assert (await plain.audited(auditor))[0]["outcome"] == "exact"


async def test_nothing_is_audited_through_a_provider_that_others_wait_for(plain: Scene) -> None:
    answered = asyncio.Event()

    async def judge(method: str, _: list[Any]) -> dict[str, Any] | None:
        if method == "eth_gasPrice":
            await answered.wait()
        return None

    plain.liar.judge = judge
    audited_through = plain.providers.all[1]
    places = range(audited_through.settings.concurrency)
    asking = [asyncio.create_task(audited_through.rpc.call("eth_gasPrice")) for _ in places]
    await asyncio.sleep(0)
    auditor = plain.auditor()
    step = asyncio.create_task(auditor.step(plain.fence))
    await asyncio.wait([step], timeout=5)  # it would wait for the others, and then read
    answered.set()
    await asyncio.gather(step, *asking)
    assert await plain.rows() == []
    assert (await plain.audited(auditor))[0]["outcome"] == "exact"


async def test_an_auditor_rests_as_long_as_its_blocks_are_worth(books: Books, anvil: Anvil) -> None:
    rested: list[float] = []

    async def sleep(seconds: float) -> None:
        rested.append(seconds)

    async with staged(books, anvil, "full") as scene:
        settings = AuditorSettings(DEFAULT_CHAIN_ID, 1200)
        auditor = Auditor(
            books.pool,
            scene.providers,
            scene.contracts,
            settings,
            alarm=scene._alarm,
            chance=Sweeping(1),
            sleep=sleep,
        )
        await auditor.step(scene.fence)
        await auditor.rest()
    assert rested == [12.0], "four blocks, at one in three seconds"
    assert await books.owner.fetchval("SELECT count(*) FROM chain.audit") == 0


async def test_a_kill_between_reading_and_writing_leaves_nothing_and_the_next_reads_again(
    books: Books, anvil: Anvil
) -> None:
    async with staged(books, anvil, "full") as scene:
        killed = scene.auditor()
        await killed.step(scene.fence)
        assert await scene.rows() == []
        (row,) = await scene.audited(scene.auditor())
        assert (row["from_block"], row["to_block"]) == (0, await scene.final())


async def test_who_has_lost_the_lease_writes_nothing(plain: Scene) -> None:
    auditor = plain.auditor()
    old = plain.fence
    await lease.release(plain.books.owner, old)
    taken = await lease.acquire(plain.books.owner, audit_role(DEFAULT_CHAIN_ID), "another", 600.0)
    assert taken is not None
    with pytest.raises(LeaseLost):
        await auditor.step(old)
    assert await plain.rows() == []
    plain.fence = taken
    assert (await plain.audited(auditor))[0]["outcome"] == "exact"


async def test_a_difference_and_its_alarm_are_told_together_or_not_at_all(plain: Scene) -> None:
    await plain.tamper(f"DELETE FROM {EVENT} WHERE {KEPT}")
    plain.alarm_fails = True
    with pytest.raises(asyncpg.RaiseError):
        await plain.auditor().step(plain.fence)
    assert await plain.rows() == []
    plain.alarm_fails = False
    assert (await plain.audited())[0]["outcome"] == "differs"


async def test_ranges_are_drawn_too_and_a_restart_goes_on_with_the_sweep(plain: Scene) -> None:
    chance, kinds, swept = Random(11), set(), []
    for _ in range(12):
        (row,) = await plain.audited(plain.auditor(blocks=36, chance=chance))
        assert row["outcome"] == "exact"
        kinds.add(row["kind"])
        if row["kind"] == "sweep":
            swept.append((row["from_block"], row["to_block"]))
    assert kinds == {"random", "sweep"}
    final = await plain.final()
    following_on = [0 if last == final else last + 1 for _, last in swept[:-1]]
    assert [first for first, _ in swept[1:]] == following_on


async def test_children_of_a_factory_are_audited(books: Books, anvil: Anvil) -> None:
    maker, child = await deploy(anvil), await deploy(anvil)
    await child.transfer(99)  # before its birth: not ours
    await anvil.mine()
    await maker.made(child.address, 1)
    await anvil.mine()
    await child.transfer(1)
    await anvil.mine(FINAL_BLOCKS)
    contracts = [
        Contract.from_abi(
            "maker",
            DEFAULT_CHAIN_ID,
            cast(Abi, [parse(MADE)]),
            (bytes.fromhex(maker.address[2:]),),
            start_block=0,
        ),
        Contract.from_abi(
            "child",
            DEFAULT_CHAIN_ID,
            cast(Abi, [parse(TRANSFER)]),
            (),
            start_block=0,
            factory=Factory("maker", "Made", "child"),
        ),
    ]
    await registry.register(books.owner, contracts)
    async with following(books, contracts, [anvil.url]) as (found, providers):
        await found.settle()
        fence = await lease.acquire(books.owner, audit_role(DEFAULT_CHAIN_ID), "the test", 600.0)
        assert fence is not None
        scene = Scene(books, anvil, child, NodeProxy(anvil.url), providers, contracts, found, fence)
        auditor = scene.auditor()
        rows = [*await scene.audited(auditor), *await scene.audited(auditor)]
        assert [(one["outcome"], one["row_count"]) for one in rows] == [("exact", 1)] * 2
        await scene.tamper("UPDATE event.child_transfer SET value = 2")
        await scene.audited(auditor)
        assert (await scene.audited(auditor))[0]["outcome"] == "differs"


INSERT = """
    INSERT INTO chain.audit (chain_id, source_id, kind, from_block, to_block, outcome, provider, verify,
        row_count, differences, final_block)
    SELECT chain_id, source_id, 'random', 0, $1, 'exact', 'node', 'none', 0, 0, $1 FROM chain.source"""


async def test_postgres_refuses_audits_without_the_fence_or_of_what_is_not_final(
    plain: Scene,
) -> None:
    final = await plain.final()
    with pytest.raises(asyncpg.PostgresError, match="needs the fence of role audit:31337"):
        await plain.books.pool.execute(INSERT, final)
    for other in ("audit:1", "follow:31337"):
        async with plain.books.pool.acquire() as asking, asking.transaction():
            await asking.execute("SELECT set_config('landbridge.fence', $1, true)", other)
            with pytest.raises(asyncpg.PostgresError, match="needs the fence"):
                async with asking.transaction():
                    await asking.execute(INSERT, final)
    async with lease.fenced(plain.books.pool, plain.fence) as connection:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="refused"):
            async with connection.transaction():
                await connection.execute(INSERT, final + 1)
        await connection.execute(INSERT, final)


async def test_findings_are_never_changed(plain: Scene) -> None:
    await plain.audited()
    for statement in (
        "UPDATE chain.audit SET outcome = 'exact'",
        "DELETE FROM chain.audit",
        "TRUNCATE chain.audit CASCADE",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await plain.books.owner.execute(statement)
    (row,) = await plain.rows()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="no difference"):
        await plain.books.pool.execute(
            """INSERT INTO chain.audit_acknowledgement (audit_id, acknowledged_by, reason)
               VALUES ($1, 'somebody', 'nothing')""",
            row["audit_id"],
        )
