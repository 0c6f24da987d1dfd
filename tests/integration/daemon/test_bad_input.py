"""What a running daemon does with input that is wrong: it says so, keeps the evidence, and goes on.

One daemon takes all of it, one case after the other; after each case a good deposit must still be
minted, and in the end chain, bank and database must tell of the good ones and of nothing else.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from daemon.demo.token import MINTED, confirm
from daemon.embedded.postgres import EmbeddedPostgres
from tests.conftest import Template
from tests.integration.daemon.audit import check_exact
from tests.integration.daemon.running import Answer, event_body, eventually
from tests.integration.daemon.staging import copied, opened
from tests.integration.daemon.world import Redemption, World

WAIT_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(
    postgres: EmbeddedPostgres, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    async with (
        copied(postgres, template) as database,
        opened(tmp_path_factory.mktemp("bad_input"), database) as world,
    ):
        await world.daemon.start()
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(running: World) -> AsyncIterator[World]:
    """The world, in which nothing has stopped when the test is over."""
    yield running
    await running.minted(await running.pay_in_and_tell(running.holders[0], 1_23))
    assert await running.halts() == []


def is_problem(answer: Answer, status: int) -> bool:
    told = answer.headers["Content-Type"].startswith("application/problem+json")
    return answer.status == status and told and answer.json["status"] == status


async def kept(world: World, message_id: str) -> list[bytes]:
    rows = await world.owner.fetch("SELECT body FROM bank.raw WHERE message_id = $1", message_id)
    return [row["body"] for row in rows]


async def break_about(world: World, kind: str, subject: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        breaks = await world.breaks(kind)
        return next((each for each in breaks if each["subject"] == subject), None)

    return await eventually(f"there is a break {kind} about {subject}", found, WAIT_S)


async def authentic(world: World) -> tuple[dict[str, Any], bytes]:
    """An entry that the bank has booked and not told of, and the message that it would send."""
    holder = world.holders[1]
    deposit = await world.pay_in(holder, 10_00, webhook="never")
    entry = next(e for e in await world.teller.entries() if e["entry_key"] == deposit.entry_key)
    return entry, event_body(entry)


def new_id() -> str:
    return f"msg_{secrets.token_hex(8)}"


async def test_a_webhook_with_a_wrong_signature_is_refused_and_nothing_is_kept(
    world: World,
) -> None:
    _, body = await authentic(world)
    message_id = new_id()
    answer = await world.send(body, message_id, signature="v1,bm9wZQ==")
    assert is_problem(answer, 401)
    assert "webhook-signature" in answer.json["detail"]
    assert await kept(world, message_id) == []


async def test_a_webhook_with_an_old_timestamp_is_refused_and_nothing_is_kept(
    world: World,
) -> None:
    _, body = await authentic(world)
    message_id = new_id()
    answer = await world.send(body, message_id, age_s=3600)
    assert is_problem(answer, 401)
    assert "compare the clocks" in answer.json["detail"]
    assert await kept(world, message_id) == []


async def test_a_replayed_message_is_known_and_has_no_second_effect(world: World) -> None:
    entry, body = await authentic(world)
    message_id = new_id()
    answers = [await world.send(body, message_id) for _ in range(3)]
    assert [answer.status for answer in answers] == [202, 200, 200]
    assert answers[2].json == {"status": "known"}
    await world.minted(world.deposits[-1])
    assert (await world.send(body, message_id)).status == 200
    assert await kept(world, message_id) == [body]
    mints = [event for event in await world.token.events() if event.kind == MINTED]
    op_id = world.op_id(entry["entry_key"])
    assert [event.amount for event in mints if event.topics[0] == op_id] == [10_00]


async def test_another_body_under_a_replayed_id_is_a_conflict_and_has_no_effect(
    world: World,
) -> None:
    entry, body = await authentic(world)
    message_id = new_id()
    assert (await world.send(body, message_id)).status == 202
    answer = await world.send(event_body({**entry, "amount": "999999.00"}), message_id)
    assert is_problem(answer, 409)
    assert message_id in answer.json["detail"]
    assert await kept(world, message_id) == [body]
    await world.minted(world.deposits[-1])


async def test_an_entry_told_again_with_another_amount_is_a_break_and_minted_as_it_was_first(
    world: World,
) -> None:
    entry, body = await authentic(world)
    assert (await world.send(body, new_id())).status == 202
    await world.minted(world.deposits[-1])
    assert (await world.send(event_body({**entry, "amount": "999.00"}), new_id())).status == 202
    found = await break_about(world, "duplicate", f"entry:{entry['entry_key']}")
    assert "another amount" in found["detail"]
    world.foreseen.add(found["subject"])


async def test_a_body_that_is_not_json_is_told_kept_and_a_break(world: World) -> None:
    message_id = new_id()
    answer = await world.send(b"this is not JSON", message_id)
    assert is_problem(answer, 422)
    assert "not JSON" in answer.json["errors"][0]["message"]
    assert await kept(world, message_id) == [b"this is not JSON"]
    raw_id = await world.owner.fetchval(
        "SELECT raw_id FROM bank.raw WHERE message_id = $1", message_id
    )
    found = await break_about(world, "unreadable", f"raw:{raw_id}")
    assert "not JSON" in found["detail"]
    assert found["raw_id"] == raw_id


async def test_two_megabytes_are_refused_and_nothing_is_kept(world: World) -> None:
    message_id = new_id()
    answer = await world.send(b" " * (2 * 1024 * 1024), message_id)
    assert is_problem(answer, 413)
    assert "65536 bytes" in answer.json["detail"]
    assert await kept(world, message_id) == []


@pytest.mark.parametrize(
    ("amount", "currency", "kind", "path", "why"),
    [
        pytest.param(
            "10.001", "EUR", "amount", "amount", "its currency has 2", id="too many decimals"
        ),
        pytest.param("0.00", "EUR", "amount", "amount", "is zero", id="zero"),
        pytest.param("-5.00", "EUR", "amount", "amount", "is negative", id="negative"),
        pytest.param("ten", "EUR", "unreadable", "amount", "plain decimal", id="no number"),
        pytest.param("5.00", "XXX", "currency", "currency", "'XXX'", id="unknown currency"),
    ],
)
async def test_an_entry_that_cannot_be_taken_is_kept_and_a_break_says_why(
    world: World, amount: str, currency: str, kind: str, path: str, why: str
) -> None:
    entry = await world.teller.pay_in(
        amount, world.holders[0].iban, currency=currency, raw=True, webhook="never"
    )
    message_id, body = new_id(), event_body(entry)
    answer = await world.send(body, message_id)
    assert is_problem(answer, 422)
    (fault,) = answer.json["errors"]
    assert fault["path"] == f"$.data.entry.{path}"
    assert why in fault["message"]
    assert await kept(world, message_id) == [body]
    found = await break_about(world, kind, f"entry:{entry['entry_key']}")
    assert why in found["detail"]
    assert found["is_open"]
    observed = await world.owner.fetch(
        "SELECT entry_id, fault FROM bank.observation WHERE entry_key = $1", entry["entry_key"]
    )
    assert observed
    assert all(row["entry_id"] is None and why in row["fault"] for row in observed)
    assert await world.state(entry["entry_key"]) is None


async def test_a_faulty_entry_that_only_the_poll_finds_is_a_break_and_the_poll_goes_on(
    world: World,
) -> None:
    entry = await world.teller.pay_in("7.777", world.holders[0].iban, raw=True, webhook="never")
    await break_about(world, "amount", f"entry:{entry['entry_key']}")
    good = await world.pay_in(world.holders[0], 7_77, webhook="never")
    await world.minted(good)


async def test_money_of_an_unknown_beneficiary_is_kept_in_suspense_and_a_break(
    world: World,
) -> None:
    entry = await world.teller.pay_in("50.00", "DE00NOBODY")
    world.suspended_minor += 50_00
    found = await break_about(world, "unregistered_deposit", f"entry:{entry['entry_key']}")
    assert "no registered beneficiary" in found["detail"]
    kept_minor = await world.owner.fetchval(
        "SELECT amount_minor FROM bank.entry WHERE entry_key = $1", entry["entry_key"]
    )
    assert kept_minor == 50_00
    assert await world.state(entry["entry_key"]) is None


async def test_a_wallet_that_is_not_allowed_gets_nothing_until_it_is(world: World) -> None:
    holder = await world.new_holder(allowed=False)
    deposit = await world.pay_in_and_tell(holder, 20_00)
    await held(world, deposit.entry_key, "not on the token's allowlist")
    await world.command_of_officer("setAllowed(address,bool)", holder.wallet.address, True)
    await world.minted(deposit)
    assert not [each for each in await world.breaks("policy") if each["is_open"]]


async def test_a_frozen_wallet_gets_nothing_until_it_is_thawed(world: World) -> None:
    holder = await world.new_holder()
    await world.command_of_officer("setFrozen(address,bool)", holder.wallet.address, True)
    deposit = await world.pay_in_and_tell(holder, 30_00)
    await held(world, deposit.entry_key, "the wallet is frozen")
    await world.command_of_officer("setFrozen(address,bool)", holder.wallet.address, False)
    await world.minted(deposit)


async def held(world: World, entry_key: str, why: str) -> None:
    """Wait until an issuance is held, with a break that says why."""
    row_id = await eventually(
        "the issuance is held",
        lambda: world.owner.fetchval(
            """SELECT operation_id FROM bridge.operation o JOIN bank.entry USING (entry_id)
               WHERE entry_key = $1 AND o.state = 'held'""",
            entry_key,
        ),
        WAIT_S,
    )
    assert why in (await break_about(world, "policy", f"operation:{row_id}"))["detail"]


async def payment_held(world: World, redemption: Redemption, kind: str, why: str) -> None:
    """Wait until a redemption is held, with a break that says why, and see that nothing was paid."""
    row_id = await eventually(
        "the redemption is held",
        lambda: world.owner.fetchval(
            """SELECT operation_id FROM bridge.operation
               WHERE redemption_id = $1 AND state = 'held'""",
            redemption.redemption_id,
        ),
        WAIT_S,
    )
    assert why in (await break_about(world, kind, f"operation:{row_id}"))["detail"]
    debits = [e for e in await world.teller.entries() if e["direction"] == "debit"]
    assert redemption.holder.iban not in {e["counterparty"]["iban"] for e in debits}


async def test_a_redemption_of_an_unknown_beneficiary_waits_until_there_is_one(
    world: World,
) -> None:
    stranger = await world.new_holder(registered=False)
    giver = await world.new_holder()
    await world.minted(await world.pay_in_and_tell(giver, 15_00))
    given = await world.token.send(
        giver.wallet, "transfer(address,uint256)", stranger.wallet.address, 15_00
    )
    await confirm(world.chain, given)
    redemption = await world.redeem(stranger, 15_00)
    await payment_held(world, redemption, "unregistered_burn", "no registered beneficiary")
    await world.register(stranger)


async def test_a_redemption_of_a_holder_who_was_frozen_waits_until_the_thaw(world: World) -> None:
    holder = await world.new_holder()
    await world.minted(await world.pay_in_and_tell(holder, 25_00))
    sent = await world.request(holder, 25_00)
    await world.command_of_officer("setFrozen(address,bool)", holder.wallet.address, True)
    redemption = await world.requested(holder, 25_00, sent)
    await payment_held(world, redemption, "policy", "the wallet is frozen")
    await world.command_of_officer("setFrozen(address,bool)", holder.wallet.address, False)


async def test_many_bad_messages_at_once_delay_no_good_one(world: World) -> None:
    bodies = [json.dumps({"type": "rubbish", "n": n}).encode() for n in range(100)]
    answers = await asyncio.gather(*(world.send(body, new_id()) for body in bodies))
    assert all(is_problem(answer, 422) for answer in answers)


async def test_in_the_end_only_what_was_good_was_minted_and_paid(running: World) -> None:
    await running.settled()
    await check_exact(running)
    assert (await running.daemon.get("/readyz")).status == 200
    assert await running.daemon.stop() == 0
    assert "Traceback" not in running.daemon.log_path.read_text()
