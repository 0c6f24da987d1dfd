"""A call is read from its very bytes, or not at all."""

import pytest
from eth_abi.abi import encode

from bridge.calldata import Mint, MintBatch, Reject, Settle, SettleBatch
from bridge.custody.calls import Call, CallUnreadableError, Movement, read_call, selector

MINT_OP = "(bytes32,address,uint256,bytes32,uint64)"
ALICE, BOB = b"a" * 20, b"b" * 20
OPS = [(b"1" * 32, ALICE, 100, b"r" * 32, 5), (b"2" * 32, BOB, 2**200, b"r" * 32, 6)]


def batch(count: int) -> bytes:
    return selector(f"mintBatch({MINT_OP}[])") + encode([f"{MINT_OP}[]"], [OPS[:count]])


def test_a_mint_says_for_whom_and_how_much() -> None:
    call = read_call(Mint(b"1" * 32, ALICE, 100, b"r" * 32, 5).encode())
    assert call == Call("mint", (b"1" * 32,), (Movement(ALICE, 100),))
    assert call.amount == 100


def test_a_batch_says_so_for_each_of_its_mints_in_their_order() -> None:
    call = read_call(batch(2))
    assert call.ids == (b"1" * 32, b"2" * 32)
    assert call.movements == (Movement(ALICE, 100), Movement(BOB, 2**200))
    assert call.amount == 100 + 2**200
    assert read_call(batch(0)) == Call("mintBatch")


def test_our_own_batches_are_read() -> None:
    mints = tuple(Mint(*op) for op in OPS)
    assert MintBatch(mints).encode() == batch(2)
    settles = (Settle(b"1" * 32, b"f" * 32), Settle(b"2" * 32, b"g" * 32))
    call = read_call(SettleBatch(settles).encode())
    assert call == Call("settleBatch", (b"1" * 32, b"2" * 32))


def test_a_mint_of_a_plain_token_has_no_id() -> None:
    data = selector("mint(address,uint256)") + encode(["address", "uint256"], [ALICE, 7])
    assert read_call(data) == Call("mint", (), (Movement(ALICE, 7),))


def test_what_ends_redemptions_moves_nothing_to_anybody() -> None:
    pairs = [(b"1" * 32, b"x" * 32), (b"2" * 32, b"y" * 32)]
    settle = selector("settleBatch((bytes32,bytes32)[])") + encode(["(bytes32,bytes32)[]"], [pairs])
    void = selector("voidOperation(bytes32)") + b"1" * 32
    assert read_call(Settle(b"1" * 32, b"f" * 32).encode()) == Call("settleRedeem", (b"1" * 32,))
    assert read_call(Reject(b"1" * 32, b"f" * 32).encode()) == Call("rejectRedeem", (b"1" * 32,))
    assert read_call(settle) == Call("settleBatch", (b"1" * 32, b"2" * 32))
    assert read_call(void) == Call("voidOperation", (b"1" * 32,))


def dirty_recipient() -> bytes:
    data = bytearray(Mint(b"1" * 32, ALICE, 100, b"r" * 32, 5).encode())
    data[4 + 32] = 1
    return bytes(data)


def moved(place: int, value: int) -> bytes:
    """A batch with another word at a place of its arguments."""
    data = batch(2)
    start = 4 + 32 * place
    return data[:start] + value.to_bytes(32, "big") + data[start + 32 :]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\0",
        selector("transfer(address,uint256)") + bytes(64),
        batch(2)[:-1],
        batch(2)[:-32],
        batch(2) + bytes(32),
        batch(2) + b"\0",
        moved(0, 64),
        moved(1, 3),
        moved(1, 1),
        moved(1, 2**255),
        dirty_recipient(),
        selector(f"mintBatch({MINT_OP}[])"),
        Mint(b"1" * 32, ALICE, 1, b"r" * 32, 5).encode() + bytes(32),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_read(data: bytes) -> None:
    with pytest.raises(CallUnreadableError):
        read_call(data)
