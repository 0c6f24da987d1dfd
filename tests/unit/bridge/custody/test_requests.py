"""Requests that wait to be signed: ids, bounds, expiry."""

from dataclasses import replace

import pytest

from bridge.custody.errors import CustodyUnavailableError, RequestConflictError
from bridge.custody.protocol import Expired, Rejected, SignRequest, Unknown
from bridge.custody.requests import OpenRequest, Requests
from bridge.custody.transaction import digest
from tests.unit.bridge.custody.requests_made import REQUEST, SIGNER


class Clock:
    def __init__(self) -> None:
        self.at_s = 1000.0

    def __call__(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def requests(clock: Clock, **limits: int) -> Requests:
    return Requests(SIGNER, now_s=clock, ttl_s=10.0, **limits)


def numbered(count: int) -> list[SignRequest]:
    return [replace(REQUEST, request_id=f"id-{at}", nonce=at) for at in range(count)]


def test_a_request_is_taken_once_with_the_digest_that_is_signed(clock: Clock) -> None:
    held = requests(clock)
    assert held.add([REQUEST]) == [REQUEST.request_id]
    taken = held.take(REQUEST.request_id)
    assert isinstance(taken, OpenRequest)
    assert (taken.request, taken.digest) == (REQUEST, digest(REQUEST))
    assert isinstance(held.take(REQUEST.request_id), Unknown)


def test_an_id_stands_for_one_payload_before_and_after_it_was_taken(clock: Clock) -> None:
    held = requests(clock)
    held.add([REQUEST])
    other = replace(REQUEST, nonce=4)
    for _ in range(2):
        with pytest.raises(RequestConflictError, match="another payload"):
            held.add([replace(other, request_id="new"), other])
        held.take(REQUEST.request_id)
    assert isinstance(held.take("new"), Unknown), "all or none"
    assert held.add([REQUEST, REQUEST]) == [REQUEST.request_id] * 2
    assert isinstance(held.take(REQUEST.request_id), OpenRequest)


def test_two_payloads_under_one_id_in_one_question_are_refused(clock: Clock) -> None:
    with pytest.raises(RequestConflictError):
        requests(clock).add([REQUEST, replace(REQUEST, nonce=4)])
    with pytest.raises(RequestConflictError):
        requests(clock).add([REQUEST, replace(REQUEST, signer=b"x" * 20)])


def test_a_request_that_nobody_came_for_expires_and_is_let_go(clock: Clock) -> None:
    held = requests(clock, max_open=2)
    held.add(numbered(2))
    clock.at_s += 11
    assert isinstance(held.take("id-0"), Expired)
    held.add(numbered(1))
    assert isinstance(held.take("id-0"), OpenRequest), "it may be asked for again"
    clock.at_s += 10
    held.add([replace(REQUEST, request_id="a"), replace(REQUEST, request_id="b")])
    assert isinstance(held.take("id-1"), Unknown)


def test_too_many_at_once_are_refused_whole(clock: Clock) -> None:
    held = requests(clock, max_open=3)
    with pytest.raises(CustodyUnavailableError):
        held.add(numbered(4))
    assert isinstance(held.take("id-0"), Unknown)


def test_ids_are_remembered_within_bounds(clock: Clock) -> None:
    held = requests(clock, max_known=2)
    held.add([REQUEST])
    assert held.cancel(REQUEST.request_id)
    held.add(numbered(2))
    held.add([replace(REQUEST, nonce=9)])
    assert isinstance(held.take(REQUEST.request_id), OpenRequest)


def test_what_was_cancelled_is_never_signed(clock: Clock) -> None:
    held = requests(clock)
    held.add([REQUEST])
    assert held.cancel(REQUEST.request_id)
    assert not held.cancel("never heard of")
    for _ in range(2):
        assert isinstance(held.take(REQUEST.request_id), Rejected)
        held.add([REQUEST])


def test_another_key_is_rejected(clock: Clock) -> None:
    held = requests(clock)
    held.add([replace(REQUEST, signer=b"x" * 20)])
    assert isinstance(held.take(REQUEST.request_id), Rejected)
