"""Derived names: fixed for ever, and different wherever anything differs."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.identity import end_to_end_id, operation_id, reference
from bridge.operations import Kind

OP_ID = "d130a34482df3c3e71cc4148141cb3e62568b904d37b78b288d83d3c462b8194"
END_TO_END_ID = "XMXRRTNK23OHKURDSRVHM3UEUULHAJ57"
TOKEN = bytes.fromhex("11" * 20)


def _op_id(
    chain_id: int = 1,
    token: bytes = TOKEN,
    account: str = "DE89",
    key: str = "E-1",
    kind: Kind = Kind.ISSUANCE,
) -> bytes:
    return operation_id(
        chain_id=chain_id, token=token, reserve_account=account, stable_entry_key=key, kind=kind
    )


def test_the_derivation_of_an_op_id_never_changes() -> None:
    assert _op_id().hex() == OP_ID
    assert (
        end_to_end_id(
            account_id="DE89", chain_id=1, token=TOKEN, redemption_id=bytes(32), attempt=1
        )
        == END_TO_END_ID
    )


def test_every_part_of_an_op_id_counts() -> None:
    ids = {
        _op_id(),
        _op_id(chain_id=2),
        _op_id(token=bytes(20)),
        _op_id(account="DE90"),
        _op_id(key="E-2"),
        _op_id(kind=Kind.REDEMPTION),
    }
    assert len(ids) == 6


@given(
    st.tuples(st.text(max_size=8), st.text(max_size=8)),
    st.tuples(st.text(max_size=8), st.text(max_size=8)),
)
def test_parts_do_not_run_into_each_other(left: tuple[str, str], right: tuple[str, str]) -> None:
    same = _op_id(account=left[0], key=left[1]) == _op_id(account=right[0], key=right[1])
    assert same == (left == right)


def test_an_end_to_end_id_is_32_base32_characters_and_differs_by_attempt() -> None:
    ids = {
        end_to_end_id(
            account_id="DE89", chain_id=1, token=TOKEN, redemption_id=bytes(32), attempt=attempt
        )
        for attempt in range(1, 50)
    }
    assert len(ids) == 49
    assert all(len(i) == 32 and set(i) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for i in ids)


def test_a_reference_hides_the_text_it_stands_for() -> None:
    assert len(reference("E-1")) == 32
    assert b"E-1" not in reference("E-1")
