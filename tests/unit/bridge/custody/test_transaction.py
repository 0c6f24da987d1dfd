"""A request is written as eth-account writes it, which is the oracle here."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge.custody.protocol import SignRequest
from bridge.custody.signature import Signature
from bridge.custody.transaction import assemble, digest, is_noop, noop
from bridge.custody.verification import verify
from tests.unit.bridge.custody.requests_made import ACCOUNT, KEY, REQUEST, SIGNER, signed_by

WEI = st.integers(0, 2**200)
REQUESTS = st.builds(
    SignRequest,
    request_id=st.just("any"),
    signer=st.just(SIGNER),
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**63),
    to_address=st.binary(min_size=20, max_size=20),
    data=st.binary(max_size=400),
    gas_limit=st.integers(0, 2**63),
    max_fee_wei=WEI,
    priority_fee_wei=st.none() | WEI,
)


def signed(request: SignRequest) -> bytes:
    compact = KEY.sign_recoverable(digest(request), hasher=None)
    r, s = int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:64], "big")
    return assemble(request, Signature(r, s, compact[64]))


@given(REQUESTS)
def test_any_request_is_written_as_eth_account_writes_it(request_: SignRequest) -> None:
    raw = signed(request_)
    # Both choose the nonce of a signature by RFC 6979, so even that is the same.
    assert raw == signed_by(ACCOUNT, request_)
    assert verify(request_, raw).raw == raw


def test_a_noop_fills_its_nonce_and_does_nothing_else() -> None:
    for priority_fee_wei in (2, None):
        filler = noop("id", SIGNER, 1, 7, max_fee_wei=30, priority_fee_wei=priority_fee_wei)
        assert (filler.to_address, filler.data, filler.gas_limit) == (SIGNER, b"", 21_000)
        assert is_noop(filler)
        assert signed(filler) == signed_by(ACCOUNT, filler)
    assert not is_noop(REQUEST)
    assert not is_noop(replace(filler, data=b"\0"))
