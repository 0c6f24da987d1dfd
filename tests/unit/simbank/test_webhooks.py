import base64
import random

import pytest

from simbank.faults import Fault, FaultPlan
from simbank.records import Counterparty, Entry
from simbank.webhooks import Target, WebhookSender, secret_key, sign


def entry(sequence: int) -> Entry:
    return Entry(
        sequence=sequence,
        entry_key=f"E-{sequence:06d}",
        direction="credit",
        amount="1.00",
        currency="EUR",
        booked_at_s=0.0,
        end_to_end_id=None,
        reference="",
        counterparty=Counterparty("Somebody", "DE1"),
    )


def sender(faults: FaultPlan | None = None, seed: int = 1) -> WebhookSender:
    target = Target("http://127.0.0.1:1/", b"k" * 24, spread_s=1.0, late_s=5.0)
    chance = random.Random(seed)  # no secret
    return WebhookSender("RES-1", target, faults or FaultPlan(), chance, lambda: 0.0)


def queued_order(queue: WebhookSender) -> list[str]:
    return [message_id for _, message_id in queue.planned()]


def test_messages_are_out_of_order_and_the_seed_decides_how() -> None:
    first, second, other = sender(seed=1), sender(seed=1), sender(seed=2)
    for queue in (first, second, other):
        for sequence in range(1, 21):
            queue.tell(entry(sequence), "normal")
    assert queued_order(first) != sorted(queued_order(first))
    assert queued_order(first) == queued_order(second)
    assert queued_order(first) != queued_order(other)


@pytest.mark.parametrize(
    ("mode", "times"), [("normal", 1), ("twice", 2), ("never", 0), ("late", 1)]
)
def test_the_deposit_says_how_often_it_is_told(mode: str, times: int) -> None:
    queue = sender()
    queue.tell(entry(1), mode)
    assert queued_order(queue) == ["msg_E-000001"] * times


def test_a_late_message_is_later_than_any_normal_one() -> None:
    queue = sender()
    queue.tell(entry(1), "late")
    for sequence in range(2, 10):
        queue.tell(entry(sequence), "normal")
    assert queued_order(queue)[-1] == "msg_E-000001"


@pytest.mark.parametrize(("kind", "times"), [("drop", 0), ("twice", 2), ("shuffle", 1)])
def test_a_webhook_fault_is_played_once(kind: str, times: int) -> None:
    faults = FaultPlan()
    faults.add(Fault("webhook", kind, 10.0, ""), 1)
    queue = sender(faults)
    queue.tell(entry(1), "normal")
    assert len(queue.planned()) == times
    queue.tell(entry(2), "normal")
    assert len(queue.planned()) == times + 1


def test_the_signature_is_the_published_one_of_standard_webhooks() -> None:
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_???", base64.b64encode(b"k" * 24).decode()])
def test_a_malformed_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        secret_key(text)
