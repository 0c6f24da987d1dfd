"""Calls are the bytes that the ABI makes of them, and each of the contract's errors has its name."""

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from bridge.calldata import (
    Mint,
    MintBatch,
    Reject,
    Settle,
    SettleBatch,
    error_name,
    load_abi,
    refusals,
)

WORDS = st.binary(min_size=32, max_size=32)
MINTS = st.builds(
    Mint,
    WORDS,
    st.binary(min_size=20, max_size=20),
    st.integers(0, 2**256 - 1),
    WORDS,
    st.integers(0, 2**64 - 1),
)
SETTLEMENTS = st.builds(Settle, WORDS, WORDS)
A_MINT = Mint(b"o" * 32, b"w" * 20, 100, b"r" * 32, 1_800_000_000)


def selector(signature: str) -> bytes:
    return bytes(keccak(text=signature)[:4])


def call(name: str, *arguments: Any) -> bytes:
    """What eth_abi makes of a function of the compiled ABI."""
    (item,) = (i for i in load_abi() if i["type"] == "function" and i["name"] == name)
    types = [_type(parameter) for parameter in item["inputs"]]
    return selector(f"{name}({','.join(types)})") + encode(types, arguments)


def _type(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    inner = ",".join(map(_type, parameter["components"]))
    return f"({inner}){parameter['type'].removeprefix('tuple')}"


def _tuple(mint: Mint) -> tuple[bytes, bytes, int, bytes, int]:
    return mint.op_id, mint.to, mint.amount, mint.ref, mint.deadline_s


@given(MINTS)
def test_a_mint_is_what_the_abi_says(mint: Mint) -> None:
    assert mint.encode() == call("mint", _tuple(mint))


@given(st.lists(MINTS, max_size=5))
def test_a_batch_of_mints_is_what_the_abi_says(mints: list[Mint]) -> None:
    assert MintBatch(tuple(mints)).encode() == call("mintBatch", [_tuple(m) for m in mints])


@given(WORDS, WORDS)
def test_settling_and_rejecting_are_what_the_abi_says(redemption_id: bytes, ref: bytes) -> None:
    assert Settle(redemption_id, ref).encode() == call("settleRedeem", redemption_id, ref)
    assert Reject(redemption_id, ref).encode() == call("rejectRedeem", redemption_id, ref)


@given(st.lists(SETTLEMENTS, max_size=5))
def test_a_batch_of_settlements_is_what_the_abi_says(settlements: list[Settle]) -> None:
    items = [(s.redemption_id, s.fiat_ref) for s in settlements]
    assert SettleBatch(tuple(settlements)).encode() == call("settleBatch", items)


@pytest.mark.parametrize(
    "wrong",
    [
        {"op_id": b"o" * 31},
        {"to": b"w" * 21},
        {"ref": b""},
        {"amount": -1},
        {"amount": 2**256},
        {"deadline_s": 2**64},
    ],
)
def test_a_field_that_does_not_fit_reaches_no_batch(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        MintBatch((A_MINT, replace(A_MINT, **wrong))).encode()


def test_a_reference_that_does_not_fit_reaches_no_batch() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SettleBatch((Settle(b"i" * 32, b"short"),)).encode()


@pytest.mark.parametrize(
    "signature",
    [
        "OperationUsed(bytes32)",
        "OperationExpired(bytes32,uint64)",
        "ZeroOpId()",
        "ZeroAmount()",
        "AccountNotAllowed(address)",
        "AccountFrozen(address)",
        "ERC20InvalidReceiver(address)",
        "MinterAllowanceExceeded(address,uint256,uint256)",
        "MinterLimitExceeded(address,uint256,uint256)",
        "ReserveUndecided()",
        "ReserveUnavailable(address)",
        "ReserveStale(uint256)",
        "ReserveExceeded(uint256,uint256,uint256)",
        "RedemptionNotOpen(bytes32)",
        "ActionPaused(uint8)",
    ],
)
def test_every_reason_has_its_name(signature: str) -> None:
    name = signature[: signature.index("(")]
    assert error_name(selector(signature)) == name
    assert error_name(selector(signature) + bytes(32)) == name


def test_the_answer_of_a_batch_is_read() -> None:
    reasons = [bytes(4), selector("ZeroAmount()"), b"\x01\x02\x03\x04"]
    answer = encode(["bytes4[]"], [reasons])
    assert refusals(answer) == [None, "ZeroAmount", "0x01020304"]
    assert refusals(encode(["bytes4[]"], [[]])) == []


@pytest.mark.parametrize("answer", [b"", bytes(64), encode(["bytes4[]"], [[bytes(4)]])[:-1]])
def test_another_answer_is_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match="array of bytes4"):
        refusals(answer)
