"""The bank's webhook as the bank meets it, and what is kept of it."""

import asyncio
import io
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from yarl import URL

from tests.conftest import Database
from tests.faultproxy import FaultProxy
from tests.integration.daemon.served import WEBHOOK, Api, entry, served, signed


@pytest_asyncio.fixture(loop_scope="session")
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database.daemon_dsn, min_size=1, max_size=4) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def api(pool: asyncpg.Pool) -> AsyncIterator[Api]:
    async with served(pool) as opened:
        yield opened


async def kept(pool: asyncpg.Pool) -> list[tuple[str, str, bytes]]:
    rows = await pool.fetch("SELECT channel, message_id, body FROM bank.raw ORDER BY raw_id")
    return [tuple(row) for row in rows]


async def test_an_authentic_message_is_kept_byte_for_byte_and_acknowledged(
    api: Api, pool: asyncpg.Pool
) -> None:
    body = entry() + b"\n "
    answer = await api.send(body)
    assert (answer.status, answer.json) == (202, {"status": "stored"})
    assert await kept(pool) == [("webhook", "msg_1", body)]


async def test_the_same_message_again_is_known_and_kept_once(api: Api, pool: asyncpg.Pool) -> None:
    await api.send(entry())
    answer = await api.send(entry())
    assert (answer.status, answer.json) == (200, {"status": "known"})
    assert len(await kept(pool)) == 1


async def test_the_same_message_many_times_at_once_is_kept_once(
    api: Api, pool: asyncpg.Pool
) -> None:
    answers = await asyncio.gather(*(api.send(entry()) for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [200] * 11 + [202]
    assert len(await kept(pool)) == 1


async def test_another_body_under_a_known_id_is_a_conflict_and_the_first_stays(
    api: Api, pool: asyncpg.Pool
) -> None:
    await api.send(entry())
    answer = await api.send(entry(amount="999.00"))
    assert answer.status == 409
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert await kept(pool) == [("webhook", "msg_1", entry())]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        pytest.param({"Webhook-Signature": "v1,bm9wZQ=="}, "signature_wrong", id="signature"),
        pytest.param({"Webhook-Id": "msg_2"}, "signature_wrong", id="id"),
        pytest.param(signed(entry(), at_s=int(time.time()) - 3600), "stale", id="old"),
        pytest.param(signed(entry(), at_s=int(time.time()) + 3600), "stale", id="future"),
        pytest.param({"Webhook-Timestamp": "now"}, "header_malformed", id="timestamp"),
        pytest.param({"Webhook-Signature": ""}, "header_missing", id="missing"),
    ],
)
async def test_what_the_bank_did_not_sign_is_refused_counted_and_not_kept(
    api: Api, pool: asyncpg.Pool, headers: dict[str, str], reason: str
) -> None:
    assert (await api.send(entry(), **headers)).status == 401
    assert await kept(pool) == []
    metrics = (await api.get("/metrics")).text
    assert f'landbridge_webhook_refusals_total{{reason="{reason}"}} 1.0' in metrics


async def test_a_signature_of_bytes_that_are_no_text_is_refused_like_any_other(api: Api) -> None:
    assert await send_by_hand(api, b"v1,\xff") == 401


async def send_by_hand(api: Api, signature: bytes) -> int:
    """Speak HTTP without a client library, which would not send such a header."""
    body, url = entry(), URL(api.base)
    lines = {**signed(body), "Host": "x", "Content-Length": str(len(body))}
    del lines["Webhook-Signature"]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"POST {WEBHOOK} HTTP/1.1\r\n".encode() + head)
    writer.write(b"Webhook-Signature: " + signature + b"\r\nConnection: close\r\n\r\n" + body)
    status_line = await reader.readline()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(status_line.split()[1])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        pytest.param(b"this is not JSON", "$", id="not JSON"),
        pytest.param(b"", "$", id="empty"),
        pytest.param(b"[" * 5000, "$", id="nested deeply"),
        pytest.param(b'{"type": "\xff"}', "$", id="not UTF-8"),
        pytest.param(b'{"type": "entry.deleted"}', "$.type", id="unknown type"),
        pytest.param(entry(sequence=0), "$.data.entry.sequence", id="sequence"),
        pytest.param(entry(amount="100.255"), "$.data.entry.amount", id="too many decimals"),
        pytest.param(entry(amount="0.00"), "$.data.entry.amount", id="zero"),
        pytest.param(entry(amount="-1.00"), "$.data.entry.amount", id="negative"),
        pytest.param(entry(amount="1e3"), "$.data.entry.amount", id="exponent"),
        pytest.param(entry(currency="USD"), "$.data.entry.currency", id="other currency"),
        pytest.param(entry(currency="\u0000?"), "$.data.entry.currency", id="no currency"),
        pytest.param(entry(account="SOMEBODY"), "$.data.account", id="other account"),
    ],
)
async def test_an_authentic_message_with_a_fault_is_kept_and_told_where_it_is(
    api: Api, pool: asyncpg.Pool, body: bytes, path: str
) -> None:
    for _ in range(2):
        answer = await api.send(body)
        assert answer.status == 422
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert [fault["path"] for fault in answer.json["errors"]] == [path]
    assert await kept(pool) == [("webhook", "msg_1", body)]


async def test_every_fault_of_a_message_is_told_at_once(api: Api) -> None:
    answer = await api.send(entry("SOMEBODY", amount="0", currency="XXX"))
    assert len(answer.json["errors"]) == 3


async def test_an_unknown_payer_is_no_fault_of_the_message(api: Api) -> None:
    assert (await api.send(entry(counterparty={"name": "?", "iban": "?"}))).status == 202


@pytest.mark.parametrize("size_bytes", [64 * 1024 + 1, 2 * 1024 * 1024])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_without_being_kept(
    api: Api, pool: asyncpg.Pool, size_bytes: int, chunked: bool
) -> None:
    body = b" " * size_bytes

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, size_bytes, 16_384):
            yield body[start : start + 16_384]

    sent = chunks() if chunked else io.BytesIO(body)
    async with api.session.post(api.base + WEBHOOK, data=sent, headers=signed(body)) as response:
        assert response.status == 413
        assert response.content_type == "application/problem+json"
        assert "65536 bytes" in (await response.json(content_type=None))["detail"]
    assert await kept(pool) == []


async def test_a_compressed_body_is_refused(api: Api) -> None:
    body = entry()
    async with api.session.post(
        api.base + WEBHOOK, data=body, headers=signed(body), compress="gzip"
    ) as response:
        assert response.status == 415


async def test_a_message_of_exactly_the_largest_size_is_kept(api: Api, pool: asyncpg.Pool) -> None:
    body = entry().ljust(64 * 1024)
    assert (await api.send(body)).status == 202
    assert len((await kept(pool))[0][2]) == 64 * 1024


async def test_while_postgres_is_away_the_bank_is_told_to_come_again(database: Database) -> None:
    url = URL(database.daemon_dsn)
    async with FaultProxy(url.host or "127.0.0.1", url.port or 5432) as proxy:
        dsn = str(url.with_host(proxy.host).with_port(proxy.port))
        async with (
            asyncpg.create_pool(dsn, min_size=1, max_size=2, timeout=3) as pool,
            served(pool) as api,
        ):
            assert (await api.send(entry(), "msg_1")).status == 202
            await proxy.refuse()
            answer = await api.send(entry(), "msg_2")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            await proxy.heal()
            assert (await api.send(entry(), "msg_2")).status == 202
            assert [row[1] for row in await kept(pool)] == ["msg_1", "msg_2"]


async def test_while_postgres_is_mute_the_answer_comes_in_time_all_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.api.database.TIMEOUT_S", 0.5)
    url = URL(database.daemon_dsn)
    async with FaultProxy(url.host or "127.0.0.1", url.port or 5432) as proxy:
        dsn = str(url.with_host(proxy.host).with_port(proxy.port))
        async with (
            asyncpg.create_pool(dsn, min_size=1, max_size=1, timeout=1) as pool,
            served(pool) as api,
        ):
            proxy.black_hole()
            began = time.monotonic()
            assert (await api.send(entry())).status == 503
            assert (await api.get("/livez")).status == 200
            assert time.monotonic() - began < 5
            pool.terminate()


async def test_a_body_that_never_ends_does_not_hold_the_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.api.body.READ_TIMEOUT_S", 0.2)

    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with api.session.post(api.base + WEBHOOK, data=drip(), headers=signed(b"{")) as response:
        assert response.status == 408
