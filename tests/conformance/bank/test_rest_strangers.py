"""The REST connector against something that answers at the bank's address but is not the bank."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from pydantic import SecretStr

from bridge.bank.connector import PaymentOrder, PaymentStatus
from bridge.bank.errors import BankMessageError, BankOutcomeUnknown, BankUnavailable
from bridge.bank.rest import RestBank, RestBankSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Stranger = Callable[[Answer], AbstractAsyncContextManager[RestBank]]
SETTINGS = RestBankSettings(
    base_url="",
    api_key=SecretStr("key"),
    account_id="RES-1",
    currency="EUR",
    exponent=2,
    webhook_secrets=(),
    timeout_s=1.0,
)
ORDER = PaymentOrder(
    end_to_end_id="A1",
    account_id="RES-1",
    amount_minor=100,
    currency="EUR",
    exponent=2,
    creditor_name="Payee",
    creditor_iban="DE02120300000000202051",
    expires_at=datetime.now(UTC) + timedelta(hours=1),
)


@asynccontextmanager
async def stranger(answer: Answer) -> AsyncIterator[RestBank]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with RestBank(replace(SETTINGS, base_url=url)) as bank:
            yield bank
    finally:
        await runner.cleanup()


def always(status: int, body: bytes = b"", **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * 64 * 1024)
    return response


@pytest.mark.parametrize(
    "answer",
    [
        always(200, b"<html>welcome</html>"),
        always(202, b'{"status":"accepted","end_to_end_id":"B2"}'),
        always(202, b'{"status":"pondering","end_to_end_id":"A1"}'),
        always(302, Location="/elsewhere"),
        always(400, b"<html>bad gateway config</html>"),
        always(404),
        always(413),
        always(422, b"{}"),
        always(429),
        always(502),
        endless,
    ],
)
async def test_no_answer_but_the_banks_own_settles_a_payment(answer: Answer) -> None:
    async with stranger(answer) as bank:
        with pytest.raises(BankOutcomeUnknown, match="A1"):
            await bank.submit_payment(ORDER)


async def test_a_payment_to_a_closed_port_is_unknown_and_a_read_unavailable() -> None:
    async with stranger(always(200)) as bank:
        pass
    async with RestBank(replace(SETTINGS, base_url="http://127.0.0.1:1")) as bank:
        with pytest.raises(BankOutcomeUnknown):
            await bank.submit_payment(ORDER)
        with pytest.raises(BankUnavailable):
            await bank.balance()


@pytest.mark.parametrize(
    "answer", [always(404), always(404, b'{"reason":"route_not_found"}'), always(200, b"{}")]
)
async def test_a_status_that_is_not_the_banks_own_is_unknown_never_not_found(
    answer: Answer,
) -> None:
    async with stranger(answer) as bank:
        assert (await bank.payment_status("A1")).status is PaymentStatus.UNKNOWN


@pytest.mark.parametrize("answer", [always(200, b"<html>"), always(404), always(302), endless])
async def test_a_page_that_is_not_the_banks_own_is_refused(answer: Answer) -> None:
    async with stranger(answer) as bank:
        with pytest.raises(BankMessageError):
            await bank.entries(0)


async def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/stolen"})

    async with stranger(answer) as bank:
        with pytest.raises(BankOutcomeUnknown):
            await bank.submit_payment(ORDER)
    assert seen == ["/v1/payments"]
