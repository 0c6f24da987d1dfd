import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bank.errors import (
    WebhookHeaderMalformed,
    WebhookHeaderMissing,
    WebhookRefused,
    WebhookSignatureWrong,
    WebhookStale,
)
from bridge.bank.webhook import decode_secret, verify

OLD = b"o" * 24
NEW = b"n" * 32
NOW_S = 1_800_000_000
BODY = b'{"type":"entry.booked"}'


def signed(
    key: bytes, body: bytes = BODY, message_id: str = "msg_1", at_s: int = NOW_S
) -> dict[str, str]:
    content = f"{message_id}.{at_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(at_s),
        "Webhook-Signature": f"v1,{signature}",
    }


@pytest.mark.parametrize("key", [OLD, NEW])
def test_either_live_secret_verifies(key: bytes) -> None:
    assert verify(signed(key), BODY, [OLD, NEW], NOW_S) == "msg_1"


def test_the_published_test_vector_of_standard_webhooks_verifies() -> None:
    key = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert verify(headers, b'{"test": 2432232314}', [key], 1614265330) == headers["webhook-id"]


def test_one_good_signature_among_others_is_enough() -> None:
    headers = signed(NEW)
    headers["Webhook-Signature"] = f"v1a,abc v1,bm9wZQ== {headers['Webhook-Signature']}"
    assert verify(headers, BODY, [OLD, NEW], NOW_S) == "msg_1"


@given(body=st.binary(max_size=300), position=st.integers(min_value=0), change=st.integers(1, 255))
def test_a_body_changed_in_any_byte_is_refused(body: bytes, position: int, change: int) -> None:
    headers = signed(OLD, body)
    assert verify(headers, body, [OLD], NOW_S) == "msg_1"
    tampered = bytearray(body + b"x")
    tampered[position % len(tampered)] ^= change
    with pytest.raises(WebhookSignatureWrong):
        verify(headers, bytes(tampered), [OLD, NEW], NOW_S)


@given(
    message_id=st.text(max_size=20),
    timestamp=st.text(max_size=20),
    signature=st.text(max_size=60),
)
def test_made_up_headers_are_refused_and_never_crash(
    message_id: str, timestamp: str, signature: str
) -> None:
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }
    with pytest.raises(WebhookRefused):
        verify(headers, BODY, [OLD], NOW_S)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = signed(OLD)
    del headers[name]
    with pytest.raises(WebhookHeaderMissing, match=name.lower()):
        verify(headers, BODY, [OLD], NOW_S)


@pytest.mark.parametrize("off_s", [-301, 301])
def test_a_timestamp_outside_the_tolerance_is_refused(off_s: int) -> None:
    with pytest.raises(WebhookStale):
        verify(signed(OLD, at_s=NOW_S + off_s), BODY, [OLD], NOW_S)


@pytest.mark.parametrize("off_s", [-300, 300])
def test_a_timestamp_at_the_edge_of_the_tolerance_is_accepted(off_s: int) -> None:
    assert verify(signed(OLD, at_s=NOW_S + off_s), BODY, [OLD], NOW_S) == "msg_1"


def test_the_id_and_the_timestamp_are_signed_too() -> None:
    headers = signed(OLD)
    for name, value in (("Webhook-Id", "msg_2"), ("Webhook-Timestamp", str(NOW_S + 1))):
        with pytest.raises(WebhookSignatureWrong):
            verify(headers | {name: value}, BODY, [OLD], NOW_S)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Webhook-Id", "a.b"),
        ("Webhook-Id", "x" * 129),
        ("Webhook-Timestamp", "-5"),
        ("Webhook-Timestamp", "1e9"),
        ("Webhook-Timestamp", "9" * 5000),
        ("Webhook-Signature", "v1," * 400),
        ("Webhook-Signature", "v1,\xe9"),
        ("Webhook-Signature", "v1,\udcff"),
    ],
)
def test_a_malformed_header_is_refused(name: str, value: str) -> None:
    with pytest.raises(WebhookHeaderMalformed):
        verify(signed(OLD) | {name: value}, BODY, [OLD], NOW_S)


def test_a_secret_that_is_no_longer_live_is_refused() -> None:
    with pytest.raises(WebhookSignatureWrong):
        verify(signed(OLD), BODY, [NEW], NOW_S)


@pytest.mark.parametrize("count", [0, 3])
def test_no_secret_or_more_than_two_is_a_mistake_of_the_caller(count: int) -> None:
    with pytest.raises(ValueError, match="one or two"):
        verify(signed(OLD), BODY, [OLD] * count, NOW_S)


@pytest.mark.parametrize("text", ["", "plain", "whsec_", "whsec_!!!", "whsec_c2hvcnQ="])
def test_a_malformed_secret_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="webhook secret") as caught:
        decode_secret(text)
    inner = text.removeprefix("whsec_")
    assert not inner or inner not in str(caught.value)
