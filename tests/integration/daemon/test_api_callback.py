"""A custodian's callbacks as they arrive: believed by their signature alone, and then a word to look."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from coincurve import PrivateKey
from pydantic import SecretStr

from bridge.custody.approval import ApprovalCustody, ApprovalSettings
from bridge.custody.intent import Intent
from bridge.custody.protocol import Approved, Pending
from bridge.custody.simulator.custodian import Custodian
from bridge.custody.simulator.server import SimulatedCustodian, SimulatorSettings
from daemon.api.callback import CallbackRoutes
from daemon.api.layer import make_application
from daemon.bridge_wiring import OpenSigner
from daemon.metrics import Metrics
from tests.integration.daemon.served import KEY, Api, listening, signed

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/custody/vault/callback"
INTENT = Intent(1, b"t" * 20, "mint", b"d" * 32, 1, 100, 2_000_000_000)


@dataclass(frozen=True)
class Parts:
    api: Api
    custody: ApprovalCustody
    custodian: Custodian
    metrics: Metrics


@pytest_asyncio.fixture(loop_scope="session")
async def parts() -> AsyncIterator[Parts]:
    """The routes over a custody that asks again only after an hour, unless it is told to."""
    people = {"first": PrivateKey(b"1" * 32), "second": PrivateKey(b"2" * 32)}
    custodian = Custodian("vault", PrivateKey(b"k" * 32), people, quorum=1)
    async with SimulatedCustodian(custodian, SimulatorSettings("x", None)) as simulator:
        settings = ApprovalSettings(
            section="signers.vault",
            url=SecretStr(simulator.url),
            account="vault",
            api_key=SecretStr("x"),
            address=custodian.address,
            callback_keys=(KEY,),
            poll_interval_s=3600.0,
        )
        custody = await ApprovalCustody.open(settings)
        metrics = Metrics()
        routes = CallbackRoutes([OpenSigner("vault", custodian.address, custody)], metrics).routes()
        async with listening(make_application(routes)) as api:
            yield Parts(api, custody, custodian, metrics)
        await custody.close()


def callback(ticket: str) -> bytes:
    return json.dumps({"id": ticket, "status": "rejected"}).encode()


async def test_a_callback_makes_us_look_and_what_it_says_is_not_believed(parts: Parts) -> None:
    (ticket,) = await parts.custody.propose([INTENT])
    assert await parts.custody.approvals([ticket]) == [Pending()]
    parts.custodian.approve(ticket, "first")
    assert await parts.custody.approvals([ticket]) == [Pending()], "nobody has told us"
    body = callback(ticket)
    for _ in range(2):
        answer = await parts.api.post(PATH, body, signed(body))
        assert (answer.status, answer.json) == (200, {"status": "heard"})
    (outcome,) = await parts.custody.approvals([ticket])
    assert isinstance(outcome, Approved)


@pytest.mark.parametrize(
    "changed",
    [{"Webhook-Signature": "v1,bm9wZQ=="}, {"Webhook-Timestamp": "1"}, {"Webhook-Signature": ""}],
)
async def test_what_the_custodian_did_not_sign_is_a_401_and_counted(
    parts: Parts, changed: dict[str, str]
) -> None:
    (ticket,) = await parts.custody.propose([INTENT])
    await parts.custody.approvals([ticket])
    parts.custodian.approve(ticket, "first")
    body = callback(ticket)
    answer = await parts.api.post(PATH, body, {**signed(body), **changed})
    assert answer.status == 401
    assert ticket not in answer.text
    assert await parts.custody.approvals([ticket]) == [Pending()]
    told = parts.metrics.render(None, []).decode()
    assert 'landbridge_callback_refusals_total{signer="vault"} 1.0' in told


async def test_a_body_is_bounded_and_other_signers_have_no_route(parts: Parts) -> None:
    body = b"x" * (64 * 1024 + 1)
    assert (await parts.api.post(PATH, body, signed(body))).status == 413
    assert (await parts.api.post("/v1/custody/minter/callback", b"{}", {})).status == 404
